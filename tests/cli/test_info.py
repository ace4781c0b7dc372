"""`mpsheads info`: the machine, a saved head, and the figures of what it has learned."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mpsheads
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    TruncationHead,
    describe,
)
from tests.cli.conftest import FEATURES

pytestmark = pytest.mark.slow

FIGURES = ["--figures", "f"]


AXES = torch.eye(FEATURES)


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def saved() -> MPSProjectionHead:
    """A head in the folder `my-head`, not near the identity."""
    head = MPSProjectionHead(FEATURES, 16, generator=seeded())
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim:
                parameter.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("my-head")
    return head.eval()


@pytest.fixture
def alone(vectors):
    return ["--document-vectors", vectors["documents"]]


def test_without_a_path_it_tells_versions_device_and_cache(command, tmp_path):
    report = command("info", "--json").json
    assert report["mpsheads"] == mpsheads.__version__
    assert report["torch"] == torch.__version__
    assert report["cache"] == str(tmp_path / "cache")
    assert "head" not in report
    assert torch.__version__ in command("info").out


def test_a_saved_head_is_described(command, saved):
    report = command("info", "my-head", "--json").json["head"]
    assert (report["kind"], report["in_features"], report["out_features"]) == ("mps", FEATURES, 16)
    assert report["bytes_by_bits"] == {"32": 64, "8": 16, "4": 8, "2": 4, "1": 2}
    assert (report["config"]["depth"], report["config"]["mixing"]) == (1, 2)
    assert report["description"] == describe(saved)
    rms = float(saved.angles.detach().square().mean().sqrt())
    assert report["root_mean_squares"]["angles"] == pytest.approx(rms)
    out = command("info", "my-head").out
    assert describe(saved) in out
    assert "root mean square" in out


def test_a_head_without_angles_gives_no_number_that_json_lacks(command):
    MPSProjectionHead.for_bytes(FEATURES, 8).save_pretrained("other")
    squares = command("info", "other", "--json").json["head"]["root_mean_squares"]
    assert set(squares) == {"scale", "mixing.weight"}


@pytest.mark.parametrize(
    "head",
    [DenseHead(FEATURES, 6), PCAHead(FEATURES, 6).fit(AXES), TruncationHead(FEATURES, 6)],
    ids=lambda head: head.name,
)
def test_every_kind_is_described_and_says_what_it_leaves_out(command, alone, head):
    head.save_pretrained("other")
    report = command("info", "other", *alone, *FIGURES, "--json").json["head"]
    assert report["figures"] == ["f/angles.png"]
    assert f"{head.num_parameters:,}" in command("info", "other").out


@pytest.mark.parametrize(
    "options",
    [
        {"out_features": 16},
        {"ansatz": "brickwork", "out_features": 16},
        {"readout": "probability", "mixing": 0, "out_features": 16},
        {"readout": "state", "out_features": 48},
    ],
)
def test_every_kind_of_circuit_is_drawn(command, alone, options):
    head = MPSProjectionHead(FEATURES, **options, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("other")
    ran = command("info", "other", *alone, *FIGURES)
    assert "written: f/angles.png, f/entanglement.png" in ran.out
    assert {file.stem for file in Path("f").iterdir()} == {"angles", "entanglement"}


def test_the_documents_of_a_collection_are_encoded(command, saved, beir, model_folder):
    options = ["--dataset", beir, "--encoder", model_folder, "--figures", "f", "--json"]
    report = command("info", "my-head", *options).json["head"]
    assert report["figures"] == ["f/angles.png", "f/entanglement.png"]


def test_mistakes_are_one_line_and_write_nothing(fails, saved, alone, tmp_path):
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((60, 32), dtype=np.float32))
    before = sorted(Path().iterdir())
    for message, arguments in {
        "`PATH` './nosuch' is not a folder": ["./nosuch"],
        "`--figures` needs": ["my-head", "--figures", "f"],
        "are for it alone": ["my-head", "--dataset", "nosuch"],
        "(batch, 48), got (60, 32)": [*("my-head", alone[0], wide, "--figures", "f")],
    }.items():
        assert message in fails("info", *arguments)
    assert sorted(Path().iterdir()) == before
