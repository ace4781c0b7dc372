"""The benchmarks run, and what they time against each other computes the same numbers."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import ReferenceHead

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Import a script of the folder under its name."""
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.mark.parametrize("out_features", [64, 128, 256, 384])
def test_the_plain_reference_reproduces_the_golden_numbers(out_features, benchmark, shared):
    plain = benchmark("plain_reference")
    golden = np.load(shared / "golden" / f"reference_768_to_{out_features}.npz")
    tensors = {name: torch.from_numpy(np.asarray(golden[name])) for name in golden}
    angles_raw = tensors["angles_raw"].double().requires_grad_()
    amplitudes = plain.amplitudes(tensors["embeddings"].double(), angles_raw)
    # the golden numbers are float32 themselves; tolerances are their own errors
    assert_close(amplitudes.float(), tensors["amplitudes"], rtol=0, atol=5e-6)
    fidelity = plain.fidelity(amplitudes[:2], amplitudes[2:])
    assert_close(fidelity.float(), tensors["fidelity"], rtol=0, atol=5e-5)
    target = torch.zeros(2, dtype=torch.int64)
    torch.nn.functional.cross_entropy(20 * fidelity, target, reduction="sum").backward()
    assert angles_raw.grad is not None
    expected = tensors["grad_angles_raw"]
    assert_close(angles_raw.grad.float(), expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("out_features", [12, 4, 2])
def test_the_plain_reference_agrees_with_the_closed_form(out_features, benchmark, generator):
    plain = benchmark("plain_reference")
    head = ReferenceHead(12, out_features, generator=generator).double()
    x = torch.randn(5, 12, dtype=torch.float64, generator=generator, requires_grad=True)
    half = head(x) / 2
    expected = torch.stack([half.cos(), half.sin()], dim=-1)
    found = plain.amplitudes(x, head.angles_raw)
    assert_close(found, expected)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    wanted = (x, head.angles_raw) if out_features < 12 else (x,)
    for mine, theirs in zip(
        *(torch.autograd.grad((value * weights).sum(), wanted) for value in (expected, found)),
        strict=True,
    ):
        assert_close(mine, theirs, atol=1e-6, rtol=0)


def test_the_benchmark_of_heads_runs_and_its_sides_agree(benchmark, capsys):
    sizes = ["--batch", "3", "--in-features", "12", "--out-features", "4", "2"]
    benchmark("heads").main([*sizes, "--repeats", "2", "--warmup", "1"])
    printed = capsys.readouterr().out
    differences = re.findall(r"paper's way: (\S+) in an amplitude", printed)
    assert len(differences) == 2
    assert max(float(difference) for difference in differences) < 1e-7
    for name in (
        "paper's way",
        "ReferenceHead",
        "MPSProjectionHead, depth 2",
        "DenseHead",
    ):
        assert len(re.findall(rf"^{name}  .*x +\d+\.\d$", printed, re.MULTILINE)) == 2


def test_the_benchmark_of_heads_counts_memory(benchmark):
    x = torch.zeros(1000, requires_grad=True)
    assert benchmark("heads").peak_bytes(lambda: (x * 2 * 3).sum().backward()) in range(8000, 9000)


@pytest.mark.parametrize("name", ["seemps", "qiskit-aer", "quimb", "quimb-vmap", "tensornetwork"])
@pytest.mark.parametrize("limit", [[], ["--layers", "3", "--max-bond", "4"]])
def test_each_peer_computes_the_same_states(name, limit, benchmark, capsys, monkeypatch):
    pytest.importorskip(benchmark("peer_libraries").PEERS[name][0])
    monkeypatch.setattr(torch, "set_flush_denormal", lambda mode: None)  # it outlives the test
    sizes = ["--sites", "6", "--batch", "3", "--peer-states", "2", "--dtype", "complex128", *limit]
    benchmark("peers").main([*sizes, "--repeats", "1", "--warmup", "0", "--peers", name])
    printed = capsys.readouterr().out
    (row,) = re.findall(rf"^{name}  .*$", printed, re.MULTILINE)
    assert abs(float(row.split()[-1])) < (0.1 if limit else 1e-10)  # from the exact state
    assert re.search(r"^mpsheads .* 1\.0x", printed, re.MULTILINE)


def test_the_benchmark_of_peers_writes_its_numbers(benchmark, tmp_path):
    file = tmp_path / "peers.json"
    sizes = [
        "--sites",
        "4",
        "--batch",
        "2",
        "--repeats",
        "2",
        "--warmup",
        "0",
        "--threads",
        "1",
        "2",
    ]
    benchmark("peers").main([*sizes, "--peers", "--json", str(file)])
    record = json.loads(file.read_text())
    assert [result["threads"] for result in record["results"]] == [1, 2]
    assert len(record["results"][0]["seconds_per_state"]["mpsheads, with gradients"]) == 2


def test_the_two_kinds_of_quimb_are_not_timed_in_one_process(benchmark):
    with pytest.raises(SystemExit, match="in two runs"):
        benchmark("peers").main(["--peers", "quimb", "quimb-vmap"])


def test_the_benchmark_of_scaling_draws_its_numbers(benchmark, tmp_path, capsys):
    picture, file = tmp_path / "scaling.png", tmp_path / "scaling.json"
    sizes = ["--qubits", "4", "8", "--bonds", "2", "3", "--batch", "2", "1", "--peers"]
    sizes += ["--codes", "20", "40", "--float-codes", "20", "--embeddings", "8"]
    rounds = ["--repeats", "1", "--warmup", "0", "--compressed-sites", "6"]
    benchmark("scaling").main([*sizes, *rounds, "--json", str(file), "--plot", str(picture)])
    sweeps = json.loads(file.read_text())
    assert set(sweeps) == {"qubits", "bond dimension", "batch", "codes", "embeddings a step"}
    assert len(sweeps["codes"]["mpsheads, 64 bytes"]) == 2
    assert len(sweeps["codes"]["torch, 1,024 bytes"]) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "ms a state against bond dimension" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["heads", "peers", "scaling"])
def test_the_benchmarks_explain_themselves(name, benchmark, capsys):
    with pytest.raises(SystemExit) as exit_status:
        benchmark(name).main(["--help"])
    assert exit_status.value.code == 0
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out
