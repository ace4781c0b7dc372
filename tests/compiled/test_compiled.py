"""What is compiled, exported or frozen, in a process of its own.

The checks of types and shapes that the other tests run under are not code that torch can trace, and
stand before the library's own errors of types.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_what_is_compiled_exported_or_frozen_gives_what_it_gives():
    files = sorted(map(str, Path(__file__).parent.glob("*_checks.py")))
    assert len(files) == 3
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *files, "-o", "addopts=", "-q"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
