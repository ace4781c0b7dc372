"""The page on contractions shows what its example prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_paths_on_the_page_are_those_that_are_found():
    example = ROOT / "examples" / "contractions.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "contractions.md").read_text()
    assert f"```text\n{done.stdout}```" in page
    assert 'examples/contractions.py:paths"' in page
