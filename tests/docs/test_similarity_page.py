"""The page on similarity: its example runs, its numbers are those that are computed."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpsheads import similarity
from mpsheads.similarity import approximation_error

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "similarity.md").read_text()


def test_the_example_runs_and_prints_what_the_page_shows(tmp_path):
    example = ROOT / "examples" / "similarity.py"
    command = [sys.executable, str(example)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert shown in done.stdout
    exact, fast, _ = re.findall(r"\[.*?\]", done.stdout.splitlines()[-1])
    assert exact == fast
    sections = set(re.findall(r"\[start:(\w+)\]", example.read_text()))
    assert sections == set(re.findall(r"examples/similarity\.py:(\w+)", PAGE))


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_the_errors_of_the_table_are_those_of_the_function(terms):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `terms={terms}`"))
    shown = [cell.strip() for cell in row.split("|")[3:6]]
    computed = [approximation_error(x, terms=terms) for x in (0.5, 1.0, math.pi / 2)]
    assert shown == [f"{error:.1e}".replace("e-0", "e-") for error in computed]


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "api" / "similarity.md").read_text()
    shown = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    for name in similarity.__all__:
        module = getattr(similarity, name).__module__
        assert shown & {module, f"{module}.{name}"}, name
