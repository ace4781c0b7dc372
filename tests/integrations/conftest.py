"""A tiny random encoder, models that end with a head, and texts."""

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from mpsheads import MPSProjectionHead, ProjectionHead
from mpsheads.sentence_transformers import add_head
from tests.integrations.tiny import FEATURES, write_bert


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel of three layers with its tokenizer."""
    return write_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def base(encoder_folder: Path) -> SentenceTransformer:
    """A sentence-transformers model without a head, which normalises as MiniLM does."""
    transformer = Transformer(str(encoder_folder), max_seq_length=32)
    modules = [transformer, Pooling(FEATURES, "mean"), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu")


@pytest.fixture
def head(generator: torch.Generator) -> ProjectionHead:
    return MPSProjectionHead(FEATURES, FEATURES // 3, generator=generator)


@pytest.fixture
def model(base: SentenceTransformer, head: ProjectionHead) -> SentenceTransformer:
    return add_head(base, head)
