"""The figures of the documentation are what their scripts draw, and the tutorial runs."""

import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import PAGES, ROOT

pytestmark = pytest.mark.slow

FIGURES = ROOT / "docs" / "figures"


def shapes(file: Path) -> tuple[str, int]:
    """Size and number of groups of an SVG file, which no version of matplotlib changes."""
    root = ElementTree.parse(file).getroot()
    return root.attrib["viewBox"], sum(element.tag.endswith("}g") for element in root.iter())


def check(folder):
    """Drawn figures are the committed ones, on white ground for dark pages, and are shown."""
    shown = "".join(page.read_text() for page in PAGES)
    drawn = list(folder.glob("*.svg"))
    assert len(drawn) > 3
    for file in drawn:
        assert shapes(FIGURES / file.name) == shapes(file)
        assert "fill: #ffffff" in (FIGURES / file.name).read_text()
        assert f"figures/{file.name}" in shown


def test_the_figures_of_the_pages(tmp_path):
    runpy.run_path(str(FIGURES / "draw.py"))["main"](tmp_path)
    check(tmp_path)


TUTORIAL = """
import runpy, sys
from pathlib import Path
from tests.docs.pages import ROOT, run_page

names = run_page(ROOT / "docs" / "tutorials" / "mps.md")
runpy.run_path(str(ROOT / "docs" / "figures" / "draw_tutorial.py"))["draw_all"](
    names, Path(sys.argv[1])
)
"""


def test_the_tutorial_prints_what_it_shows_and_its_figures_are_drawn(tmp_path):
    """In a process of its own, where types are not checked, it takes half as long."""
    command = [sys.executable, "-c", TUTORIAL, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    check(tmp_path)
