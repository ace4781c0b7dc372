"""Wrong files and wrong options: one line on stderr, exit code 2, nothing written."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mpsheads import PCAHead
from tests.cli.conftest import FEATURES

pytestmark = pytest.mark.slow


def write(name: str, content: str | bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def npy(array: np.ndarray) -> str:
    np.save("x.npy", array)
    return "x.npy"


def tensors(**metadata: str) -> str:
    save_file({"documents": np.eye(4, dtype=np.float32)}, "x.safetensors", metadata)
    return "x.safetensors"


def head(**changed: object) -> str:
    PCAHead(FEATURES, 4).save_pretrained("head")
    config = json.loads(Path("head/config.json").read_text())
    Path("head/config.json").write_text(json.dumps({**config, **changed}))
    return "head"


def encode_vectors(file: str, *more: object) -> list[object]:
    return ["encode", "--dataset", file, "--output", "out.npy", *more]


FILES = {
    "vectors: none": (lambda: encode_vectors("no.npy"), "no.npy"),
    "vectors: empty file": (lambda: encode_vectors(write("x.npy", "")), "x.npy"),
    "vectors: cut": (
        lambda: encode_vectors(write(npy(np.eye(9)), Path("x.npy").read_bytes()[:-9])),
        "x.npy",
    ),
    "vectors: pickled": (
        lambda: encode_vectors(npy(np.array([{}], dtype=object))),
        "x.npy",
    ),
    "vectors: one axis": (lambda: encode_vectors(npy(np.ones(4))), "matrix"),
    "vectors: nan": (lambda: encode_vectors(npy(np.full((2, 3), np.nan))), "row 0"),
    "vectors: integers": (lambda: encode_vectors(npy(np.eye(3, dtype=int))), "floating"),
    "vectors: garbage": (lambda: encode_vectors(write("x.safetensors", "hello")), "x.safetens"),
    "vectors: ids": (lambda: encode_vectors(tensors(documents_ids="[")), "ids"),
    "vectors: to a folder": (lambda: ["encode", "--output", "out"], "`--output`"),
    "head: none": (lambda: encode_vectors(npy(np.eye(3)), "--head", "./no"), "no"),
    "head: a file": (lambda: encode_vectors(npy(np.eye(3)), "--head", write("h", "")), "h"),
    "head: width": (lambda: encode_vectors(npy(np.eye(3)), "--head", head()), "48"),
    "head: kind": (lambda: ["info", head(head="evil")], "evil"),
    "head: size": (lambda: ["info", head(out_features=1 << 40)], "out_features"),
    "head: no json": (lambda: ["info", Path(write(f"{head()}/config.json", "{")).parent], "config"),
    "head: no weights": (
        lambda: ["info", Path(write(f"{head()}/model.safetensors", "")).parent],
        "model.safetensors",
    ),
    "head: too wide": (lambda: encode_vectors(npy(np.eye(3)), "--head", "pca:64"), "64"),
    "passages: none": (lambda: ["index", "no.jsonl"], "no.jsonl"),
    "passages: not json": (lambda: ["index", write("x.jsonl", "{")], "x.jsonl, line 1"),
    "passages: not utf-8": (lambda: ["index", write("x.jsonl", b"\xff\n")], "x.jsonl, line 1"),
    "passages: not gzip": (lambda: ["index", write("x.jsonl.gz", "{}")], "x.jsonl.gz"),
    "passages: empty": (lambda: ["index", write("x.jsonl", "")], "x.jsonl"),
    "passages: no parquet": (lambda: ["index", write("x.parquet", "PAR1")], "x.parquet"),
    "collection: none": (lambda: ["evaluate", "--dataset", "./no"], "no"),
    "collection: a file": (lambda: ["evaluate", "--dataset", write("./x", "")], "x"),
    "index: none": (lambda: ["search", "no", "a"], "no is no index"),
    "index: no json": (lambda: ["search", Path(write("i/index.json", "[")).parent, "a"], "i"),
    "index: another": (
        lambda: ["search", Path(write("i/index.json", '{"format": "x"}')).parent, "a"],
        "format",
    ),
    "results: none": (lambda: ["reproduce", "--report-only", "no.jsonl"], "no.jsonl"),
    "results: broken": (
        lambda: ["reproduce", "--report-only", write("r.jsonl", "{}\n{}\n")],
        "r.jsonl, line 1",
    ),
    "experiment: none": (lambda: ["reproduce", "no.toml"], "no.toml"),
    "experiment: not toml": (lambda: ["reproduce", write("x.toml", "= 3")], "x.toml"),
    "experiment: unknown": (lambda: ["reproduce", write("x.toml", "a = 3")], "x.toml"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_is_one_line(fails, name):
    arguments, named = FILES[name]
    line = arguments()
    before = {file for file in Path().rglob("*") if file.is_file()}
    message = fails(*line)
    assert named in message
    assert len(message) < 500
    assert {file for file in Path().rglob("*") if file.is_file()} == before


OPTIONS = {
    "encode": [("--bytes", "0"), ("--bytes", "x"), ("--rows", "0"), ("--device", "tpu9")],
    "index": [("--engine", "no"), ("--engine-option", "x"), ("--max-length", "0")],
    "train": [
        *[("--epochs", "0"), ("--batch-size", "1"), ("--learning-rate", "nan"), ("--seed", "-1")],
        *[("--loss", "no"), ("--hard-negatives", "-1"), ("--head", "no"), ("--head", "pca")],
        *[("--head", "mps:x"), ("--readout", "no"), ("--pooling", "max")],
    ],
    "mine": [("--by", "no"), ("--count", "0"), ("--depth", "0"), ("--margin", "2")],
    "evaluate": [("--measure", "no"), ("--top-k", "0")],
    "frontier": [("--bits", "3"), ("--size", "0"), ("--budget", "0"), ("--seeds", "0")],
}


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [(name, *given) for name, options in OPTIONS.items() for given in options],
)
def test_a_wrong_option_is_one_line(fails, beir, data, model_folder, name, option, value):
    passages = [write("x.jsonl", '{"id": "a", "text": "b"}'), "--encoder", model_folder]
    given = {"encode": passages, "index": passages}
    given["frontier"] = ["--dataset", beir, "--encoder", model_folder]
    encoded = ["--dataset", beir, "--encoder", model_folder] if option == "--pooling" else data
    output = [] if name == "evaluate" else ["--output", "out"]
    message = fails(name, *given.get(name, encoded), *output, option, value)
    assert option in message or value in message
    assert not [file for file in Path().glob("out/**/*") if file.is_file()]
