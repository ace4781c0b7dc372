"""Collections of experiments: which queries, pairs and documents are trained on."""

import json
from itertools import pairwise

import pytest
import torch

from mpsheads.experiments.data import (
    Split,
    choose_queries,
    hold_out,
    name_of,
    pairs_of,
    split_reference,
)
from mpsheads.retrieval import write_triples

WORDS = ["qubit", "gate", "state", "tensor", "network", "search", "head", "angle"]


class Vectors:
    """Stands for an encoder: each text has a vector of its own; it remembers what it was given."""

    def __init__(self):
        self.texts = []

    def vectors(self, texts):
        self.texts += texts
        seeds = [sum(map(ord, text)) for text in texts]
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.stack(rows)


@pytest.fixture
def encoder(monkeypatch):
    made = Vectors()
    monkeypatch.setattr(
        "mpsheads.experiments.data.encode_cached", lambda encoder, texts, **_: made.vectors(texts)
    )
    return made


@pytest.fixture
def folder(tmp_path):
    """Twenty documents; query q{i} is about d{i}; in the split train q8 and q9 have none."""
    made = tmp_path / "mini"
    (made / "qrels").mkdir(parents=True)
    texts = [f"{WORDS[i % 8]} {WORDS[i // 8]} {i}" for i in range(20)]
    for name, count, letter in (("corpus", 20, "d"), ("queries", 10, "q")):
        lines = [{"_id": f"{letter}{i}", "text": f"{letter} {texts[i]}"} for i in range(count)]
        (made / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [f"q{i}\td{i}\t{int(i < 8)}\nq{i}\td{i + 10}\t0\n" for i in range(10)]
    (made / "qrels" / "train.tsv").write_text("".join(rows))
    return made


@pytest.fixture
def split(folder, encoder):
    return Split.load(f"{folder}:train", encoder)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("data/mini", ("data/mini", None, "judged")),
        ("data/mini:dl19", ("data/mini", "dl19", "judged")),
        ("data/mini:dl19@all", ("data/mini", "dl19", "all")),
        ("data/mini@runs/bm25.trec", ("data/mini", None, "runs/bm25.trec")),
        ("msmarco-passage/train/triples-small", ("msmarco-passage/train/triples-small", None,
                                                  "judged")),
    ],
)  # fmt: skip
def test_a_reference_names_collection_split_and_pool(reference, parts):
    assert split_reference(reference) == parts


def test_names_leave_out_where_a_collection_lies(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for given in ("mini:train", "./mini:train", f"{folder}:train", "mini/../mini:train"):
        assert name_of(given) == "mini/train"
    assert name_of("mini@all") == "mini (all)"
    assert name_of("msmarco-passage/trec-dl-2019/judged") == "msmarco-passage/trec-dl-2019/judged"
    folder.rename(folder.with_name("gone"))
    assert name_of(f"{folder}:train") == name_of("./mini:train") == "mini/train"


def test_parts_are_queries_with_a_relevant_document_and_lie_within_each_other(split):
    parts = [choose_queries(split, fraction, 3) for fraction in (0.25, 3, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 3, 4, 8]
    assert all(set(a) < set(b) for a, b in pairwise(parts))
    assert set(parts[-1]) == {f"q{i}" for i in range(8)}
    assert choose_queries(split, 1.0, 3) == parts[-1] != choose_queries(split, 1.0, 4)
    assert len(choose_queries(split, 0.001, 0)) == 1


def test_more_queries_than_there_are_is_told(split):
    with pytest.raises(ValueError, match=r"`fractions` asks for 9 .* mini/train has 8"):
        choose_queries(split, 9, 0)


def test_without_a_relevant_document_there_is_nothing_to_train_on(folder, encoder):
    (folder / "qrels" / "none.tsv").write_text("q0\td0\t0\n")
    with pytest.raises(ValueError, match="mini/none has no query with a relevant document"):
        choose_queries(Split.load(f"{folder}:none", encoder), 1.0, 0)


def test_qrels_that_name_no_passage_are_told(folder, encoder, tmp_path):
    (folder / "qrels" / "lost.tsv").write_text("q0\tx0\t1\nq1\tx1\t1\n")
    with pytest.raises(ValueError, match=r"lost\.tsv judges no document that .*corpus\.jsonl"):
        Split.load(f"{folder}:lost", encoder)
    assert encoder.texts == []


def test_pairs_are_those_of_the_chosen_queries_with_mined_negatives(split):
    data = pairs_of(split, ["q3", "q1"], 4)
    ids = [(split.query_ids[q], split.doc_ids[d]) for q, d in data.pairs.tolist()]
    assert ids == [("q3", "d3"), ("q1", "d1")]
    assert data.hard_negatives.shape == (2, 4)
    assert pairs_of(split, ["q3"], 0).hard_negatives is None


def test_a_relevant_document_outside_the_pool_is_no_pair(folder, encoder, tmp_path):
    with (folder / "qrels" / "train.tsv").open("a") as file:
        file.write("q0\td19\t1\n")
    rows = [f"q{i} Q0 d{i + place} {place + 1} {-place} x\n" for i in range(5) for place in (0, 1)]
    (tmp_path / "run.trec").write_text("".join(rows))
    split = Split.load(f"{folder}:train@{tmp_path / 'run.trec'}", encoder)
    assert split.doc_ids == [f"d{i}" for i in range(6)]
    chosen = choose_queries(split, 1.0, 0)
    assert len(pairs_of(split, chosen, 0)) == len(chosen) == 6


def test_triples_are_the_pairs_and_only_what_they_name_is_embedded(folder, encoder, tmp_path):
    found = [("q1", "d1", "d5"), ("q4", "d4", "d6"), ("q1", "d1", "d7"), ("q2", "d2", "d3")]
    write_triples(found, tmp_path / "t.tsv")
    split = Split.of_triples(f"{folder}:train", str(tmp_path / "t.tsv"), 3, encoder)
    assert choose_queries(split, 2, 0) in (["q1", "q4"], ["q4", "q1"])
    assert split.doc_ids == ["d1", "d4", "d5", "d6", "d7"]
    data = pairs_of(split, ["q4", "q1"], 3)
    rows = {doc_id: row for row, doc_id in enumerate(split.doc_ids)}
    negatives = {
        split.query_ids[q]: row
        for (q, _), row in zip(data.pairs.tolist(), data.hard_negatives.tolist(), strict=True)
    }
    assert negatives == {"q1": [rows["d5"], rows["d7"], -1], "q4": [rows["d6"], -1, -1]}
    assert len(encoder.texts) == 2 + 5


def test_what_is_relevant_for_queries_of_triples_is_embedded_too(folder, encoder, tmp_path):
    (folder / "qrels" / "more.tsv").write_text("q1\td1\t1\nq1\td9\t1\nq1\td8\t0\nq2\td2\t1\n")
    write_triples([("q1", "d1", "d5")], tmp_path / "t.tsv")
    split = Split.of_triples(f"{folder}:more", str(tmp_path / "t.tsv"), 10, encoder)
    assert split.doc_ids == ["d1", "d5", "d9"]
    assert len(pairs_of(split, ["q1"], 1)) == 2


@pytest.mark.parametrize(
    ("triple", "message"),
    [
        (("q1", "d1", "d77"), "name the document 'd77', which mini/train does not hold"),
        (("q77", "d1", "d2"), "name the query 'q77', which mini/train does not hold"),
    ],
)
def test_triples_of_another_collection_are_told(folder, encoder, tmp_path, triple, message):
    write_triples([("q1", "d1", "d2"), triple], tmp_path / "t.tsv")
    with pytest.raises(ValueError, match=message):
        Split.of_triples(f"{folder}:train", str(tmp_path / "t.tsv"), 10, encoder)
    assert encoder.texts == []


def test_the_last_tenth_is_held_out():
    ids = [f"q{i}" for i in range(30)]
    assert hold_out(ids) == (ids[:27], ids[27:])
    assert len(hold_out([str(i) for i in range(20_000)])[1]) == 1000
    with pytest.raises(ValueError, match=r'`select = "best"` .* only 9'):
        hold_out(ids[:9])


def test_held_out_queries_rank_all_embedded_documents(split):
    kept = split.only(["q5", "q2"])
    assert kept.query_ids == ["q5", "q2"]
    assert kept.pool is None
    rows = [split.query_ids.index(query_id) for query_id in kept.query_ids]
    assert torch.equal(kept.queries, split.queries[rows])
    assert kept.documents is split.documents
