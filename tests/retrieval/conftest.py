"""A tiny model, a tiny BEIR folder and a private home for ir_datasets."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mpsheads.retrieval import Encoder
from tests.retrieval.tiny import CORPUS, IRDS_HOME, QRELS, QUERIES, BeirWriter, jsonl, tsv, write

# ir_datasets fixes its home when it is imported, so this has to come before any test.
os.environ["IR_DATASETS_HOME"] = str(IRDS_HOME)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["quantum", "state", "tensor", "network", "search", "head", "qubit", "gate", "the", "of"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel with two layers and 32 features, and its WordPiece tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *LETTERS, *(f"##{c}" for c in LETTERS), *WORDS, *"0123456789.,!?"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(model_folder: Path) -> Encoder:
    """The tiny model in float32 on the CPU."""
    return Encoder(model_folder, dtype="float32", device="cpu", batch_size=4)


@pytest.fixture
def beir(tmp_path: Path) -> BeirWriter:
    """A function that writes the small collection; keyword arguments replace whole files."""

    def write_folder(gz: Sequence[str] = (), **replaced: str) -> Path:
        folder = tmp_path / "tiny"
        files = {"corpus.jsonl": jsonl(CORPUS), "queries.jsonl": jsonl(QUERIES)}
        files |= {f"qrels/{split}.tsv": tsv(rows) for split, rows in QRELS.items()}
        for name, content in files.items():
            stem = Path(name).name.split(".")[0]
            write(folder / (f"{name}.gz" if stem in gz else name), replaced.get(stem, content))
        return folder

    return write_folder
