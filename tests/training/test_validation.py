"""Held-out queries, and the ranking measure of a model while it trains."""

from dataclasses import replace

import pytest
import torch

from mpsheads.heads import DenseHead, TruncationHead
from mpsheads.retrieval import Collection, EmbeddedCollection
from mpsheads.training import TrainingConfig, hold_out, ranking_validation, train, training_data


@pytest.fixture
def embedded(generator):
    collection = Collection(
        name="letters",
        documents={f"d{i}": f"document {i}" for i in range(40)},
        queries={f"q{i}": f"query {i}" for i in range(21)},
        qrels={f"q{i}": {f"d{i}": 1, f"d{i + 4}": 0} for i in range(20)} | {"q20": {"d1": 0}},
    )
    documents = torch.randn(40, 8, generator=generator)
    ids = list(collection.queries), list(collection.documents)
    return EmbeddedCollection(
        "letters", collection, ids[0], documents[:21].clone(), ids[1], documents
    )


def test_perfect_vectors_score_one_and_the_pool_is_kept_to(embedded):
    head, few = TruncationHead(8, 8), embedded.only([f"q{i}" for i in range(4)])
    assert ranking_validation(few)(head) == 1.0
    pool = {"q0": ["d0", "d4"], "q1": ["d5", "d9"], "q2": ["d6"]}  # q3 has none
    assert ranking_validation(replace(few, pool=pool), "RR@10")(head) == 0.25


def test_a_model_of_texts_encodes_them(embedded):
    class Numbers(torch.nn.Module):
        def encode(self, texts):
            return torch.eye(64)[[int(text.split()[1]) for text in texts]]

        def similarity(self, zq, zd, *, pairwise=False):
            return zq @ zd.T

    few = embedded.only([f"q{i}" for i in range(4)])
    assert ranking_validation(few)(Numbers()) == 1.0


def test_training_takes_it_as_its_validation(embedded, tmp_path):
    training, held = hold_out(embedded)
    validate = ranking_validation(held)
    config = TrainingConfig(epochs=2, batch_size=4)
    data = training_data(training)
    result = train(DenseHead(8, 4), data, config, tmp_path, validation=validate, progress=False)
    assert result.best_validation == validate(result.model)


def test_some_relevant_queries_are_held_out_and_the_rest_is_trained_on(embedded):
    training, held = hold_out(embedded)
    assert len(held.query_ids) == len(held.queries) == len(held.qrels) == 2
    assert set(held.query_ids) | set(training.query_ids) == set(embedded.query_ids)
    assert "q20" in training.query_ids  # nothing is relevant for it
    assert held.pool is None
    again, other = hold_out(embedded)[1], hold_out(embedded, seed=1)[1]
    assert again.query_ids == held.query_ids != other.query_ids
    with pytest.raises(ValueError, match=r"letters has only 4 .* too few to hold some out"):
        hold_out(embedded.only([f"q{i}" for i in range(4)]))
