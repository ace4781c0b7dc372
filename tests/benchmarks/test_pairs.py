"""The benchmark of all pairs runs, with whichever peers are installed, and they agree."""

import importlib
import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SIZES = ["--sites", "6", "--bond", "3", "--queries", "2", "--documents", "5", "--matmul", "16"]
ROUNDS = ["--repeats", "2", "--warmup", "0", "--peer-pairs", "3"]


@pytest.fixture
def pairs(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield importlib.import_module("pairs")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", ["complex64", "float32"])
def test_the_benchmark_writes_what_it_prints(dtype, pairs, tmp_path, capsys):
    file = tmp_path / "pairs.json"
    threads = ["--threads", "1", "2", "--json", str(file)]
    pairs.main([*SIZES, *ROUNDS, *threads, "--dtype", dtype])
    results = json.loads(file.read_text())
    assert [result["threads"] for result in results] == [1, 2]
    printed = capsys.readouterr().out
    for result in results:
        assert result["matmul_gflops"] > 0
        installed = {name for name in ("seemps", "quimb") if pairs.find_spec(name)}
        assert set(result["libraries"]) == {"mpsheads"} | installed
        for numbers in result["libraries"].values():
            assert f"{numbers['us_per_pair']['min']:.4g}" in printed


def test_the_benchmark_runs_without_peers(pairs, monkeypatch, capsys):
    monkeypatch.setattr(pairs, "find_spec", lambda name: None)
    pairs.main([*SIZES, *ROUNDS])
    printed = capsys.readouterr().out
    assert "mpsheads" in printed
    assert "seemps" not in printed


def test_the_benchmark_stops_where_a_peer_computes_something_else(pairs, monkeypatch):
    monkeypatch.setattr(pairs, "find_spec", lambda name: name == "quimb")
    monkeypatch.setattr(pairs, "_quimb_overlaps", lambda query, documents: lambda: [9.0] * 3)
    with pytest.raises(SystemExit, match="quimb gives other overlaps"):
        pairs.main([*SIZES, *ROUNDS])


def test_the_benchmark_explains_itself(pairs, capsys):
    with pytest.raises(SystemExit) as exit_status:
        pairs.main(["--help"])
    assert exit_status.value.code == 0
    assert "python benchmarks/pairs.py" in capsys.readouterr().out
