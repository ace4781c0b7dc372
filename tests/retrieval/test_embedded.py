"""Embedded collections: what is embedded, ranked and compared."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import MPSProjectionHead, TruncationHead, compress_vectors
from mpsheads.retrieval import (
    BM25,
    Collection,
    EmbeddedCollection,
    Encoder,
    candidate_pool,
    dataset_name,
    embed,
    embed_dataset,
    encode_cached,
    evaluate,
    has_split,
    load_collection,
    measure_heads,
    paired_test,
    parse_dataset,
    save_vectors,
    with_split,
    write_triples,
)
from mpsheads.training import TrainingData
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
    assert with_split("tiny@all", "train") == "tiny:train@all"
    for dataset, split in (("tiny:test", "train"), ("tiny", "dev")):
        assert with_split(dataset, split) == dataset
    Path("tiny@1:2").mkdir()
    assert parse_dataset("tiny@1:2") == ("tiny@1:2", None, None)


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
    smaller = min(two, one, key=lambda row: row["p_value"])
    assert smaller["p_value_holm"] == pytest.approx(min(1.0, 2 * smaller["p_value"]))
    with pytest.raises(ValueError, match="`baseline` must be one of"):
        measure_heads(heads, embedded, ["RR@10"], baseline="mps")


@pytest.fixture
def duplicates(tmp_path):
    """As Quora: each document is a query too, and its pair is the neighbour."""
    names = [f"n{i}" for i in range(6)]
    rows = jsonl([{"_id": name, "text": f"text {name}"} for name in names])
    (tmp_path / "quora" / "qrels").mkdir(parents=True)
    for file in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / "quora" / file).write_text(rows)
    pairs = [(names[i], names[i ^ 1], 1) for i in range(6)]
    (tmp_path / "quora" / "qrels" / "test.tsv").write_text(tsv(pairs))
    angles = torch.tensor([0.0, 0.2, 2.0, 2.2, 4.0, 4.2])
    x = torch.stack([angles.cos(), angles.sin()], 1)
    save_vectors(tmp_path / "x.safetensors", queries=x, documents=x.clone())
    return tmp_path / "quora", dict.fromkeys(
        ("query_vectors", "document_vectors"), tmp_path / "x.safetensors"
    )


@pytest.mark.parametrize("judged", [False, True])
def test_a_document_that_is_its_query_is_not_ranked_as_in_beir(duplicates, judged):
    folder, files = duplicates
    collection = load_collection(folder)
    pool = {q: [*collection.documents] for q in collection.queries} if judged else None
    embedded = embed(collection, None, pool=pool, **files)
    whole = load_collection(folder, ignore_identical_ids=False)
    kept = embed(whole, None, pool=pool, **files)
    assert embedded.identical_ids == embedded.query_ids
    assert kept.identical_ids == []
    popped = {q: {d: s for d, s in row.items() if d != q} for q, row in kept.rank().items()}
    assert embedded.rank() == popped
    assert [len(row) for row in embedded.rank(top_k=2).values()] == [2] * 6
    assert set(embedded.scores("RR@10").values()) == {1.0}
    assert set(kept.scores("RR@10").values()) == {0.5}


def test_a_document_that_is_its_query_is_never_a_negative(duplicates):
    from mpsheads.training import mine_hard_negatives, mine_triples, training_data

    folder, files = duplicates
    embedded = embed(load_collection(folder), None, **files)
    mined = mine_triples(embedded, "encoder", margin=-2)
    assert mined.triples
    assert all(query_id != negative for query_id, _, negative in mined.triples)
    data = training_data(embedded)
    assert bool(data.batch(torch.arange(6)).ignored.any(1).all())  # each is another's document
    rows = mine_hard_negatives(data, margin=-2).hard_negatives
    assert not bool((rows == torch.arange(6)[:, None]).any())


def test_ids_of_which_one_is_relevant_for_its_query_are_mere_numbers(duplicates):
    folder, files = duplicates
    with (folder / "qrels" / "test.tsv").open("a") as stream:
        stream.write("n3\tn3\t1\n")
    assert embed(load_collection(folder), None, **files).identical_ids == []
    assert load_collection(folder, ignore_identical_ids=True).ignore_identical_ids


def test_tied_scores_are_cut_at_the_depth_as_trec_eval_ranks_them(duplicates):
    folder, files = duplicates
    embedded = embed(load_collection(folder, ignore_identical_ids=False), None, **files)
    tied = embedded.rank(similarity=lambda q, d: torch.zeros(len(q), len(d)), top_k=2)
    assert [list(row) for row in tied.values()] == [["n5", "n4"]] * 6


def test_ids_and_texts_of_pandas_are_read_by_position(encoder):
    import pandas as pd

    texts = ["the state", "a gate", "of", "quantum search"]
    shuffled = pd.Series(texts, index=[2, 0, 3, 1])
    one_by_one = torch.cat([encoder.encode([text]) for text in texts])
    assert_close(encode_cached(encoder, shuffled, kind="document"), one_by_one)
    assert_close(encode_cached(encoder, texts, kind="document"), one_by_one)
    assert_close(encoder.encode(shuffled), one_by_one)
    assert_close(BM25(shuffled).scores(shuffled), BM25(texts).scores(texts))
    data = TrainingData(shuffled, shuffled, torch.tensor([[0, 0]]))
    assert data.batch(torch.tensor([0])).queries == ["the state"]
    ids = pd.Series(["a", "b", "c", "d"], index=[3, 1, 2, 0])
    collection = Collection("x", dict(zip("abcd", texts, strict=True)), {"a": "x"}, {"a": {"a": 1}})
    embedded = EmbeddedCollection("x", collection, ["a"], one_by_one[:1], ids, one_by_one)
    assert embedded.document_ids[0] == "a"
    assert next(iter(embedded.rank()["a"])) == "a"


def test_passages_alone_are_judged_by_their_uncompressed_neighbours(tmp_path, generator):
    vectors = torch.randn(40, 5, generator=generator)
    save = {"documents": tmp_path / "d.npy", "queries": tmp_path / "q.npy"}
    file = tmp_path / "my.txt"
    file.write_text("".join(f"passage {i}\n" for i in range(40)))
    collection = load_collection(file)
    for name, path in save.items():
        np.save(path, vectors[[int(i) for i in getattr(collection, name)]].numpy())
    files = {"document_vectors": save["documents"], "query_vectors": save["queries"]}
    embedded = embed(collection, None, **files)
    for query_id, relevant in embedded.qrels.items():
        scores = torch.cosine_similarity(vectors[int(query_id)][None], vectors)
        scores[[int(i) for i in collection.queries]] = -2
        assert set(relevant) == {str(i) for i in scores.topk(10).indices.tolist()}
    assert set(embedded.scores("nDCG@10").values()) == {1.0}
    assert min(embedded.scores("nDCG@10", TruncationHead(5, 2)).values()) < 1
