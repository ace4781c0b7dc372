"""The benchmark of similarities runs, and prints what it writes."""

import importlib
import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SIZES = ["--queries", "3", "--documents", "150", "--numbers", "12", "--few", "7"]


@pytest.fixture
def similarity(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield importlib.import_module("similarity")
    torch.set_num_threads(threads)


def test_the_benchmark_writes_what_it_prints(similarity, tmp_path, capsys):
    file = tmp_path / "similarity.json"
    similarity.main([*SIZES, "--repeats", "2", "--spread", "1", "--json", str(file)])
    result = json.loads(file.read_text())
    printed = capsys.readouterr().out
    assert result["float32 matmul"]["ratio"] == 1
    for name, row in result.items():
        assert row["ratio"] > 0
        line = next(line for line in printed.splitlines() if line.startswith(f"{name}  "))
        assert f"{row['ms']:.4g}" in line
    assert 0 < result["exact"]["error"] < result["approximate"]["error"]
    codes = [result[f"{bits}-bit codes"]["error"] for bits in (8, 4, 2, 1)]
    assert codes == sorted(codes)


def test_the_benchmark_explains_itself(similarity, capsys):
    with pytest.raises(SystemExit) as exit_status:
        similarity.main(["--help"])
    assert exit_status.value.code == 0
    assert "python benchmarks/similarity.py" in capsys.readouterr().out
