"""docs/cli.md names every flag, and every command line that README and docs show can be parsed."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from mpsheads.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
FLAGS = {
    flag
    for command in COMMANDS.values()
    for parameter in command.params
    for flag in parameter.opts
    if flag.startswith("--")
}
SHOWN = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("mpsheads ")
]


def test_the_page_has_a_section_for_every_command():
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert set(COMMANDS) == set(sections)


def test_the_page_names_every_flag_and_no_other():
    named = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs" / "cli.md").read_text()))
    assert named - {"--help"} == FLAGS - {"--help"}


@pytest.mark.parametrize("line", SHOWN)
def test_a_shown_command_line_can_be_parsed(line):
    _, name, *arguments = shlex.split(line, comments=True)
    context = COMMANDS[name].make_context(name, arguments)
    assert context.params
