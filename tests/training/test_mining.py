"""Mined triples against loops that do what the docstring says."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from mpsheads.retrieval import BM25, Collection, EmbeddedCollection
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
def embedded(collection):
    """Each query lies near its document; copies of texts have the same vector."""
    generator = torch.Generator().manual_seed(2)
    documents = torch.randn(N_DOCUMENTS, 8, generator=generator)
    documents[1] = documents[0]
    queries = documents[:N_QUERIES] + 0.8 * torch.randn(N_QUERIES, 8, generator=generator)
    queries[3] = queries[2]
    ids = list(collection.queries), list(collection.documents)
    return EmbeddedCollection("tiny", collection, ids[0], queries, ids[1], documents)


def relevant_texts(collection, query_id):
    text = collection.queries[query_id]
    return {
        " ".join(collection.documents[doc_id].split())
        for other, grades in collection.qrels.items()
        if collection.queries[other] == text
        for doc_id, grade in grades.items()
        if grade > 0
    }


def ranking_by_loop(collection, query_id, scores, depth):
    """Documents by falling score, without relevant ones and copies."""
    seen, ranked = relevant_texts(collection, query_id), []
    for row in sorted(range(N_DOCUMENTS), key=lambda row: (-scores[row], row)):
        text = " ".join(collection.documents[f"d{row}"].split())
        is_copy = row == 1
        if text not in seen and not is_copy and scores[row] > -1e9:
            ranked.append(f"d{row}")
    return ranked[:depth]


def mine_by_loop(embedded, by, count, margin, depth):
    collection = embedded.collection
    index, triples, left_out, candidates = BM25(list(collection.documents.values())), [], 0, 0
    for query_id, grades in collection.qrels.items():
        query = embedded.queries[int(query_id[1:])]
        cosine = cosine_similarity(query, embedded.documents)
        words = index.scores([collection.queries[query_id]])[0]
        words[words == 0] = -torch.inf
        scores = {"bm25": [words], "encoder": [cosine], "both": [words, cosine]}[by]
        lists = [ranking_by_loop(collection, query_id, score.tolist(), depth) for score in scores]
        for positive in (doc_id for doc_id, grade in grades.items() if grade > 0):
            limit = cosine[int(positive[1:])] - margin
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
    ("count", "margin", "depth"),
    [(3, 0.05, 100), (5, 0.4, 12), (4, -2, 5), (2, 0.0, 50), (3, 1.0, 50)],
)
def test_mining_is_what_a_loop_finds(embedded, by, count, margin, depth):
    options = {"margin": margin, "depth": depth}
    mined = mine_triples(embedded, by, count, **options)
    triples, candidates, filtered = mine_by_loop(embedded, by, count, **options)
    assert mined.triples == triples
    assert (mined.candidates, mined.filtered) == (candidates, filtered)


def test_the_report_counts_what_is_in_the_triples(embedded):
    mined = mine_triples(embedded, "both", 4, margin=0.4, depth=10)
    pairs = [(q, d) for q, grades in embedded.qrels.items() for d, g in grades.items() if g > 0]
    taken = [sum(triple[:2] == pair for triple in mined.triples) for pair in pairs]
    assert mined.pairs == len(pairs) == 22
    assert mined.short_pairs == sum(n < 4 for n in taken) > mined.empty_pairs
    assert mined.empty_pairs == sum(n == 0 for n in taken) > 0
    gaps = []
    for query_id, positive, negative in mined.triples:
        query = embedded.queries[int(query_id[1:])]
        both = embedded.documents[[int(positive[1:]), int(negative[1:])]]
        above, below = cosine_similarity(query, both)
        assert below < above - 0.4 + 1e-6
        gaps.append(above - below)
    assert_close(mined.mean_margin, float(torch.stack(gaps).mean()))


def test_the_encoder_at_any_depth_finds_what_training_mines(embedded):
    mined = mine_triples(embedded, "encoder", 5, depth=N_DOCUMENTS)
    data = mine_hard_negatives(training_data(embedded), 5)
    again = training_data(replace(embedded, triples=mined.triples))
    assert_close(again.pairs, data.pairs)
    assert_close(again.hard_negatives, data.hard_negatives)


def test_embedded_documents_alone_are_taken(embedded):
    rows = list(reversed(range(46)))
    ids = [f"d{i}" for i in rows]
    few = replace(embedded, document_ids=ids, documents=embedded.documents[rows])
    triples = mine_triples(few, "both").triples
    assert triples
    assert {triple.negative_id for triple in triples} <= set(ids)
    every = mine_triples(embedded, "encoder", margin=-2)
    assert not {triple.negative_id for triple in every.triples} <= set(ids)


def test_equal_scores_are_ranked_by_row(embedded):
    alike = replace(embedded, documents=embedded.documents[:1].expand(N_DOCUMENTS, -1).clone())
    triples = mine_triples(alike, "encoder", 3, margin=-2).triples
    assert [triple.negative_id for triple in triples[:3]] == ["d2", "d3", "d4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "words"}, '`by` must be one of "bm25", "encoder", "both"'),
        ({"count": 0}, "`count` must be at least 1, got 0"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
        ({"margin": 2.0}, r"`margin` must lie in \[-2, 2\), got 2.0"),
    ],
)
def test_bad_arguments_are_named(embedded, options, message):
    with pytest.raises(ValueError, match=message):
        mine_triples(embedded, **options)


def test_embeddings_that_are_missing_or_broken_are_named(embedded):
    broken = replace(embedded, documents=torch.full((50, 8), torch.nan))
    with pytest.raises(ValueError, match=r"`documents`.*row 0"):
        mine_triples(broken)
    with pytest.raises(TypeError, match="`data` must hold embeddings, got texts"):
        mine_hard_negatives(training_data(embedded, texts=True))
