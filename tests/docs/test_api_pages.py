"""The pages of the API leave out no public name."""

import inspect
import re

import pytest

from mpsheads import ansatz, heads, interop, mps
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

PAGES = ROOT / "docs" / "api"
WHOLE = ("ansatz", "encodings", "experiments", "plotting", "retrieval", "similarity", "training")


@pytest.mark.parametrize("room", [mps, interop])
def test_every_public_name_is_on_the_page_of_its_room(room):
    page = (PAGES / f"{room.__name__.split('.')[1]}.md").read_text()
    shown = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    for name in room.__all__:
        home = inspect.unwrap(getattr(room, name)).__module__
        assert shown & {f"{room.__name__}.{name}", home}, name
    assert not set(re.findall(r"!\^(\w+)\$", page)) & set(room.__all__)


def test_the_pages_of_whole_rooms_show_them():
    for room in WHOLE:
        assert f"::: {ansatz.__package__}.{room}\n" in (PAGES / f"{room}.md").read_text()
    page = (PAGES / "integrations.md").read_text()
    for room in ("load", "sentence_transformers", "transformers", "mteb"):
        assert f"::: mpsheads.{room}\n" in page


def test_every_head_and_its_makers_are_shown():
    page = (PAGES / "heads.md").read_text()
    for name in set(heads.__all__) - {"HEADS", "FrozenHead", "block_circuit"}:
        assert f"::: mpsheads.heads.{name}\n" in page
