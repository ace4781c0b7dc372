"""The mutants of a small package: what a test notices is killed, what none can notice survives."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MODULE = '''
"""A text with 1 < 2."""
def total(a: "1 + 1", b):
    if not isinstance(a, int):
        raise TypeError("1" + "2")
    return a + b

def larger(a, b):
    return [b, a][a > b]
'''
TESTS = """
from mpsheads.room.sums import larger, total
def test_sums():
    assert (total(1, 2), larger(1, 2), larger(2, 1), larger(1, 1)) == (3, 2, 2, 1)
"""


@pytest.fixture
def checkout(tmp_path):
    for folder in ("mpsheads/room", "tests/room"):
        (tmp_path / folder).mkdir(parents=True)
    for package in ("mpsheads", "mpsheads/room"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "mpsheads/room/sums.py").write_text(MODULE)
    (tmp_path / "tests/room/test_sums.py").write_text(TESTS)
    return tmp_path


def test_what_tests_notice_is_killed_and_what_survives_is_tried_again(checkout):
    results, tests = checkout / "results.jsonl", checkout / "tests/room/test_sums.py"
    options = ["--root", str(checkout), "--rooms", "room", "--results", str(results)]
    calls = f"""
import mutants, pathlib
mutants.main({options})
mutants.main({options})
pathlib.Path({str(tests)!r}).write_text("def test_sums():\\n    assert False")
mutants.main({options})
"""
    command = [sys.executable, "-c", calls]  # a process that has not imported the package
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    killed = "mpsheads/room/sums.py:6: a + b  ->  a - b   in: return a + b"
    survivor = "mpsheads/room/sums.py:9: a > b  ->  a >= b   in: return [b, a][a > b]"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    found = sorted((line["mutant"], line["killed"]) for line in lines)
    assert found == [(killed, True), (survivor, False), (survivor, False)], done.stderr
    assert done.stdout.count(f"{survivor}  [tests/room/test_sums.py]\n") == 2
    assert done.stdout.split()[-4:] == ["all", "1", "2", "50.0%"]
    assert (
        "Without a change these fail: pytest tests/room/test_sums.py -m 'not slow'" in done.stderr
    )
