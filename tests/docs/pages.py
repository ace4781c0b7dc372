"""Runs the code of pages from where it stands, and compares what it prints with what they show."""

import contextlib
import io
import math
import re
from pathlib import Path
from typing import Any

import torch
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block of code in a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def run_page(page: Path) -> dict[str, Any]:
    """Run the Python of a page in one namespace and return that.

    A block of text after Python that prints is what this prints; last digits may differ.
    """
    torch.manual_seed(0)
    document = SYBIL.parse(page)
    document.namespace["__name__"] = "page"
    for example in document.examples():
        example.evaluate()
    return document.namespace


def _run_python(example):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        PythonEvaluator()(example)
    example.document.printed = printed.getvalue()


def _compare_printed(example):
    printed, example.document.printed = getattr(example.document, "printed", ""), ""
    if not printed:
        return
    shown = example.parsed
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split(), printed
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert math.isclose(float(ours), float(theirs), rel_tol=0.01, abs_tol=0.0015), printed


SYBIL = Sybil(
    [
        CodeBlockParser("python", _run_python),
        CodeBlockParser("text", _compare_printed),
        SkipParser(),
    ]
)
