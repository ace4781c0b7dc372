import os
import re
import subprocess
import sys
from pathlib import Path

from mpsheads import MPSProjectionHead
from tests.cli.conftest import beir, model_folder  # noqa: F401

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "compress_a_search.py"


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "MPSHEADS_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_of_ones_own_is_compressed(beir, model_folder, tmp_path):  # noqa: F811
    ran = run(beir, model_folder, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    before, after = ran.stdout.splitlines()
    assert re.fullmatch(r"192 bytes a vector: nDCG@10 [01]\.\d{3}", before)
    assert re.fullmatch(r"64 bytes a vector: nDCG@10 [01]\.\d{3}", after)
    assert float(before[-5:]) > 0.9  # a query is the text of its document
    assert MPSProjectionHead.from_pretrained(tmp_path / "trained-head").out_features == 16
