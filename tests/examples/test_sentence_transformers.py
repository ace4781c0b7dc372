"""The code of the how-to pages on sentence-transformers runs on the real MiniLM."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mpsheads

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DOCS = EXAMPLES.parent / "docs" / "how-to"


def run(source, folder):
    (folder / "example.py").write_text(source)
    ran = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env={**os.environ, "MPSHEADS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout.splitlines()


def test_the_head_finds_the_right_document_in_each_kind_of_model(tmp_path):
    printed = run((EXAMPLES / "sentence_transformer.py").read_text(), tmp_path)
    assert printed == [
        "Cats purr when they are content.",
        "tensor(True)",
        "1.0",
        "torch.Size([3, 128])",
    ]


def test_the_pairs_train_a_model_that_is_measured_and_saved(tmp_path):
    source = (EXAMPLES / "train_on_pairs.py").read_text()
    for long, short in (
        ("limit=600", "limit=60"),
        ("max_seq_length = 128", "max_seq_length = 24"),
        ("num_train_epochs=2", "num_train_epochs=1"),
        ("batch_size=32", "batch_size=8"),
    ):
        assert long in source
        source = source.replace(long, short)
    *_, last = run(source, tmp_path)
    found = re.fullmatch(r"uncompressed (.*), with the head (.*), trained (.*)", last)
    assert found
    assert all(0.3 < float(number) <= 1 for number in found.groups())
    assert mpsheads.load(tmp_path / "my-model").similarity_fn_name == "custom"
    assert list((tmp_path / "training").glob("checkpoint-*"))


def test_every_part_of_the_examples_is_shown():
    names = ("sentence-transformers.md", "train-on-my-pairs.md")
    pages = "".join((DOCS / name).read_text() for name in names)
    for name in ("sentence_transformer", "train_on_pairs"):
        for part in re.findall(r"\[start:(\w+)\]", (EXAMPLES / f"{name}.py").read_text()):
            assert f'"examples/{name}.py:{part}"' in pages
