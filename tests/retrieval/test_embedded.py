"""Embedded collections: what is embedded, ranked and compared."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import MPSProjectionHead, TruncationHead, compress_vectors
from mpsheads.retrieval import (
    Encoder,
    candidate_pool,
    dataset_name,
    embed,
    embed_dataset,
    evaluate,
    has_split,
    load_collection,
    measure_heads,
    paired_test,
    parse_dataset,
    save_vectors,
    write_triples,
)
from tests.retrieval.tiny import jsonl, tsv

TOPICS = ["quantum state", "tensor network", "search head", "qubit gate", "the state of", "gate"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(beir) -> Path:
    """Six queries; query i has the relevant document di and the judged dj, j = i + 6."""
    documents = [{"_id": f"d{i}", "text": f"{TOPICS[i % 6]} {i}"} for i in range(12)]
    queries = [{"_id": f"q{i}", "text": topic} for i, topic in enumerate(TOPICS)]
    test = [(f"q{i}", f"d{i + j}", int(j == 0)) for i in range(6) for j in (0, 6)]
    train = [("q1", "d1", 1), ("q1", "d9", 1), ("q1", "d8", 0), ("q2", "d2", 1)]
    return beir(corpus=jsonl(documents), queries=jsonl(queries), test=tsv(test), train=tsv(train))


@pytest.mark.parametrize(
    ("dataset", "parts"),
    [
        ("data/mini", ("data/mini", None, None)),
        ("data/mini:dl19", ("data/mini", "dl19", None)),
        ("data/mini:dl19@all", ("data/mini", "dl19", "all")),
        ("data/mini@runs/bm25.trec", ("data/mini", None, "runs/bm25.trec")),
        ("msmarco-passage/train", ("msmarco-passage/train", None, None)),
        ("C:/data", ("C:/data", None, None)),
    ],
)
def test_a_dataset_names_collection_split_and_pool(dataset, parts):
    assert parse_dataset(dataset) == parts


def test_names_leave_out_where_a_collection_lies(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for dataset in ("tiny:test", "./tiny:test", f"{folder}:test@judged", "tiny/../tiny:test"):
        assert dataset_name(dataset) == "tiny/test"
    assert dataset_name("tiny@all") == "tiny (all)"
    assert dataset_name("msmarco-passage/dev/small") == "msmarco-passage/dev/small"
    assert dataset_name(f"{folder.with_name('gone')}:test") == "gone/test"
    assert [has_split(folder, split) for split in ("train", "dev")] == [True, False]


def test_a_pool_decides_which_documents_are_embedded(folder, encoder):
    judged = embed_dataset(f"{folder}:train@judged", encoder)
    assert (judged.name, judged.query_ids) == ("tiny/train", ["q1", "q2"])
    assert judged.document_ids == ["d1", "d2", "d8", "d9"]
    assert_close(
        judged.documents,
        encoder.encode([f"{TOPICS[int(d[1]) % 6]} {d[1]}" for d in judged.document_ids]),
    )
    assert_close(judged.queries, encoder.encode(TOPICS[1:3], kind="query"))
    assert {q: sorted(row) for q, row in judged.rank().items()} == {
        "q1": ["d1", "d8", "d9"],
        "q2": ["d2"],
    }
    everything = embed_dataset(f"{folder}:train", encoder)
    assert (len(everything.document_ids), everything.pool) == (12, None)
    assert embed_dataset(f"{folder}:train", encoder, default_pool="judged").pool == judged.pool


def test_a_head_ranks_by_its_own_vectors_or_by_those_given(folder, encoder):
    embedded = embed_dataset(f"{folder}:test", encoder)
    head = TruncationHead(32, 5)
    expected = embed(embedded.collection, encoder)
    assert embedded.rank(TruncationHead(32, 32)) == expected.rank()
    assert embedded.rank(head, top_k=2) == embedded.rank(
        head, queries=embedded.queries[:, :5], documents=embedded.documents[:, :5], top_k=2
    )
    head = MPSProjectionHead(32, 4, mixing=0)
    codes = head.quantize(compress_vectors(head, embedded.documents), 8)
    scores = embedded.scores("RR@10", head, documents=codes)
    run = embedded.rank(head, documents=codes)
    assert list(scores.values()) == evaluate(run, embedded.qrels, ["RR@10"]).values("RR@10")


def test_fewer_queries_rank_all_embedded_documents_unless_a_pool_is_given(folder, encoder):
    embedded = embed_dataset(f"{folder}:test@judged", encoder)
    two = embedded.only(["q5", "q2"])
    assert (two.query_ids, list(two.qrels), list(two.collection.queries)) == (["q5", "q2"],) * 3
    assert torch.equal(two.queries, embedded.queries[[5, 2]])
    assert two.documents is embedded.documents
    assert {len(row) for row in two.rank().values()} == {12}
    with pytest.raises(ValueError, match="`query_ids`: 'q9' is not one of tiny/test's queries"):
        embedded.only(["q9"])


def test_of_triples_only_what_they_name_and_what_is_relevant_is_embedded(folder, encoder, tmp_path):
    file = tmp_path / "t.tsv"
    write_triples([("q1", "d1", "d5"), ("q1", "d1", "d7"), ("q2", "d2", "d3")], file)
    embedded = embed_dataset(f"{folder}:train", encoder, triples=file, max_triples=2)
    assert embedded.query_ids == list(embedded.qrels) == ["q1"]
    assert embedded.document_ids == ["d1", "d5", "d7", "d9"]  # d9 is relevant for q1
    assert embedded.pool is None
    assert [triple.negative_id for triple in embedded.triples] == ["d5", "d7"]
    assert embedded.only([]).triples == []


@pytest.mark.parametrize(
    ("triple", "message"),
    [
        (("q1", "d1", "d77"), "`triples`: 'd77' is not one of tiny/train's documents"),
        (("q77", "d1", "d2"), "`triples`: 'q77' is not one of tiny/train's queries"),
    ],
)
def test_triples_of_another_collection_are_named(folder, encoder, tmp_path, triple, message):
    write_triples([("q1", "d1", "d2"), triple], tmp_path / "t.tsv")
    with pytest.raises(ValueError, match=message):
        embed_dataset(f"{folder}:train", encoder, triples=tmp_path / "t.tsv")
    assert not (tmp_path / "cache").exists()


def test_vectors_of_files_take_the_place_of_an_encoder(folder, tmp_path):
    collection = load_collection(folder, "train")
    documents, queries = torch.rand(12, 4), torch.rand(3, 4)
    save_vectors(tmp_path / "d.npy", documents=documents)
    save_vectors(tmp_path / "q.safetensors", ids={"queries": ["q2", "q0", "q1"]}, queries=queries)
    files = {"query_vectors": tmp_path / "q.safetensors", "document_vectors": tmp_path / "d.npy"}
    embedded = embed(collection, None, pool=candidate_pool(collection, "judged"), **files)
    assert torch.equal(embedded.queries, queries[[2, 0]])
    assert torch.equal(embedded.documents, documents[[1, 2, 8, 9]])
    save_vectors(tmp_path / "short.npy", documents=documents[:3])
    wrong = {
        "holds 3 rows, but the collection has 12": {"document_vectors": tmp_path / "short.npy"},
        "vectors: 'd0' is not one of": {"document_vectors": tmp_path / "other.safetensors"},
        "`encoder` is None, and there is no file of query vectors": {"query_vectors": None},
        "`queries` has 4, `documents` has 3": {"document_vectors": tmp_path / "narrow.npy"},
    }
    save_vectors(tmp_path / "other.safetensors", ids={"documents": ["x"]}, documents=documents[:1])
    save_vectors(tmp_path / "narrow.npy", documents=documents[:, :3])
    for message, change in wrong.items():
        with pytest.raises(ValueError, match=message):
            embed(collection, None, **(files | change))


def test_nothing_to_rank_is_named(folder, encoder: Encoder):
    with pytest.raises(ValueError, match="tiny/train name no document"):
        embed(load_collection(folder, "train"), encoder, pool={"q1": []})


@pytest.mark.slow
def test_heads_are_measured_and_tested_against_the_baseline(folder, encoder):
    embedded = embed_dataset(f"{folder}:test", encoder)
    heads = {"plain": None, "two": TruncationHead(32, 2), "one": TruncationHead(32, 1)}
    rows = measure_heads(heads, embedded, ["RR@10", "R@2"], baseline="plain")
    assert [row["label"] for row in rows] == list(heads)
    plain, two, one = rows
    assert (plain["head"], plain["out_features"], plain["bytes_per_vector"]) == (None, 32, 128)
    assert (two["head"], two["out_features"], two["parameters"]) == ("truncation", 2, 0)
    assert plain["difference"] is plain["p_value"] is plain["p_value_holm"] is None
    for head, row in (("two", two), ("one", one)):
        scores = list(embedded.scores("RR@10", heads[head]).values())
        difference = np.subtract(scores, list(embedded.scores("RR@10").values()))
        assert row["measures"]["RR@10"]["mean"] == pytest.approx(sum(scores) / 6)
        low, high = row["measures"]["RR@10"]["interval"]
        assert low <= row["measures"]["RR@10"]["mean"] <= high
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["p_value"] == paired_test(difference)
    assert min(two["p_value_holm"], one["p_value_holm"]) <= 2 * min(two["p_value"], one["p_value"])
    with pytest.raises(ValueError, match="`baseline` must be one of"):
        measure_heads(heads, embedded, ["RR@10"], baseline="mps")
