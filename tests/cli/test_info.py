"""`mpsheads info`: the machine, a saved head, and the figures of what it has learned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import mpsheads
from mpsheads.cli import learned
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    TruncationHead,
    describe,
)
from mpsheads.retrieval import embed, load_collection
from mpsheads.similarity import cosine
from tests.cli.conftest import FEATURES, N_DOCUMENTS

FIGURES = ["--split", "test", "--figures", "f"]


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
def embedded(beir, vectors):
    files = {"query_vectors": vectors["both"], "document_vectors": vectors["both"]}
    return embed(load_collection(beir, "test"), None, **files)


@pytest.fixture
def alone(vectors):
    return ["--document-vectors", vectors["documents"]]


def test_without_a_path_it_tells_versions_device_and_cache(command, tmp_path):
    report = command("info", "--json").json
    assert report["mpsheads"] == mpsheads.__version__
    assert torch.__version__.startswith(report["torch"])  # which may add the build, as in +cpu
    assert report["cache"] == str(tmp_path / "cache")
    assert "head" not in report
    assert "transformers" in command("info").out


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


@pytest.mark.parametrize(
    "head",
    [DenseHead(FEATURES, 6), PCAHead(FEATURES, 6).fit(AXES), TruncationHead(FEATURES, 6)],
    ids=lambda head: head.name,
)
def test_every_kind_is_described_and_says_what_it_leaves_out(command, data, head):
    head.save_pretrained("other")
    report = command("info", "other", *data, *FIGURES, "--json").json["head"]
    assert set(report["figures"]) == {"f/angles.png", "f/distances.png"}
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
def test_every_kind_of_circuit_is_drawn(command, data, options):
    head = MPSProjectionHead(FEATURES, **options, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("other")
    ran = command("info", "other", *data, *FIGURES)
    assert "written: f/angles.png, f/entanglement.png, f/distances.png" in ran.out
    assert {file.stem for file in Path("f").iterdir()} == {"angles", "entanglement", "distances"}


def test_vectors_alone_show_entanglement_and_angles(command, saved, alone):
    report = command("info", "my-head", *alone, "--figures", "f", "--json").json["head"]
    assert set(report["figures"]) == {"f/angles.png", "f/entanglement.png"}


def test_mistakes_are_one_line_and_write_nothing(fails, data, saved, alone, tmp_path):
    Path("a-file").write_text("x")
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((60, 32), dtype=np.float32))
    before = sorted(Path().iterdir())
    for message, arguments in {
        "`PATH` './nosuch' is not a folder": ["./nosuch"],
        "`--figures` a-file is a file": ["my-head", *alone, "--figures", "a-file"],
        "`--figures` needs": ["my-head", "--figures", "f"],
        "for embeddings of 48 numbers, but these have 32": [
            *("my-head", alone[0], wide, "--figures", "f")
        ],
    }.items():
        assert message in fails("info", *arguments)
    assert sorted(Path().iterdir()) == before


def test_pairs_are_relevant_ones_and_candidates_that_are_not(saved, embedded):
    few = embedded.only([f"q{i}" for i in range(30, 40)])
    before, after = learned.sample_distances(saved, few, seed=0)
    assert (len(before.relevant), len(torch.cat(before.other))) == (10, 10 * (N_DOCUMENTS - 1))
    similarity = cosine(few.queries, few.documents)
    assert_close(torch.cat(before.relevant), 1 - similarity.diagonal(30))
    mask = torch.ones_like(similarity, dtype=torch.bool)
    mask[torch.arange(10), torch.arange(30, 40)] = False
    assert_close(torch.cat(before.other).sort().values, (1 - similarity[mask]).sort().values)
    with torch.no_grad():
        fidelities = saved.similarity(saved(few.queries), saved(few.documents))
    assert_close(torch.cat(after.relevant), -fidelities.diagonal(30))
    assert (after.name, after.title) == ("−log fidelity", "after: 16 numbers")
    pool = {f"q{i}": [f"d{i}", f"d{i - 1}", f"d{i - 2}"] for i in range(30, 40)}
    bounded, _ = learned.sample_distances(saved, few.only(few.query_ids, pool=pool), seed=0)
    assert [len(others) for others in bounded.other] == [2] * 10
    lonely = few.only(few.query_ids, pool={q: doc_ids[:1] for q, doc_ids in pool.items()})
    with pytest.raises(ValueError, match=r"No query has a relevant document .* and another one"):
        learned.sample_distances(saved, lonely, seed=0)
