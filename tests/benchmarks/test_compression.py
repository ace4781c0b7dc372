"""The benchmark of quality against bytes: every method, resumed, summarised, drawn."""

import importlib
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch.nn.functional import normalize

from mpsheads import DenseHead, MPSProjectionHead
from mpsheads.cli.sources import Embedded
from mpsheads.retrieval import Collection
from mpsheads.similarity import Codes

pytest.importorskip("faiss")
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def compression(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield importlib.import_module("compression")
    torch.set_num_threads(threads)


def split(compression, name, count, seed):
    """Queries near one document each, which alone is relevant."""
    generator = torch.Generator().manual_seed(seed)
    documents = torch.randn(count, 16, generator=generator)
    queries = documents[:12] + 0.5 * torch.randn(12, 16, generator=generator)
    doc_ids, query_ids = [f"d{k}" for k in range(count)], [f"q{k}" for k in range(12)]
    collection = Collection(
        name,
        dict.fromkeys(doc_ids, "text"),
        dict.fromkeys(query_ids, "text"),
        {f"q{k}": {f"d{k}": 1, f"d{k + 12}": 0} for k in range(12)},
    )
    pool = dict.fromkeys(query_ids, doc_ids)
    return compression.Split(
        name, collection, Embedded(query_ids, queries, doc_ids, documents), pool
    )


@pytest.fixture
def run(compression, monkeypatch, tmp_path):
    """Runs the benchmark on numbers that are made up; returns lines and summary."""
    made = {
        name: split(compression, name, count, seed)
        for seed, (name, count) in enumerate({"train": 300, "dev": 40, "a": 40, "b": 40}.items())
    }
    monkeypatch.setattr(compression.Split, "load", lambda _, name, options: made[name])
    files = {name: tmp_path / name for name in ("results", "summary")}

    def call(*arguments):
        given = ["--train", "x", "--test", "y", "--splits", "a", "b", "--epochs", "1", *arguments]
        for name, file in files.items():
            given += [f"--{name}", str(file)]
        compression.main(given)
        return [compression._read(file) for file in files.values()]

    call.files = files
    return call


@pytest.mark.filterwarnings("ignore")
def test_every_method_at_every_number_of_bits(run, compression, tmp_path, capsys):
    figure = tmp_path / "figure.png"
    _, rows = run("--sizes", "8", "--seeds", "0", "1", "--figure", str(figure))
    heads = [name for name, make in compression.METHODS.items() if make]
    assert len(heads) == 7
    of_heads = [row for row in rows if row["method"] in heads]
    assert len(of_heads) == 7 * 5
    for row in of_heads:
        assert row["bytes"] == 8 * row["bits"] / 8
        assert row["seeds"] == (1 if row["method"] in ("pca", "truncation") else 2)
    quantisers = [(r["method"], r["bytes"]) for r in rows if r["method"] in ("pq", "opq")]
    assert sorted(quantisers) == [(m, b) for m in ("opq", "pq") for b in (2, 4, 8)]
    assert {r["parameters"] for r in rows if r["method"] == "opq"} == {256 * 16 + 16 * 16}
    whole = next(row for row in rows if row["method"] == "uncompressed")
    assert (whole["bytes"], whole["kept"], whole["p"]) == (64, 1.0, None)
    for row in rows:
        mean = (row["splits"]["a"] + row["splits"]["b"]) / 2
        assert row["mean"] == pytest.approx(mean)
        assert row["kept"] == pytest.approx(row["mean"] / whole["mean"])
    assert imread(figure).shape[0] > 400
    printed = capsys.readouterr().out
    assert len([line for line in printed.splitlines() if line.startswith("|")]) == len(rows) + 2


def test_what_is_there_is_not_computed_again(run, monkeypatch, compression):
    few = ["--sizes", "8", "--seeds", "0", "--methods", "uncompressed", "pca", "truncation"]
    lines, rows = run(*few)
    file = run.files["results"]
    cut = file.read_text().splitlines()
    file.write_text("\n".join(cut[:-1]) + "\n" + cut[-1][:40])  # a kill in the last line
    made = []
    measure = compression._measure
    monkeypatch.setattr(
        compression, "_measure", lambda jobs, *rest: made.extend(jobs) or measure(jobs, *rest)
    )
    again, rows_again = run(*few)
    assert [compression._key(job) for job in made] == [("truncation", 8, 1, 0, "b")]
    assert again == lines
    assert rows_again == rows
    made.clear()
    monkeypatch.setattr(compression.Split, "load", None)  # nor is anything loaded
    assert run(*few) == [lines, rows]
    assert not made


def test_cosine_heads_are_coded_by_dimension_and_angles_are_not(compression, generator):
    known, z = torch.randn(500, 4, generator=generator), torch.randn(50, 4, generator=generator)
    known, z = known * torch.tensor([1, 2, 3, 4]), z * torch.tensor([1, 2, 3, 4])
    for bits in (8, 4, 2, 1):
        coded = compression._coded(DenseHead(8, 4), z, known, bits)
        assert max(len(column.unique()) for column in coded.T) <= 2**bits
        ends = torch.quantile(normalize(known), torch.tensor([0.005, 0.995]), dim=0)
        inside = ((normalize(z) > ends[0]) & (normalize(z) < ends[1])).float()
        error = (coded - normalize(z)).abs() * inside
        assert (error <= (ends[1] - ends[0]) / 2**bits / 2 + 1e-6).all()
    head = MPSProjectionHead(8, 4)
    assert isinstance(compression._coded(head, head(torch.randn(3, 8)), known, 2), Codes)


def test_pca_of_as_many_bytes(compression):
    means = {("pca", 8, 8): {"q": 1}, ("pca", 16, 4): {"q": 2}, ("pca", 16, 2): {"q": 3}}
    assert compression._pca_of("mps", 8, 8, means) == {"q": 1}
    assert compression._pca_of("pq", 8, 8, means) == {"q": 2}
    assert compression._pca_of("opq", 5, 8, means) is None


def test_a_quantiser_needs_parts_of_one_size(compression):
    with pytest.raises(ValueError, match="16 features do not divide into 5 parts"):
        compression._product_quantiser(torch.randn(300, 16), 5, 0, False)


def test_the_benchmark_explains_itself(compression, capsys):
    with pytest.raises(SystemExit) as exit_status:
        compression.main(["--help"])
    assert exit_status.value.code == 0
    assert "python benchmarks/compression.py" in capsys.readouterr().out
