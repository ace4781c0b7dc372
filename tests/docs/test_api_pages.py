"""The pages of the API leave out no public name."""

import re
from pathlib import Path

import pytest

from mpsheads import ansatz, interop, mps

PAGES = Path(__file__).resolve().parents[2] / "docs" / "api"


@pytest.mark.parametrize("room", [mps, interop])
def test_every_public_name_is_on_the_page_of_its_room(room):
    page = (PAGES / f"{room.__name__.split('.')[1]}.md").read_text()
    shown = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    for name in room.__all__:
        found = getattr(room, name)
        assert shown & {f"{room.__name__}.{name}", found.__module__}, name
    left_out = set(re.findall(r"!\^(\w+)\$", page))
    assert not left_out & set(room.__all__)


def test_the_page_of_the_ansaetze_shows_their_room():
    assert f"::: {ansatz.__name__}\n" in (PAGES / "ansatz.md").read_text()
