"""Every page and README.md: their Python runs from where it stands, and prints what they show."""

import contextlib
import io
import math
import re
from pathlib import Path

import pytest
import torch
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SLOW = {"docs/tutorials/mps.md", "docs/how-to/export.md", "docs/how-to/train-on-my-pairs.md"}
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_python(example):
    """Run a block, and keep what it prints for the block of text that follows."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        PythonEvaluator()(example)
    example.document.printed = printed.getvalue()


def compare_printed(example):
    """A block of text after code that prints is what the code prints; last digits may differ."""
    printed, example.document.printed = getattr(example.document, "printed", ""), ""
    if not printed:
        return
    shown = example.parsed
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split(), printed
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert math.isclose(float(ours), float(theirs), rel_tol=0.01, abs_tol=0.0015), printed


SYBIL = Sybil(
    [
        CodeBlockParser("python", run_python),
        CodeBlockParser("text", compare_printed),
        SkipParser(),
    ]
)


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name


@pytest.mark.parametrize("name", [slow(name) for name in NAMES])
def test_the_code_of_a_page_runs_and_prints_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    document = SYBIL.parse(ROOT / name)
    document.namespace["__name__"] = "page"
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("name", NAMES)
def test_code_stands_in_the_page_and_fits_it(name):
    page = (ROOT / name).read_text()
    assert "--8<--" not in page
    blocks = [line for _, block in FENCED.findall(page) for line in block.splitlines()]
    assert not [line for line in blocks if len(line) > 80]


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_page_exist(name):
    shown = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", (ROOT / name).read_text())
    assert all((ROOT / name).parent.joinpath(image).is_file() for image in shown)
