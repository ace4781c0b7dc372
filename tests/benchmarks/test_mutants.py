"""The mutants of a small package: what a test notices is killed, what nobody can notice survives."""

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


def run(checkout, times):
    """Call the script some times in one process, which must not have imported the package."""
    results = checkout / "results.jsonl"
    options = ["--root", str(checkout), "--rooms", "room", "--results", str(results)]
    call = f"import mutants\nfor _ in range({times}): mutants.main({options})"
    command = [sys.executable, "-c", call]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    lines = results.read_text().splitlines() if results.exists() else []
    return done, [(line["mutant"], line["killed"]) for line in map(json.loads, lines)]


def test_a_change_that_tests_notice_is_killed_and_another_is_tried_again(checkout):
    done, results = run(checkout, times=2)
    killed = "mpsheads/room/sums.py:6: a + b  ->  a - b   in: return a + b"
    survivor = "mpsheads/room/sums.py:9: a > b  ->  a >= b   in: return [b, a][a > b]"
    assert sorted(results) == sorted([(killed, True), (survivor, False), (survivor, False)])
    assert done.stdout.count(f"{survivor}  [tests/room/test_sums.py]\n") == 2
    assert done.stdout.split()[-4:] == ["mpsheads/room", "1", "2", "50.0%"], done.stderr


def test_tests_that_fail_by_themselves_kill_nothing(checkout):
    (checkout / "tests/room/test_sums.py").write_text("def test_sums():\n    assert False")
    done, results = run(checkout, times=1)
    assert "Without a change these fail" in done.stderr
    assert not results
