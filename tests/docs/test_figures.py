"""The figures of the documentation are what their script draws."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
PAGES = FIGURES.parent
NAMES = sorted(runpy.run_path(str(FIGURES / "draw.py"))["FIGURES"])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    subprocess.run([sys.executable, str(FIGURES / "draw.py"), str(folder)], check=True)
    return folder


def shapes(file: Path) -> tuple[str, int]:
    """Size and number of groups of an SVG file, which no version of matplotlib changes."""
    root = ElementTree.parse(file).getroot()
    return root.attrib["viewBox"], sum(element.tag.endswith("}g") for element in root.iter())


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_figure_is_what_the_script_draws(name, drawn):
    assert shapes(FIGURES / f"{name}.svg") == shapes(drawn / f"{name}.svg")


def test_every_figure_is_shown_and_every_shown_figure_exists():
    shown = {name for page in PAGES.glob("*.md") for name in _images(page)}
    assert {f"figures/{name}.svg" for name in NAMES} <= shown
    assert all((PAGES / path).is_file() for path in shown)


def test_a_figure_brings_its_own_white_ground_for_dark_pages():
    for name in NAMES:
        assert "fill: #ffffff" in (FIGURES / f"{name}.svg").read_text()


def _images(page: Path) -> list[str]:
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
