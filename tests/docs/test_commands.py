"""The command lines that README and the pages show, and the page on the command line."""

import re
import shlex

import pytest
from typer.main import get_command

from mpsheads.cli.app import _with_values, app
from tests.docs.pages import PAGES, ROOT, blocks

pytestmark = pytest.mark.slow

COMMANDS = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
FLAGS = {
    flag
    for command in COMMANDS.values()
    for parameter in command.params
    for flag in parameter.opts
    if flag.startswith("--")
}


def command_lines(page):
    """The command lines of mpsheads that a page shows."""
    shown = "".join(block for kind, block in blocks(page) if kind == "bash")
    lines = shown.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("mpsheads ")]


def test_the_commands_of_all_pages_can_be_parsed():
    lines = [line for page in PAGES for line in command_lines(page)]
    assert len(lines) > 20
    for line in lines:
        _, name, *arguments = shlex.split(line, comments=True)
        assert COMMANDS[name].make_context(name, _with_values(arguments)).params, line


def test_the_page_on_the_command_line_names_every_command_and_flag_and_no_other():
    page = (ROOT / "docs" / "cli.md").read_text()
    assert set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == set(COMMANDS)
    named = set(re.findall(r"--[a-z][a-z-]*", page))
    assert named - {"--help", "--debug"} == FLAGS - {"--help"}


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
