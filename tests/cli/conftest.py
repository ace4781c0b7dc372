"""A small BEIR folder with vectors that fit it, a tiny model, and a way to run commands."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mpsheads.cli.app import app
from mpsheads.retrieval import save_vectors
from tests.retrieval.tiny import IRDS_HOME

# ir_datasets fixes its home when it is imported, so this has to come before any test.
os.environ["IR_DATASETS_HOME"] = str(IRDS_HOME)

FEATURES = 48
N_DOCUMENTS, N_QUERIES = 60, 40
WORDS = ["quantum", "state", "tensor", "network", "search", "head", "qubit", "gate", "the", "of"]


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def command() -> Command:
    """Run `mpsheads` with arguments, in this process."""

    def run(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def fails(command: Command) -> Callable[..., str]:
    """Run `mpsheads`, which must end with code 2 and one line on stderr; returns that line."""

    def run(*arguments: object) -> str:
        ran = command(*arguments)
        assert (ran.code, ran.out) == (2, ""), ran
        assert ran.err.startswith("Error: "), ran.err
        assert ran.err.count("\n") == 1, ran.err
        return ran.err

    return run


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Documents d0, d1, ...; query q{i} is about document d{i}; splits train and test."""
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"{WORDS[i % 10]} {WORDS[i // 10]} number {i}" for i in range(N_DOCUMENTS)]
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    queries = [{"_id": f"q{i}", "text": texts[i]} for i in range(N_QUERIES)]
    for name, records in {"corpus": corpus, "queries": queries}.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines)
    for split, numbers in {"train": range(30), "test": range(30, N_QUERIES)}.items():
        rows = "".join(f"q{i}\td{i}\t1\nq{i}\td{(i + 7) % N_DOCUMENTS}\t0\n" for i in numbers)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    return folder


@pytest.fixture
def vectors(tmp_path: Path) -> dict[str, Path]:
    """Files of embeddings with ids: each query's lies near that of its document."""
    generator = torch.Generator().manual_seed(0)
    documents = torch.randn(N_DOCUMENTS, FEATURES, generator=generator)
    noise = torch.randn(N_QUERIES, FEATURES, generator=generator)
    queries = documents[:N_QUERIES] + 2.5 * noise
    both = tmp_path / "both.safetensors"
    ids = {
        "queries": [f"q{i}" for i in range(N_QUERIES)],
        "documents": [f"d{i}" for i in range(N_DOCUMENTS)],
    }
    save_vectors(both, ids=ids, queries=queries, documents=documents)
    np.save(tmp_path / "documents.npy", documents.numpy())
    np.save(tmp_path / "test-queries.npy", queries[30:].numpy())
    return {
        "both": both,
        "documents": tmp_path / "documents.npy",
        "test_queries": tmp_path / "test-queries.npy",
    }


@pytest.fixture
def data(beir: Path, vectors: dict[str, Path]) -> list[str]:
    """The options that name the collection and its vectors; the split is still to be given."""
    both = str(vectors["both"])
    return ["--dataset", str(beir), "--query-vectors", both, "--document-vectors", both]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel with two layers and 48 features, and its WordPiece tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *letters, *(f"##{c}" for c in letters), *WORDS, *".,!?"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=FEATURES,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that texts differ
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


def gzipped(file: Path) -> Path:
    """Replace a file by its gzipped form."""
    packed = file.with_name(f"{file.name}.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    return packed
