"""Heads compiled, exported and in ONNX Runtime, in a process of their own.

The checks of types and shapes that the other tests run under are not code that torch can trace.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("export_checks.py")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["compile", "exported or frozen", "onnx"])
def test_checks_of_export_pass(part):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", str(CHECKS), "-o", "addopts=", "-q", "-k", part],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
    assert "skipped" not in result.stdout or part == "onnx"
