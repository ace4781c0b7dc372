"""Damaged files: each is read, or refused in one line with its name; nothing hangs."""

import gzip
import json
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpsheads.experiments import read_experiment
from mpsheads.heads import MPSProjectionHead, PCAHead, load_head
from mpsheads.retrieval import (
    Passages,
    load_collection,
    load_triples,
    load_vectors,
    read_run,
    save_vectors,
    write_run,
    write_triples,
)
from mpsheads.search import Index, read_manifest
from mpsheads.similarity import load_codes
from tests.fuzz import cases

pytestmark = pytest.mark.slow

SECONDS, BYTES = 10, 1 << 30  # that a reader may take of a file of some hundred bytes
LINES = [{"_id": f"n{i}", "title": "On cats", "text": "they purr"} for i in range(4)]
ROWS = {name: [row[name] for row in LINES] for name in LINES[0]}
EXPERIMENT = """
train = "x"
seeds = [0, 1]
fractions = [0.5, 1.0]
sizes = { 384 = [64, 32] }
[training]
epochs = 2
[[methods]]
head = "mps"
bond_dim = 2
[[methods]]
head = "pca"
label = "PCA"
"""


def write_beir(folder: Path) -> None:
    (folder / "qrels").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    for name in ("corpus", "queries"):
        (folder / f"{name}.jsonl").write_text(text)
    judged = "query-id\tcorpus-id\tscore\nn0\tn1\t2\nn1\tn2\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judged)


def write_passages(folder: Path) -> None:
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    (folder / "a.jsonl").write_text(text)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "a.csv").write_text('id,text\n1,"a ""b"""\n2,c\n')
    (folder / "pairs.tsv").write_text("query\tpositive\na\tb\nc\td\n")
    pq.write_table(pa.table(ROWS), folder / "a.parquet")
    write_run({"q": {"a": 1.0, "b": 0.5}}, folder / "a.trec")
    write_triples([("q", "a", "b"), ("q", "a", "c")], folder / "triples.tsv")


def write_tensors(folder: Path) -> None:
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    np.save(folder / "a.npy", x.numpy())
    ids = {"documents": [f"d{i}" for i in range(40)]}
    save_vectors(folder / "a.safetensors", ids=ids, documents=x, queries=x.clone())
    MPSProjectionHead(64, 4, bond_dim=2).save_pretrained(folder / "mps")
    PCAHead(64, 4).fit(x).save_pretrained(folder / "pca")
    head = MPSProjectionHead.for_bytes(64, 8).fit(x)
    codes = head.code(x[:6])
    codes.save(folder / "codes")
    texts = [f"text {i}" for i in range(6)]
    for engine in ("lists", "usearch", "faiss"):
        Index.build(codes, head, texts=texts, engine=engine).save(folder / engine)
    (folder / "spec.toml").write_text(EXPERIMENT)
    manifest = {"source": "x", "passages": 6, "encoder": {}, "fingerprint": "f", "head": "h"}
    manifest |= {"bytes_per_vector": 4, "rows": 6, "keep_text": True, "keep_vectors": False}
    manifest |= {"shards": {"00000.parquet": "0"}, "format": "mpsheads.passages.1"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def search(folder: Path) -> None:
    index = Index.load(folder)
    index.search(torch.ones(2, 64), 3)
    with suppress(ValueError):  # texts are read when they are asked for
        index.text(index.table["id"][0].as_py())


class Case(NamedTuple):
    """A file, and what reads it: by its own name, or that of a folder that holds it."""

    write: Callable[[Path], None]
    file: str
    read: Callable[[Path], object]
    folder: str | None = None


CASES = [
    *(Case(write_beir, f"{n}.jsonl", load_collection, ".") for n in ("corpus", "queries")),
    Case(write_beir, "qrels/test.tsv", load_collection, "."),
    *(
        Case(write_passages, f"a.{kind}", lambda file: Passages(file).check())
        for kind in ("jsonl", "jsonl.gz", "csv", "parquet")
    ),
    Case(write_passages, "pairs.tsv", load_collection),
    Case(write_passages, "a.trec", read_run),
    Case(write_passages, "triples.tsv", lambda file: list(load_triples(file))),
    Case(write_tensors, "a.npy", load_vectors),
    Case(write_tensors, "a.safetensors", lambda file: load_vectors(file, name="documents")),
    Case(write_tensors, "codes", load_codes),
    Case(write_tensors, "spec.toml", read_experiment),
    Case(write_tensors, "manifest.json", read_manifest, "."),
    *(
        Case(write_tensors, f"{head}/{file}", load_head, head)
        for head in ("mps", "pca")
        for file in ("config.json", "model.safetensors")
    ),
    *(
        Case(write_tensors, f"lists/{file}", search, "lists")
        for file in ("index.json", "*/codes.npy", "*/layout.safetensors", "*/passages.arrow")
    ),
    Case(write_tensors, "lists/*/lists.safetensors", search, "lists"),
    Case(write_tensors, "usearch/*/engine.safetensors", search, "usearch"),
    Case(write_tensors, "usearch/*/usearch.bin", search, "usearch"),
    Case(write_tensors, "faiss/*/faiss.bin", search, "faiss"),
]

POISON = [b"\\ud800", b"\\u0000", b"\0", b'"', b"\n", b"\t", b"-1", b"1e999", b"NaN", b"null"]
POISON += [b"true", b"{}", b"[]", b"[[]]", b"2147483648", b"18446744073709551616", b"0.5", b"' '"]
POISON += [b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xed\xa0\x80", b"\xff" * 7 + b"\x7f"]
TOKEN = re.compile(rb'"[^"]*"|[-+.\w]+')
pieces = st.sampled_from(POISON) | st.binary(max_size=8)
places = st.floats(0, 1, exclude_max=True)
changes = st.lists(
    st.tuples(st.sampled_from(["token", "cut", "insert", "over", "twice"]), places, places, pieces),
    min_size=1,
    max_size=4,
)


def damage(content: bytes, how: str, where: float, much: float, piece: bytes) -> bytes:
    """A file with one thing changed."""
    start = int(where * len(content))
    stop = start + int(much * min(64, len(content) - start)) + 1
    match how:
        case "token" if tokens := list(TOKEN.finditer(content)):
            start, stop = tokens[int(where * len(tokens))].span()
            return content[:start] + piece + content[stop:]
        case "cut":
            return content[:start] + (content[stop:] if much < 0.8 else b"")
        case "over":
            return content[:start] + piece + content[start + len(piece) :]
        case "twice":
            return content[:stop] + content[start:]
    return content[:start] + piece + content[start:]


@contextmanager
def bounded() -> Iterator[None]:
    """No more time and memory than a small file deserves."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)

    def hangs(*_: object) -> None:
        raise AssertionError(f"It takes more than {SECONDS} seconds.")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable], Path]:
    """The folder of a writer, which wrote once."""
    folders: dict[Callable, Path] = {}

    def folder_of(write: Callable[[Path], None]) -> Path:
        if write not in folders:
            folders[write] = tmp_path_factory.mktemp("fuzzed")
            write(folders[write])
        return folders[write]

    return folder_of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_damaged_file_is_read_or_refused_by_name(case: Case, written) -> None:
    folder = written(case.write)
    (file,) = folder.glob(case.file)
    whole, path = file.read_bytes(), file if case.folder is None else folder / case.folder
    case.read(path)

    @cases(40)
    @given(changes)
    def check(changed: list) -> None:
        content = whole
        for change in changed:
            content = damage(content, *change)
        file.write_bytes(content)
        try:
            with bounded():
                case.read(path)
        except (ValueError, TypeError, OSError) as error:
            assert folder.name in str(error) or path.name in str(error), repr(error)[:300]  # noqa: PT017
            assert len(str(error)) < 2000  # noqa: PT017

    try:
        check()
    finally:
        file.write_bytes(whole)
