"""The ranking measure of a head while it trains."""

import pytest
import torch

from mpsheads.heads import DenseHead, TruncationHead
from mpsheads.retrieval import Collection
from mpsheads.training import TrainingConfig, ranking_validation, train_head, training_data


@pytest.fixture
def collection():
    return Collection(
        name="letters",
        documents={f"d{i}": f"document {i}" for i in range(12)},
        queries={f"q{i}": f"query {i}" for i in range(4)},
        qrels={f"q{i}": {f"d{i}": 1, f"d{i + 4}": 0} for i in range(4)},
    )


@pytest.fixture
def vectors(generator):
    documents = torch.randn(12, 8, generator=generator)
    return documents[:4].clone(), documents


def test_perfect_vectors_score_one_and_the_pool_is_kept_to(collection, vectors):
    head = TruncationHead(8, 8)
    assert ranking_validation(collection, *vectors)(head) == 1.0
    pool = {"q0": ["d0", "d4"], "q1": ["d5", "d9"], "q2": ["d6"]}  # q3 has none
    assert ranking_validation(collection, *vectors, pool=pool)(head) == 0.25


def test_rows_may_come_in_another_order(collection, vectors):
    queries, documents = vectors
    validate = ranking_validation(
        collection,
        queries.flip(0),
        documents.flip(0),
        query_ids=[f"q{i}" for i in (3, 2, 1, 0)],
        document_ids=[f"d{i}" for i in reversed(range(12))],
        measure="RR@10",
    )
    assert validate(TruncationHead(8, 8)) == 1.0


def test_training_takes_it_as_its_validation(collection, vectors, tmp_path):
    data = training_data(collection, *vectors)
    validate = ranking_validation(collection, *vectors)
    config = TrainingConfig(epochs=2, batch_size=4)
    result = train_head(
        DenseHead(8, 4), data, config, tmp_path, validation=validate, progress=False
    )
    assert result.best_validation == validate(result.head)
