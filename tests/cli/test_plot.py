import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads.cli import learned
from mpsheads.cli.sources import Embedded
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
)
from mpsheads.plotting import code_entropy
from mpsheads.retrieval import evaluate, load_vectors, rank
from mpsheads.similarity import cosine
from tests.cli.conftest import FEATURES, N_DOCUMENTS

ALL = {"entanglement", "angles", "distances", "quality", "overview"}


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
def embedded(vectors) -> Embedded:
    queries, query_ids = load_vectors(vectors["both"], name="queries")
    documents, doc_ids = load_vectors(vectors["both"], name="documents")
    return Embedded(query_ids, queries, doc_ids, documents)


QRELS = {f"q{i}": {f"d{i}": 1, f"d{(i + 7) % N_DOCUMENTS}": 0} for i in range(30, 40)}


def test_all_figures_and_their_numbers_are_written(command, data, saved, embedded):
    ran = command("plot", "my-head", *data, "--split", "test", "--output", "a/b", "--json")
    report = ran.json
    files = {file.name for file in Path("a/b").iterdir()}
    assert files == {*(f"{name}.png" for name in ALL), "numbers.json"}
    assert report == json.loads(Path("a/b/numbers.json").read_text())
    assert report["figures"] == {name: f"a/b/{name}.png" for name in ALL}
    assert (report["kind"], report["dataset"], report["left_out"]) == ("mps", "tiny/test", {})
    assert report["documents"] == N_DOCUMENTS
    assert 0.05 < report["entanglement"]["mean_bits"] < report["entanglement"]["largest_bits"] <= 1
    with torch.no_grad():
        z = saved(embedded.documents)
    for bits, used in report["outputs"]["bits_in_use"].items():
        span = saved.readout.span(int(bits), saved.out_features)
        beyond = (1 - span) * math.pi / 2  # what codes leave out
        found = code_entropy(z, int(bits), low=beyond, high=math.pi - beyond)
        assert used == pytest.approx(float(found.mean()))
    labels = [row["label"] for row in report["quality"]]
    assert labels[:6] == [
        "uncompressed",
        *(f"mps, {bits} bits" for bits in (32, 8, 4, 2)),
        "mps, 1 bit",
    ]
    assert [row["bytes_per_vector"] for row in report["quality"]] == [192, *[64, 16, 8, 4, 2] * 3]
    assert list(Path("a").iterdir()) == [Path("a/b")]


def test_float32_rows_are_what_evaluate_says(command, data, saved):
    plotted = command("plot", "my-head", *data, "--split", "test", "--output", "f", "--json").json
    rows = {row["label"]: row["measures"] for row in plotted["quality"]}
    for head, label in {
        None: "uncompressed",
        "my-head": "mps, 32 bits",
        "pca:16": "pca, 32 bits",
        "truncation:16": "truncation, 32 bits",
    }.items():
        named = [] if head is None else ["--head", head]
        options = ["--split", "test", "--measure", "nDCG@10", "--json", *named]
        assert command("evaluate", *data, *options).json["measures"] == rows[label]


def test_the_tables_say_what_the_figures_show(command, data, saved):
    ran = command("plot", "my-head", *data, "--split", "test", "--measure", "RR@10")
    for part in ("bits a bond", "≥ ", "before: overlap", "RR@10 [95%]", "mps, 4 bits", "figures:"):
        assert part in ran.out


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_another_format_can_be_asked_for(command, data, saved, ending):
    options = ["--split", "test", "--format", ending, "--texts", "3", "--json"]
    report = command("plot", "my-head", *data, *options).json
    assert report["entanglement"]["texts"] == 3
    assert {Path(file).name for file in report["figures"].values()} == {
        f"{name}.{ending}" for name in ALL
    }


@pytest.mark.parametrize(
    ("head", "bits"),
    [
        (DenseHead(FEATURES, 16, generator=seeded()), True),
        (TruncationHead(FEATURES, 16), False),
        (ReferenceHead(FEATURES, 16, normalize=True, generator=seeded()), True),
    ],
)
def test_a_head_without_states_says_what_it_leaves_out(command, data, head: ProjectionHead, bits):
    head.save_pretrained("other")
    options = ["--split", "test", "--output", "f"]
    report = command("plot", "other", *data, *options, "--json").json
    reason = f"a {head.name} head has no quantum states"
    assert report["left_out"] == {"entanglement": reason}
    assert set(report["figures"]) == ALL - {"entanglement"}
    assert ("bits_in_use" in report["outputs"]) == bits
    assert f"entanglement: left out, {reason}" in command("plot", "other", *data, *options).out


@pytest.mark.parametrize(
    ("options", "bits", "name"),
    [
        ({"readout": "bloch", "out_features": 48}, [8, 4, 2, 1], "Bloch component"),
        ({"ansatz": "brickwork", "out_features": 16}, [8, 4, 2, 1], "angle"),
        ({"encoding": "dense_angle", "out_features": 15}, [8, 4, 2, 1], "angle"),
        ({"encoding": "amplitude", "out_features": 16}, [8, 4, 2, 1], "angle"),
        ({"readout": "state", "out_features": 48}, [8, 4], "component of a site"),
    ],
)
def test_every_kind_of_circuit_is_drawn(command, data, options, bits, name):
    head = MPSProjectionHead(FEATURES, **options, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("other")
    report = command("plot", "other", *data, "--split", "test", "--texts", "5", "--json").json
    assert set(report["figures"]) == ALL
    assert report["outputs"]["name"] == name
    assert [int(width) for width in report["outputs"]["bits_in_use"]] == bits
    labels = [row["label"] for row in report["quality"] if row["head"] == "mps"]
    assert labels == [f"mps, {b} bit{'s' * (b > 1)}" for b in (32, *bits)]
    size = options["out_features"]
    sizes = [row["bytes_per_vector"] for row in report["quality"] if row["head"] == "mps"]
    assert sizes == [-(-size * b // 8) for b in (32, *bits)]


def test_a_fitted_pca_head_keeps_its_own_axes(command, data, embedded):
    head = PCAHead(FEATURES, 8).fit(embedded.queries)
    head.save_pretrained("pca-head")
    report = command("plot", "pca-head", *data, "--split", "test", "--json").json
    kinds = [row["head"] for row in report["quality"]]
    assert (kinds.count("pca"), kinds.count("truncation")) == (5, 5)
    expected = command("evaluate", *data, "--split", "test", "--head", "pca-head", "--json").json
    assert report["quality"][1]["measures"]["nDCG@10"] == expected["measures"]["nDCG@10"]


def test_vectors_alone_show_entanglement_and_angles(command, saved, vectors):
    options = ["--document-vectors", vectors["documents"], "--json"]
    report = command("plot", "my-head", *options).json
    assert set(report["figures"]) == {"entanglement", "angles", "overview"}
    assert set(report["left_out"]) == {"distances", "quality"}


def test_mistakes_are_one_line_and_write_nothing(command, fails, data, saved, vectors, tmp_path):
    split = [*data, "--split", "test"]
    Path("a-file").write_text("x")
    Path("empty").mkdir()
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((60, 32), dtype=np.float32))
    before = sorted(Path().iterdir())
    assert "Missing argument 'PATH'" in fails("plot", *split)
    assert "`PATH` './nosuch' is not a folder" in fails("plot", "./nosuch", *split)
    assert "config.json is missing" in fails("plot", "empty", *split)
    assert "`--format` must be one of" in fails("plot", "my-head", *split, "--format", "docx")
    assert "`--output` a-file is a file" in fails("plot", "my-head", *split, "--output", "a-file")
    assert "`--texts` must be at least 1" in fails("plot", "my-head", *split, "--texts", "0")
    assert "Give `--dataset`" in fails("plot", "my-head")
    assert "nDCG@x" in fails("plot", "my-head", *split, "--measure", "nDCG@x")
    words = "`PATH` 'my-head' holds a head for embeddings of 48 numbers, but these have 32"
    assert words in fails("plot", "my-head", "--document-vectors", wide)
    narrow = [*data[:2], "--query-vectors", wide, "--document-vectors", wide, "--split", "test"]
    assert words in fails("plot", "my-head", *narrow)
    assert sorted(Path().iterdir()) == before


def test_a_figure_that_fails_leaves_the_folder_as_it_was(command, data, saved, monkeypatch):
    def broken(*arguments, **options):
        raise OSError("The disk is full.")

    monkeypatch.setattr("mpsheads.cli.plot.overview", broken)
    assert command("plot", "my-head", *data, "--split", "test", "--output", "f").code == 2
    assert [path.name for path in Path().iterdir()] == ["my-head"]


def test_pairs_are_relevant_ones_and_candidates_that_are_not(saved, embedded):
    before, after = learned.sample_distances(saved, embedded, QRELS, None, seed=0)
    assert (len(before.relevant), len(before.other)) == (10, 10 * (N_DOCUMENTS - 1))
    similarity = cosine(embedded.queries[30:], embedded.documents)
    assert_close(before.relevant, 1 - similarity.diagonal(30))
    mask = torch.ones_like(similarity, dtype=torch.bool)
    mask[torch.arange(10), torch.arange(30, 40)] = False
    assert_close(before.other.sort().values, (1 - similarity[mask]).sort().values)
    with torch.no_grad():
        fidelities = saved.similarity(saved(embedded.queries[30:]), saved(embedded.documents))
    assert_close(after.relevant, -fidelities.diagonal(30))
    assert (after.name, after.title) == ("−log fidelity", "after: 16 numbers")
    assert after.relevant_queries.tolist() == list(range(10))


def test_a_pool_bounds_the_other_documents(saved, embedded):
    pool = {f"q{i}": [f"d{i}", f"d{i - 1}", f"d{i - 2}"] for i in range(30, 40)}
    before, _ = learned.sample_distances(saved, embedded, QRELS, pool, seed=0)
    assert len(before.other) == 20
    alone = {query_id: candidates[:1] for query_id, candidates in pool.items()}
    with pytest.raises(ValueError, match=r"No query has a relevant document .* and another one"):
        learned.sample_distances(saved, embedded, QRELS, alone, seed=0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_what_comes_back_from_codes_is_near_and_takes_few_values(saved, embedded, bits):
    with torch.no_grad():
        z = saved(embedded.documents)
    found = learned.stored(saved, z, bits)
    assert (found - z).abs().max() <= torch.pi / 2**bits / 2 + 1e-5
    assert len(found.unique()) <= 2**bits
    calibrated = learned.stored(TruncationHead(FEATURES, 16), embedded.documents[:, :16], bits)
    assert max(len(column.unique()) for column in calibrated.T) <= 2**bits


def test_quality_falls_with_the_bits(saved, embedded):
    rows = learned.measure_sizes(saved, embedded, QRELS, "nDCG@10", None, seed=0)
    means = {row["label"]: row["measures"]["nDCG@10"]["mean"] for row in rows}
    assert means["mps, 1 bit"] < means["mps, 8 bits"]
    with torch.no_grad():
        zq, zd = saved(embedded.queries), learned.stored(saved, saved(embedded.documents), 2)
    run = rank(zq, embedded.query_ids, zd, embedded.doc_ids, saved.similarity)
    assert means["mps, 2 bits"] == pytest.approx(evaluate(run, QRELS).mean["nDCG@10"])
