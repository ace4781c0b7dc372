"""Small data sets of embeddings."""

import pytest
import torch

from mpsheads.training import TrainingData


@pytest.fixture
def make_data():
    """A maker of data: each query lies near its document; document 1 is a copy of document 0."""

    def make(n: int = 60, features: int = 12, seed: int = 0) -> TrainingData:
        generator = torch.Generator().manual_seed(seed)
        documents = torch.randn(n, features, generator=generator)
        documents[1] = documents[0]
        queries = documents + 0.7 * torch.randn(n, features, generator=generator)
        queries[3] = queries[2]
        first = torch.arange(n)
        others = torch.stack([first[::3], (first[::3] + 5) % n], 1)  # second relevant documents
        return TrainingData(queries, documents, torch.cat([torch.stack([first] * 2, 1), others]))

    return make
