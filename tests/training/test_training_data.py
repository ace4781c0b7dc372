"""Pairs, batches and their masks, against loops."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads.retrieval import Collection, EmbeddedCollection
from mpsheads.training import TrainingData, mine_hard_negatives, training_data


def relevant_by_loop(data: TrainingData, query: int, document: int) -> bool:
    return any(
        torch.equal(data.queries[q], data.queries[query])
        and torch.equal(data.documents[d], data.documents[document])
        for q, d in data.pairs.tolist()
    )


def test_relevance_counts_copies_of_queries_and_documents(make_data):
    data = make_data(20)
    everything = data.is_relevant(torch.arange(20), torch.arange(20))
    by_loop = [[relevant_by_loop(data, q, d) for d in range(20)] for q in range(20)]
    assert everything.tolist() == by_loop
    assert everything[0, 1]  # document 1 is a copy of 0
    assert everything[2, 3]  # query 3 is a copy of 2


def test_relevant_documents_and_copies_are_excluded(make_data):
    data = make_data(20)
    rows = torch.tensor([7, 0, 3, 7])
    expected = [[d == 1 or relevant_by_loop(data, q, d) for d in range(20)] for q in rows.tolist()]
    assert data.excluded(rows).tolist() == expected


@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=25),
    rows=st.data(),
)
def test_a_batch_masks_other_relevant_documents_and_holds_none_twice(pairs, rows):
    queries = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    documents = torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    documents[6] = documents[2]
    queries[5] = queries[0]
    mined = torch.randint(-1, 7, (len(pairs), 3), generator=torch.Generator().manual_seed(3))
    data = TrainingData(queries, documents, torch.tensor(pairs), mined)
    chosen = rows.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=8))
    batch = data.batch(torch.tensor(chosen), hard_negatives=2)
    assert len(batch.documents.unique(dim=0)) == len(batch.documents)
    wanted = {pairs[i][1] for i in chosen} | {int(d) for i in chosen for d in mined[i, :2]} - {-1}
    assert_close(batch.documents.unique(dim=0), documents[list(wanted)].unique(dim=0))
    for row, i in enumerate(chosen):
        query, target = pairs[i]
        assert torch.equal(batch.queries[row], queries[query])
        assert torch.equal(batch.documents[batch.target[row]], documents[target])
        for column in range(len(batch.documents)):
            copies = [d for d in range(7) if torch.equal(documents[d], batch.documents[column])]
            relevant = any(relevant_by_loop(data, query, d) for d in copies)
            is_target = column == int(batch.target[row])
            assert bool(batch.ignored[row, column]) == (relevant and not is_target)
    own = data.batch(torch.tensor(chosen), hard_negatives=2, only_own=True)
    for row, i in enumerate(chosen):
        counted = {tuple(d.tolist()) for d in own.documents[~own.ignored[row]]}
        named = [d for d in mined[i, :2].tolist() if d >= 0]
        named = [d for d in named if not relevant_by_loop(data, pairs[i][0], d)]
        assert counted == {tuple(documents[d].tolist()) for d in [pairs[i][1], *named]}


def test_pairs_are_written_out_row_by_row(make_data):
    data = make_data(20)
    paired = data.paired()
    for row, (query, document) in enumerate(data.pairs.tolist()):
        assert torch.equal(paired["queries"][row], data.queries[query])
        assert torch.equal(paired["documents"][row], data.documents[document])
    texts = TrainingData(["a"], ["b"], torch.tensor([[0, 0]]))
    with pytest.raises(TypeError, match="`queries` must be embeddings, got texts"):
        texts.paired()


@pytest.mark.slow
def test_mined_negatives_are_the_nearest_documents_below_the_margin(make_data):
    data = make_data(40)
    mined = mine_hard_negatives(data, 4, margin=0.1).hard_negatives
    assert mined is not None
    cosine = torch.nn.functional.cosine_similarity(data.queries[:, None], data.documents, dim=2)
    for (query, document), rows in zip(data.pairs.tolist(), mined.tolist(), strict=True):
        limit = cosine[query, document] - 0.1
        fit = [
            d
            for d in cosine[query].argsort(descending=True).tolist()
            if cosine[query, d] < limit and d != 1 and not relevant_by_loop(data, query, d)
        ][:4]
        assert rows == fit + [-1] * (4 - len(fit))


def test_mining_more_than_there_are_documents_fills_up_with_minus_one(make_data):
    mined = mine_hard_negatives(make_data(8), 20, margin=0).hard_negatives
    assert mined is not None
    assert mined.shape == (11, 20)
    assert mine_hard_negatives(make_data(8)).hard_negatives.shape == (11, 5)
    assert (mined[:, -12:] == -1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be at least 1"),
        ({"margin": -2.1}, r"`margin` must lie in \[-2, 2\), got -2.1"),
    ],
)
def test_mining_refuses_arguments_out_of_range(make_data, arguments, message):
    with pytest.raises(ValueError, match=message):
        mine_hard_negatives(make_data(8), **arguments)


@pytest.fixture
def embedded():
    collection = Collection(
        name="numbers",
        documents={"d0": "zero", "d1": "one", "d2": "two", "d3": "three", "d4": "four"},
        queries={"q0": "naught", "q1": "unity"},
        qrels={"q0": {"d0": 2, "d2": 1, "d1": 0}, "q1": {"d1": 3, "absent": 3}},
    )
    ids = ["q1", "q0"], ["d2", "d4", "d1", "d0", "d3"]
    return EmbeddedCollection(
        "numbers", collection, ids[0], torch.eye(2, 6), ids[1], torch.eye(5, 6)
    )


def test_judgments_become_pairs_of_embeddings_or_of_texts(embedded):
    data = training_data(embedded)
    assert data.pairs.tolist() == [[1, 3], [1, 0], [0, 2]]
    assert data.queries is embedded.queries
    texts = training_data(embedded, texts=True)
    assert texts.pairs.tolist() == data.pairs.tolist()
    assert texts.queries == ["unity", "naught"]
    assert texts.documents == ["two", "four", "one", "zero", "three"]
    with pytest.raises(ValueError, match="numbers has no pair"):
        training_data(embedded.only([]))


def test_triples_become_pairs_and_negatives(embedded):
    triples = [("q1", "d1", "d3"), ("q0", "d2", "d1"), ("q1", "d1", "d4"), ("q1", "d1", "d3")]
    data = training_data(replace(embedded, triples=triples))
    assert data.pairs.tolist() == [[0, 2], [1, 0], [1, 3]]
    assert data.hard_negatives.tolist() == [[4, 1], [2, -1], [-1, -1]]
    # what the judgments call relevant is no negative of the query, triple or not
    assert data.batch(torch.tensor([1, 2])).ignored.sum() == 2
    only = training_data(replace(embedded, triples=triples).only(["q0"]))
    assert only.pairs.tolist() == [[0, 0], [0, 3]]


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([], "numbers has no pair of a query and a relevant document"),
        ([("q0", "d99", "d3")], "`triples` name the document 'd99', which is not embedded"),
        ([("q0", "d0", "d99")], "`triples` name the document 'd99', which is not embedded"),
        ([("q0", "d0", "d2")], "hold document 'd2' as a negative of query 'q0'"),
        ([("q1", "d3", "d4"), ("q1", "d4", "d1")], "hold document 'd4' as a negative"),
    ],
)
def test_triples_that_do_not_fit_are_named(embedded, triples, message):
    with pytest.raises(ValueError, match=message):
        training_data(replace(embedded, triples=triples))


def test_texts_with_equal_words_are_one():
    data = TrainingData(["a", "b", " a"], ["x  y", "z", "x y\n"], torch.tensor([[0, 0], [1, 1]]))
    assert data.is_copy.tolist() == [False, False, True]
    assert data.is_relevant(torch.tensor([2]), torch.arange(3)).tolist() == [[True, False, True]]
    batch = data.batch(torch.tensor([1, 0]))
    assert (batch.queries, batch.documents) == (["b", "a"], ["x  y", "z"])
    assert batch.target.tolist() == [1, 0]
    assert data.fingerprint() != replace(data, queries=["a", "c", " a"]).fingerprint()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queries": "cat"}, TypeError, "`queries` must be a sequence of strings"),
        ({"queries": torch.eye(1, 4)}, TypeError, "`queries` must be a sequence of strings"),
        ({"documents": ["cat", 3]}, TypeError, r"`documents`\[1\] must be a string, got int"),
    ],
)
def test_texts_that_are_none_are_refused(change, error, message):
    good = {"queries": ["cat"], "documents": ["dog", "sun"], "pairs": torch.tensor([[0, 1]])}
    assert len(TrainingData(**good)) == 1
    with pytest.raises(error, match=message):
        TrainingData(**{**good, **change})


def with_nan(x):
    x = x.clone()
    x[1, 0] = torch.nan
    return x


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: {"queries": with_nan(d.queries)}, ValueError, "`queries` .* row 1 holds NaN"),
        (lambda d: {"documents": with_nan(d.documents)}, ValueError, "`documents` .* row 1"),
        (lambda d: {"queries": d.queries[:, :3]}, ValueError, r"`queries` .* \(batch, 12\)"),
        (lambda d: {"queries": d.queries.double()}, ValueError, "The dtype must agree"),
        (lambda d: {"documents": d.documents.long()}, TypeError, "`documents` must be a floating"),
        (lambda d: {"documents": d.documents[0]}, ValueError, "`documents` must have shape"),
        (lambda d: {"pairs": d.pairs[:0]}, ValueError, "`pairs` must hold at least one pair"),
        (lambda d: {"pairs": d.pairs.int()}, TypeError, "`pairs` must hold int64 numbers"),
        (lambda d: {"pairs": d.pairs.T}, ValueError, r"`pairs` must have the axes \(pairs, 2\)"),
        (lambda d: {"pairs": d.pairs - 1}, ValueError, r"`pairs\[:, 0\]` must lie in \[0, 20\)"),
        (lambda d: {"documents": d.documents[:9]}, ValueError, r"`pairs\[:, 1\]` must lie in"),
        (lambda d: {"hard_negatives": d.pairs[:5]}, ValueError, "number of pairs must agree"),
        (lambda d: {"hard_negatives": d.pairs + 1}, ValueError, r"`hard_negatives` must lie in"),
    ],
)
def test_broken_data_is_refused(make_data, change, error, message):
    data = make_data(20)
    with pytest.raises(error, match=message):
        replace(data, **change(data))


def test_the_fingerprint_names_the_part_that_changed(make_data):
    data = make_data(20)
    other = replace(data, queries=data.queries * 2)
    differing = {k for k, v in data.fingerprint().items() if other.fingerprint()[k] != v}
    assert differing == {"queries"}
    assert make_data(20).fingerprint() == data.fingerprint()


def test_half_precision_embeddings_are_taken(make_data):
    data = make_data(20)
    half = replace(data, queries=data.queries.bfloat16(), documents=data.documents.bfloat16())
    assert half.batch(torch.arange(4)).documents.dtype == torch.bfloat16
    assert half.fingerprint() != data.fingerprint()
