"""Mined triples against loops that do what the docstring says."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from mpsheads.retrieval import BM25, Collection, read_triples
from mpsheads.training import mine_hard_negatives, mine_triples, training_data

WORDS = ["red", "blue", "green", "fish", "bird", "stone", "river", "cloud", "seven", "eight"]
N_DOCUMENTS, N_QUERIES = 50, 16


@pytest.fixture
def collection():
    """Random words; d1 is a copy of d0, q3 of q2; some queries have two relevant documents."""
    generator = torch.Generator().manual_seed(1)

    def text():
        return " ".join(WORDS[i] for i in torch.randint(10, (6,), generator=generator))

    documents = {f"d{i}": text() for i in range(N_DOCUMENTS)}
    documents["d1"] = f" {documents['d0']}\n"
    queries = {f"q{i}": text() for i in range(N_QUERIES)}
    queries["q3"] = queries["q2"]
    qrels = {f"q{i}": {f"d{i}": 1, f"d{i + 20}": 0} for i in range(N_QUERIES)}
    for i in range(0, N_QUERIES, 3):
        qrels[f"q{i}"][f"d{i + 30}"] = 2
    return Collection("tiny", documents, queries, qrels)


@pytest.fixture
def vectors(collection):
    """Each query lies near its document; copies of texts have the same vector."""
    generator = torch.Generator().manual_seed(2)
    documents = torch.randn(N_DOCUMENTS, 8, generator=generator)
    documents[1] = documents[0]
    queries = documents[:N_QUERIES] + 0.8 * torch.randn(N_QUERIES, 8, generator=generator)
    queries[3] = queries[2]
    return {"query_vectors": queries, "document_vectors": documents}


def relevant_texts(collection, query_id):
    text = collection.queries[query_id]
    return {
        " ".join(collection.documents[doc_id].split())
        for other, grades in collection.qrels.items()
        if collection.queries[other] == text
        for doc_id, grade in grades.items()
        if grade > 0
    }


def ranking_by_loop(collection, query_id, scores, skip, depth):
    """Documents by falling score, without relevant ones and copies."""
    seen, ranked = relevant_texts(collection, query_id), []
    for row in sorted(range(N_DOCUMENTS), key=lambda row: (-scores[row], row)):
        text = " ".join(collection.documents[f"d{row}"].split())
        is_copy = row == 1
        if text not in seen and not is_copy and scores[row] > -1e9:
            ranked.append(f"d{row}")
    return ranked[skip:depth]


def mine_by_loop(collection, vectors, by, count, margin, skip, depth):
    index, triples, left_out, candidates = BM25(list(collection.documents.values())), [], 0, 0
    for query_id, grades in collection.qrels.items():
        query = vectors["query_vectors"][int(query_id[1:])]
        cosine = cosine_similarity(query, vectors["document_vectors"])
        words = index.scores([collection.queries[query_id]])[0]
        words[words == 0] = -torch.inf
        scores = {"bm25": [words], "encoder": [cosine], "both": [words, cosine]}[by]
        lists = [
            ranking_by_loop(collection, query_id, score.tolist(), skip, depth) for score in scores
        ]
        for positive in (doc_id for doc_id, grade in grades.items() if grade > 0):
            limit = 9 if margin is None else cosine[int(positive[1:])] - margin
            kept = [[d for d in ranked if cosine[int(d[1:])] < limit] for ranked in lists]
            candidates += len(set().union(*lists))
            left_out += len(set().union(*lists)) - len(set().union(*kept))
            chosen = []
            for place in range(N_DOCUMENTS):
                for ranked in kept:
                    if place < len(ranked) and ranked[place] not in chosen:
                        chosen.append(ranked[place])
            triples += [(query_id, positive, negative) for negative in chosen[:count]]
    return triples, candidates, left_out


@pytest.mark.parametrize("by", ["bm25", "encoder", "both"])
@pytest.mark.parametrize(
    ("count", "margin", "skip", "depth"),
    [(3, 0.05, 0, 100), (5, 0.4, 0, 12), (4, None, 2, 5), (2, 0.0, 49, 50), (2, 0.1, 60, 90)],
)
def test_mining_is_what_a_loop_finds(collection, vectors, by, count, margin, skip, depth):
    options = {"margin": margin, "skip": skip, "depth": depth}
    mined = mine_triples(collection, by, count, **vectors, **options)
    triples, candidates, filtered = mine_by_loop(collection, vectors, by, count, **options)
    assert mined.triples == triples
    assert (mined.candidates, mined.filtered) == (candidates, filtered)


def test_the_report_counts_what_is_in_the_triples(collection, vectors):
    mined = mine_triples(collection, "both", 4, margin=0.4, depth=10, **vectors)
    pairs = [(q, d) for q, grades in collection.qrels.items() for d, g in grades.items() if g > 0]
    taken = [sum(triple[:2] == pair for triple in mined.triples) for pair in pairs]
    assert mined.pairs == len(pairs) == 22
    assert mined.short_pairs == sum(n < 4 for n in taken) > mined.empty_pairs
    assert mined.empty_pairs == sum(n == 0 for n in taken) > 0
    gaps = []
    for query_id, positive, negative in mined.triples:
        query = vectors["query_vectors"][int(query_id[1:])]
        both = vectors["document_vectors"][[int(positive[1:]), int(negative[1:])]]
        above, below = cosine_similarity(query, both)
        assert below < above - 0.4 + 1e-6
        gaps.append(above - below)
    assert_close(mined.mean_margin, float(torch.stack(gaps).mean()))


def test_the_encoder_at_any_depth_finds_what_training_mines(collection, vectors):
    mined = mine_triples(collection, "encoder", 5, depth=N_DOCUMENTS, **vectors)
    data = mine_hard_negatives(training_data(collection, **vectors), 5)
    again = training_data(collection, **vectors, triples=mined.triples)
    assert_close(again.pairs, data.pairs)
    assert_close(again.hard_negatives, data.hard_negatives)


def test_words_alone_need_no_embeddings(collection, vectors):
    mined = mine_triples(collection, "bm25", margin=None)
    assert mined.triples == mine_triples(collection, "bm25", margin=None, **vectors).triples
    assert (mined.mean_margin, mined.filtered) == (None, 0)


def test_only_the_documents_named_are_taken(collection, vectors):
    ids = [f"d{i}" for i in reversed(range(46))]
    documents = vectors["document_vectors"][:46].flip(0)
    mined = mine_triples(
        collection,
        "both",
        query_vectors=vectors["query_vectors"],
        document_vectors=documents,
        document_ids=ids,
    )
    assert mined.triples
    assert {triple.negative_id for triple in mined.triples} <= set(ids)
    every = mine_triples(collection, "encoder", margin=None, **vectors)
    assert not {triple.negative_id for triple in every.triples} <= set(ids)


def test_random_negatives_come_from_all_places_and_by_the_seed(collection, vectors):
    options = {"margin": None, "skip": 1, "depth": 11, **vectors}
    top = mine_triples(collection, "encoder", 10, **options)
    places = {pair: [] for pair in {triple[:2] for triple in top.triples}}
    for triple in top.triples:
        places[triple[:2]].append(triple.negative_id)
    runs = [
        mine_triples(collection, "encoder", 2, sampling="random", seed=seed, **options).triples
        for seed in range(30)
    ]
    drawn = {(t[:2], places[t[:2]].index(t.negative_id)) for run in runs for t in run}
    assert len(drawn) == len(top.triples)  # every place of every pair comes up
    again = mine_triples(collection, "encoder", 2, sampling="random", seed=4, **options)
    assert again.triples == runs[4] != runs[5]


def test_blocks_of_queries_change_nothing(collection, vectors, monkeypatch):
    whole = mine_triples(collection, "both", **vectors)
    drawn = mine_triples(collection, "bm25", sampling="random", **vectors)
    monkeypatch.setattr("mpsheads.training.mining._MOST_QUERIES", 3)
    assert mine_triples(collection, "both", **vectors) == whole
    assert mine_triples(collection, "bm25", sampling="random", **vectors) == drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "words"}, '`by` must be one of "bm25", "encoder", "both"'),
        ({"count": 0}, "`count` must be at least 1, got 0"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
        ({"skip": 100}, r"`skip` must lie in \[0, `depth` = 100\), got 100"),
        ({"margin": 2.0}, r"`margin` must lie in \[0, 2\), got 2.0"),
        ({"sampling": "best"}, "`sampling` must be one of"),
        ({"query_vectors": None}, "`query_vectors` and `document_vectors` are both needed"),
        ({"query_ids": ["q0"]}, "`query_vectors` must hold one row for each query: 16 rows .* 1"),
        ({"document_vectors": torch.full((50, 8), torch.nan)}, "`document_vectors`.*row 0"),
    ],
)
def test_bad_arguments_are_named(collection, vectors, options, message):
    with pytest.raises(ValueError, match=message):
        mine_triples(collection, **{**vectors, **options})


def test_pairs_and_negatives_come_from_triples(collection, vectors):
    triples = [("q4", "d4", "d9"), ("q0", "d40", "d7"), ("q4", "d4", "d8"), ("q4", "d4", "d9")]
    data = training_data(collection, **vectors, triples=iter(triples))
    assert data.pairs.tolist() == [[4, 4], [0, 40], [0, 0], [0, 30]]
    assert data.hard_negatives is not None
    assert data.hard_negatives.tolist() == [[9, 8], [7, -1], [-1, -1], [-1, -1]]
    # what the judgments call relevant is no negative of the query, triple or not
    batch = data.batch(torch.tensor([1, 3]))
    assert batch.ignored.sum() == 2


def test_a_relevant_document_without_a_row_is_passed_over(collection, vectors):
    rows = {"document_ids": [f"d{i}" for i in range(20)]}
    shorter = {**vectors, "document_vectors": vectors["document_vectors"][:20], **rows}
    data = training_data(collection, **shorter, triples=[("q0", "d0", "d7")])
    assert data.pairs.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([], "`triples` must hold at least one triple"),
        ([("q99", "d1", "d2")], "`query_vectors` has no row for the query 'q99'"),
        ([("q0", "d99", "d2")], "`document_vectors` has no row for the document 'd99'"),
        ([("q0", "d0", "d99")], "`document_vectors` has no row for the document 'd99'"),
        ([("q0", "d0", "d30")], "hold document 'd30' as a negative of query 'q0'"),
        ([("q0", "d5", "d6"), ("q0", "d6", "d7")], "hold document 'd6' as a negative"),
    ],
)
def test_triples_that_do_not_fit_are_named(collection, vectors, triples, message):
    with pytest.raises(ValueError, match=message):
        training_data(collection, **vectors, triples=triples)


def test_the_example_mines_the_other_cats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).resolve().parents[2] / "examples" / "mine_negatives.py"
    runpy.run_path(str(example))
    assert list(read_triples("triples.tsv.gz")) == [("q1", "d1", "d2")]
