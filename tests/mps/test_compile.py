import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_core_compiles_into_one_graph():
    """In a process of its own: the checks of shapes are not code that torch can trace."""
    command = [sys.executable, "-m", "tests.mps.compile_checks"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
