"""Every page and README.md: their code runs, their commands exist, what they show fits."""

import re
import shlex

import pytest
from typer.main import get_command

from mpsheads.cli.app import app
from tests.docs.pages import PAGES, ROOT, blocks, run_page

WITH_PYTHON = [page for page in PAGES if any(kind == "python" for kind, _ in blocks(page))]
SLOW = {"sentence-transformers", "train-on-my-pairs", "export"}
COMMANDS = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
FLAGS = {
    flag
    for command in COMMANDS.values()
    for parameter in command.params
    for flag in parameter.opts
    if flag.startswith("--")
}


def pages(chosen, slow=frozenset()):
    """A parameter for each page, named by its path."""
    marks = {True: pytest.mark.slow, False: ()}
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks[page.stem in slow])
        for page in chosen
        if page.parent.name != "tutorials"  # tests of figures run the tutorial
    ]


@pytest.mark.parametrize("page", pages(WITH_PYTHON, SLOW))
def test_the_python_of_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    run_page(page)


def test_the_commands_of_all_pages_can_be_parsed():
    for page in PAGES:
        for line in command_lines(page):
            _, name, *arguments = shlex.split(line, comments=True)
            assert COMMANDS[name].make_context(name, arguments).params, line


def command_lines(page):
    """The command lines of mpsheads that a page shows."""
    shown = "".join(block for kind, block in blocks(page) if kind == "bash")
    return [
        line for line in shown.replace("\\\n", " ").splitlines() if line.startswith("mpsheads ")
    ]


def test_the_page_on_the_command_line_names_every_command_and_flag_and_no_other():
    page = (ROOT / "docs" / "cli.md").read_text()
    assert set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == set(COMMANDS)
    named = set(re.findall(r"--[a-z][a-z-]*", page))
    assert named - {"--help"} == FLAGS - {"--help"}


def test_code_stands_in_the_pages_and_fits_them():
    for page in PAGES:
        assert "--8<--" not in page.read_text(), page
        lines = [line for kind, block in blocks(page) for line in block.splitlines()]
        assert not [line for line in lines if len(line) > 80], page


def test_the_images_of_all_pages_exist():
    for page in PAGES:
        for image in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text()):
            assert (page.parent / image).is_file(), image


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
