"""Where writing fails, each command says so in one line, and what was there stays."""

import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpsheads.experiments import key_of, read_results
from tests.cli.test_index import texts  # noqa: F401  # a fixture
from tests.cli.test_reproduce import own  # noqa: F401  # a fixture

pytestmark = pytest.mark.slow
TRAIN = ["--epochs", 1, "--batch-size", 8, "--head", "dense:8", "--resume"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def commands(beir, data, texts, model_folder, own):  # noqa: F811
    """Each command, and its output, which is relative to the folder of the test."""
    encoder = ["--encoder", model_folder]
    measured = ["--train", f"{beir}:train", "--test", f"{beir}:test@all", *encoder]
    few = ["--method", "truncation", "--size", 16, "--bits", 32, "--untrained"]
    return {
        "encode a file": (["encode", *data], "out/small.safetensors"),
        "encode": (["encode", texts, *encoder, "--bytes", 8, "--keep-text"], "out"),
        "encode to .npy": (
            ["encode", "--dataset", f"{beir.parent}/documents.npy"],
            "out/small.npy",
        ),
        "index, usearch": (["index", texts, *encoder, "--bytes", 8, "--engine", "usearch"], "out"),
        "index, faiss": (["index", texts, *encoder, "--bytes", 8, "--engine", "faiss"], "out"),
        "index": (["index", texts, *encoder, "--bytes", 8], "out"),
        "train": (["train", *data, *TRAIN], "out"),
        "mine": (["mine", *data, "--by", "encoder"], "out/triples.tsv"),
        "reproduce": (["reproduce", own, *measured], "out"),
        "frontier": (["frontier", "--dataset", f"{beir}:test", *encoder, *few], "out"),
    }


MORE = int(os.environ.get("MPSHEADS_TEST_MORE", "1"))  # so many times as many points
POINTS = {"encode a file": 15, "encode to .npy": 15, "mine": 15, "encode": 8, "index": 8}
POINTS |= {"index, usearch": 5, "index, faiss": 5, "train": 8, "reproduce": 4, "frontier": 4}
POINTS = {name: MORE * points for name, points in POINTS.items()}


def content(folder: Path) -> dict[str, object]:
    """All that a reader looks at, without times."""
    held: dict[str, object] = {}
    for file in folder.rglob("*"):
        if file.name == "results.jsonl":
            held[file.name] = {key_of(line): line["scores"] for line in read_results(file)}
        elif file.is_file() and file.name not in ("metrics.jsonl", "checkpoint.pt"):
            held[str(file.relative_to(folder))] = file.read_bytes()
    return held


@pytest.mark.parametrize("name", POINTS)
def test_a_full_disk_is_one_line_and_what_was_there_stays(command, commands, name):
    arguments, output = commands[name]
    arguments, out = [*arguments, "--output", output], Path("out")
    assert command(*arguments).code == 0
    whole = content(out)
    largest = max(file.stat().st_size for file in out.rglob("*"))
    shutil.rmtree(out)
    if Path(output).suffix:
        out.mkdir()
        Path(output).write_bytes(b"old")
    failed = 0
    for point in range(POINTS[name]):
        before = content(out)
        with files_of_at_most(largest * point // POINTS[name]):
            ran = command(*arguments)
        assert not [file for file in Path().rglob(".*") if file.suffix in (".tmp", ".lock")]
        if ran.code == 0:
            break
        failed += 1
        assert ran.code == 2
        assert re.fullmatch(r"(Warning: .*\n)?Error: .*(out|cache).*(large|full|disk).*\n", ran.err)
        after = content(out)
        assert before.items() <= after.items() or name in ("reproduce", "frontier")
    assert failed > POINTS[name] // 2
    assert command(*arguments).code == 0
    assert content(out) == whole
