"""A tiny random encoder, models that end with a head, and texts."""

from pathlib import Path

import pytest
import torch

from mpsheads import MPSProjectionHead, ProjectionHead
from tests.integrations.tiny import FEATURES, write_bert
from tests.later import Later

st = Later("sentence_transformers")
modules = Later("sentence_transformers.sentence_transformer.modules")
ours = Later("mpsheads.sentence_transformers")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel of three layers with its tokenizer."""
    return write_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def base(encoder_folder: Path):
    """A sentence-transformers model without a head, which normalises as MiniLM does."""
    transformer = modules.Transformer(str(encoder_folder), max_seq_length=32)
    parts = [transformer, modules.Pooling(FEATURES, "mean"), modules.Normalize()]
    return st.SentenceTransformer(modules=parts, device="cpu")


@pytest.fixture
def head(generator: torch.Generator) -> ProjectionHead:
    return MPSProjectionHead(FEATURES, FEATURES // 3, generator=generator)


@pytest.fixture
def model(base, head: ProjectionHead):
    return ours.add_head(base, head)
