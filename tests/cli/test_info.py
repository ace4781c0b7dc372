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
from mpsheads.mps import entanglement_entropy
from mpsheads.plotting import code_entropy
from mpsheads.retrieval import embed, load_collection, load_vectors
from mpsheads.similarity import cosine
from tests.cli.conftest import FEATURES, N_DOCUMENTS

ALL = {"entanglement", "angles", "distances", "quality", "overview"}
FIGURES = ["--split", "test", "--figures", "f", "--format", "svg"]


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
    assert "sample" not in report
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
    assert set(report["sample"]["figures"]) == ALL - {"entanglement"}
    assert report["sample"]["bits_in_use"] == {}
    assert "entanglement" not in report["sample"]
    assert f"{head.num_parameters:,}" in command("info", "other").out


def test_truncation_is_told(command, vectors, alone):
    head = MPSProjectionHead(FEATURES, 12, bond_dim=2, depth=3, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-2, 2, generator=seeded())
    head.save_pretrained("cut")
    x, _ = load_vectors(vectors["documents"])
    sample = command("info", "cut", *alone, "--json").json["head"]["sample"]
    with torch.no_grad():
        expected = head.state(x).discarded_weight.sum(1).mean()
    discarded = sample["entanglement"]["discarded_weight"]
    assert discarded == pytest.approx(float(expected), rel=1e-3)
    assert expected > 1e-4
    assert " truncated" in command("info", "cut", *alone).out


def test_a_sample_of_texts_shows_entanglement_and_outputs(command, saved, data, vectors, alone):
    out = command("info", "my-head", *data, "--split", "test", "--texts", "20").out
    for part in ("60 documents of tiny/test", "bits a bond", "of 4"):
        assert part in out
    x, _ = load_vectors(vectors["documents"])
    found = command("info", "my-head", *alone, "--json").json["head"]["sample"]["entanglement"]
    with torch.no_grad():
        entropies = entanglement_entropy(saved.state(x), base=2)
    inside = [bond for bond in range(FEATURES - 1) if bond % 3 != 2]
    assert found["mean_bits"] == pytest.approx(float(entropies[:, inside].mean()), rel=1e-4)
    assert found["largest_bits"] == pytest.approx(float(entropies.max()), rel=1e-4)


@pytest.mark.slow
def test_all_figures_and_their_numbers_are_written(command, data, saved, embedded):
    options = ["--split", "test", "--figures", "a/b", "--measure", "nDCG@10"]
    sample = command("info", "my-head", *data, *options, "--json").json["head"]["sample"]
    assert {file.name for file in Path("a/b").iterdir()} == {f"{name}.png" for name in ALL}
    assert sample["figures"] == {name: f"a/b/{name}.png" for name in ALL}
    with torch.no_grad():
        z = saved(embedded.documents)
    for bits, used in sample["bits_in_use"].items():
        assert used == pytest.approx(float(code_entropy(saved.quantize(z, int(bits))).mean()))
    assert [row["bytes"] for row in sample["quality"]] == [192, *[64, 16, 8, 4, 2] * 3]
    heads = [word for name in ("my-head", "pca:16", "truncation:16") for word in ("--head", name)]
    options = ["--split", "test", "--measure", "nDCG@10", "--json", *heads]
    rows = command("evaluate", *data, *options).json["results"]
    expected = {row["head"] or "uncompressed": row["measures"]["nDCG@10"] for row in rows}
    for row in sample["quality"]:
        if row["bits"] == 32:
            assert row["mean"] == expected[row["method"]]["mean"]
    assert list(sample["auc"]) == ["before: 48 numbers", "after: 16 numbers"]


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        ({"ansatz": "brickwork", "out_features": 16}, [8, 4, 2, 1]),
        ({"readout": "probability", "mixing": 0, "out_features": 16}, [8, 4, 2, 1]),
        ({"readout": "state", "out_features": 48}, [8, 4]),
    ],
)
def test_every_kind_of_circuit_is_drawn(command, data, options, bits):
    head = MPSProjectionHead(FEATURES, **options, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("other")
    arguments = ["info", "other", *data, *FIGURES, "--texts", "5", "--measure", "RR@10"]
    report = command(*arguments, "--json").json["head"]
    sample = report["sample"]
    assert set(sample["figures"]) == ALL
    assert [int(width) for width in sample["bits_in_use"]] == bits
    assert [row["bits"] for row in sample["quality"] if row["method"] == "mps"] == [32, *bits]


def test_the_table_has_distances_and_quality(command, data, saved):
    out = command("info", "my-head", *data, *FIGURES, "--measure", "RR@10").out
    for part in ("before", "AUC", "RR@10 [95%]", "mps, 4 bits", "written: f/"):
        assert part in out


def test_vectors_alone_show_entanglement_and_angles(command, saved, alone):
    report = command("info", "my-head", *alone, "--figures", "f", "--json").json["head"]
    assert set(report["sample"]["figures"]) == {"entanglement", "angles", "overview"}


def test_mistakes_are_one_line_and_write_nothing(fails, data, saved, alone, tmp_path):
    split = [*data, "--split", "test"]
    Path("a-file").write_text("x")
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((60, 32), dtype=np.float32))
    before = sorted(Path().iterdir())
    for message, arguments in {
        "`PATH` './nosuch' is not a folder": ["./nosuch"],
        "`--format` must be one of": ["my-head", "--format", "docx"],
        "`--figures` a-file is a file": ["my-head", *split, "--figures", "a-file"],
        "`--figures` needs texts": ["my-head", "--figures", "f"],
        "`--texts` must be at least 1": ["my-head", "--texts", "0"],
        "Give `PATH`": alone,
        "nDCG@x": ["my-head", *split, "--figures", "f", "--measure", "nDCG@x"],
        "for embeddings of 48 numbers, but these have 32": ["my-head", alone[0], wide],
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


def test_quality_falls_with_the_bits(saved, embedded):
    rows = learned.measure_sizes(saved, embedded, "nDCG@10", seed=0)
    means = {(row.method, row.bits): row.mean for row in rows}
    assert means["mps", 1] < means["mps", 8]
    with torch.no_grad():
        codes = saved.quantize(saved(embedded.documents), 2)
    scores = embedded.scores("nDCG@10", saved, documents=codes)
    assert means["mps", 2] == pytest.approx(sum(scores.values()) / len(scores))
