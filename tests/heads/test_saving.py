"""Heads in folders: those of the version before, round trips, and what is refused."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from mpsheads import (
    Circuit,
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    TruncationHead,
    load_head,
)

SAVED = Path(__file__).with_name("saved")
REMOVED = {path.name for path in SAVED.iterdir() if path.name.startswith("removed")}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({path.name for path in SAVED.iterdir()} - REMOVED))
def test_heads_of_the_version_before_load_and_give_the_same_vectors(name, tmp_path):
    head = load_head(SAVED / name)
    about = load_file(SAVED / name / "vectors.safetensors")
    z = head(about["x"])
    assert_close(z, about["z"], atol=2e-6, rtol=0)  # other processors add in another order
    assert_close(head.similarity(z[:1], z), about["similarity"], atol=1e-4, rtol=1e-4)
    head.save_pretrained(tmp_path / "again")
    again = load_head(tmp_path / "again")
    assert again.config == head.config
    assert torch.equal(again(about["x"]), z)
    if isinstance(again, MPSProjectionHead):  # and is fitted anew by today's pairs
        assert again.fit(about["x"])(about["x"]).isfinite().all()


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_a_head_that_names_a_removed_option_is_refused_in_one_line(name):
    option = {"order": "grouping"}.get(name.split("_")[1], name.split("_")[1])
    with pytest.raises(
        ValueError, match=rf"config.json names {option}=.*not have any more"
    ) as info:
        load_head(SAVED / name)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("mixing", [2, "full"])
@pytest.mark.parametrize("bits", [None, 2.0])
def test_a_head_of_amplitudes_is_saved_with_what_its_coding_needs(
    mixing, bits, tmp_path, generator
):
    settings = {"readout": "amplitude", "mixing": mixing, "bits": bits}
    x = torch.randn(20, 12, generator=generator)
    head = MPSProjectionHead(12, 4, generator=generator, **settings).fit(x)
    head.save_pretrained(tmp_path)
    assert torch.equal(load_head(tmp_path).encode(x), head.encode(x))
    assert ("amplitudes.mean" in load_file(tmp_path / "model.safetensors")) == (bits is not None)


def test_a_circuit_of_ones_own_is_saved_with_its_matrices(tmp_path, generator):
    swap = torch.eye(4)[[0, 2, 1, 3]]
    circuit = Circuit(3, [("ry", 1), (swap, (0, 1)), ("s", 2), ("controlled-unitary", (2, 1))])
    head = MPSProjectionHead(6, 2, ansatz=circuit + circuit.inverse(), generator=generator)
    head.save_pretrained(tmp_path)
    assert load_head(tmp_path).circuit == head.circuit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_saved_head_keeps_its_dtype_and_its_type(dtype, tmp_path, generator):
    head = MPSProjectionHead(12, 4, generator=generator).to(dtype)
    folder = tmp_path / "a" / "head"
    head.save_pretrained(folder)
    x = torch.randn(3, 12, generator=generator).to(dtype)
    for load in (MPSProjectionHead.from_pretrained, ProjectionHead.from_pretrained, load_head):
        assert_close(load(folder)(x), head(x), atol=0, rtol=0)
    with pytest.raises(ValueError, match="holds a MPSProjectionHead, not a DenseHead"):
        DenseHead.from_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_saving_replaces_a_head_as_a_whole_with_usual_permissions(tmp_path, monkeypatch):
    DenseHead(6, 2).save_pretrained(tmp_path)
    MPSProjectionHead(12, 4).save_pretrained(tmp_path)
    assert isinstance(load_head(tmp_path), MPSProjectionHead)
    names = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "usual").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    (tmp_path / "usual").unlink()

    def full_disk(path, text, **options):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        DenseHead(8, 2).save_pretrained(tmp_path)
    assert load_head(tmp_path).in_features == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def edited(folder, saved, **changes):
    saved.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


CIRCUIT = {"num_sites": 3, "operations": [["ry", [0], 0, False, None]], "values": [0.1]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format_version 99; this mpsheads reads 1"),
        ({"head": "oracle"}, "names the head 'oracle'; known are .*dense.*mps"),
        ({"colour": "red"}, "does not fit MPSProjectionHead.*colour"),
        ({"in_features": 13}, "does not fit its config.json: `mixing.orders` has shape"),
        ({"in_features": 10**7}, "`in_features`: .*less than or equal to 65536, got 10000000"),
        ({"in_features": "12"}, "`in_features`: .*valid integer"),
        ({"out_features": 0}, "`out_features`: .*greater than or equal to 1"),
        ({"depth": 10**6}, "`depth`: "),
        ({"in_features": 32768, "depth": 2}, "65,536 gates in the circuit, at most 32,768"),
        ({"in_features": 4100}, "1,025 qubits in a block, at most 1,024"),
        ({"in_features": 4096, "mixing": 0}, "does not fit its config.json"),
        ({"bond_dim": 10**6}, "`bond_dim`: "),
        ({"mixing": 10**9}, "`mixing`: .*less than or equal to 64"),
        ({"mixing": -1}, "`mixing`: "),
        ({"readout": "angle"}, "`readout`: input should be 'probability', 'direction'"),
        ({"ansatz": "ladder"}, "`ansatz"),
        ({"ansatz": CIRCUIT | {"num_sites": 10**9}}, "`ansatz"),
        ({"ansatz": CIRCUIT | {"values": [float("nan")]}}, "does not fit MPSProjectionHead"),
        ({"ansatz": CIRCUIT | {"values": [0.0] * 9}}, "`angles` has shape"),
        ({"ansatz": CIRCUIT | {"num_sites": 1025}}, "1,025 qubits in a block"),
        ({"ansatz": CIRCUIT | {"operations": [["ry", [10**9], 0, False, None]]}}, "`ansatz"),
        ({"ansatz": CIRCUIT | {"operations": [["rm", [0], 0, False, None]] * 32}}, "has shape"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_configuration_out_of_bounds_fails_before_anything_is_built(changes, message, tmp_path):
    folder = edited(tmp_path, MPSProjectionHead(12, 4), **changes)
    began = time.perf_counter()
    with pytest.raises(ValueError, match=message) as info:
        load_head(folder)
    assert time.perf_counter() - began < 1  # milliseconds where nothing else runs
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("width", [50_000, 10**5])
def test_a_claim_of_a_huge_matrix_takes_no_memory(width, tmp_path):
    folder = edited(tmp_path, DenseHead(6, 2), in_features=width, out_features=width)
    with pytest.raises(ValueError, match=r"`linear.\w+` has shape|less than or equal to 65536"):
        load_head(folder)


BOMBS = """
import json, resource, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from mpsheads import load_head

folder = Path(sys.argv[1])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), held + (1 << 30)))
MPS = {"head": "mps", "out_features": 1, "bond_dim": 4, "depth": 1, "readout": "direction",
       "ansatz": "staircase", "mixing": 0}
CIRCUIT = {"num_sites": 1024, "operations": [["cx", [0, 1023], 0, False, None]] * (1 << 15),
           "values": []}
CODES = {"readout": "amplitude", "bits": 1, "scramble": 3}
for config, angles, more in [
    ({"head": "dense", "in_features": 65536, "out_features": 65536}, 1, {}),
    (MPS | {"in_features": 65536}, 65535, {}),
    (MPS | {"in_features": 32768}, 32767, {}),
    (MPS | {"in_features": 1024, "ansatz": CIRCUIT}, 0, {}),
    (MPS | {"in_features": 1024, "mixing": 64, "ansatz": "brickwork"}, 1,
     {"mixing.angles": (64, 1), "mixing.orders": (65, 1024)}),
    (MPS | CODES | {"in_features": 4096, "out_features": 4096}, 0,
     {"amplitudes.mean": (4096,), "amplitudes.span": ()}),
]:
    tensors = {"angles": torch.zeros(angles), "scale": torch.zeros(())}
    tensors |= {name: torch.zeros(shape) for name, shape in more.items()}
    (folder / "config.json").write_text(json.dumps({"format_version": 1, **config}))
    save_file(tensors, folder / "model.safetensors")
    try:
        load_head(folder)
    except ValueError as error:
        assert "llocat" not in str(error), error
"""


@pytest.mark.slow
def test_no_small_file_takes_much_memory_or_time(tmp_path):
    run = [sys.executable, "-c", BOMBS, str(tmp_path)]
    done = subprocess.run(run, timeout=100, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="less than or equal to 65536, got 70000"):
        TruncationHead(70_000, 1).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("angles", lambda t: t * float("nan"), "`angles` holds NaN or infinity"),
        ("scale", lambda t: t / 0, "`scale` holds NaN or infinity"),
        ("angles", lambda t: t.long(), "`angles` holds numbers of type I64"),
        ("angles", lambda t: t.to(torch.complex64), "`angles` holds numbers of type C64"),
        ("angles", lambda t: t.double(), "of several types, F32, F64"),
        ("angles", lambda t: t[:-1], "does not fit its config.json: .*size mismatch for angles"),
        ("angles", lambda t: t[:7], "fewer numbers than the circuit needs, 8"),
        ("scale", lambda t: t[None], r"`scale` has shape \(1,\), not \(\)"),
        ("mixing.orders", lambda t: t.clamp(max=5), "`mixing.orders` holds a row that is no perm"),
        ("mixing.orders", lambda t: t + 1, "`mixing.orders` holds a row that is no permutation"),
        ("mixing.orders", lambda t: t.int(), "`mixing.orders` holds numbers of type I32"),
        ("other", None, "it has the tensors .*'other'"),
    ],
)
def test_weights_that_do_not_fit_are_named(name, change, message, tmp_path):
    MPSProjectionHead(12, 4).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[name] = change(tensors[name]) if change else torch.zeros(2)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_head(tmp_path)


def test_broken_and_missing_files_are_named(tmp_path, monkeypatch):
    whole, other = tmp_path / "whole", tmp_path / "other"
    PCAHead(6, 2).save_pretrained(whole)
    shutil.copytree(whole, other)
    for content in ("{", "[]", "[" * 100_000):
        (other / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"JSON|not the configuration of a saved head"):
            load_head(other)
    weights = (whole / "model.safetensors").read_bytes()
    for content in (b"half a file", weights[:-4], b"\xff" * 16):
        (whole / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"model.safetensors does not fit"):
            load_head(whole)
    (whole / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        load_head(whole)
    (whole / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json is missing"):
        load_head(whole)
    with pytest.raises(FileNotFoundError, match=r"nowhere.* is not a folder"):
        load_head(tmp_path / "nowhere")
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **o: asked.append((a, o)))
    with pytest.raises(TypeError):  # nothing was fetched
        load_head("nobody/nothing")
    files = ["config.json", "model.safetensors"]
    assert asked == [(("nobody/nothing",), {"allow_patterns": files})]
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="neither a folder here nor to be had from the hub"):
        load_head("nobody/nothing")
