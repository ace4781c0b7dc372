"""Files appear whole or not at all."""

import ast
import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mpsheads._files
from mpsheads._files import as_path, read_lines, replacing
from mpsheads.experiments import read_experiment, read_results
from mpsheads.heads import PCAHead, load_head
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
from mpsheads.similarity import load_codes, quantize


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.txt"
    with replacing(file) as temporary:
        temporary.write_text("old")
    with replacing(file) as temporary:
        temporary.write_text("half")
        assert file.read_text() == "old"
        temporary.write_text("new")
        inode = temporary.stat().st_ino
    assert file.read_text() == "new"
    assert file.stat().st_ino == inode  # renamed, not copied


def write_number(file: Path) -> None:
    """Write half of something, and fail."""
    with file.open("w") as stream:
        stream.write("half")
        stream.write(3)  # pyright: ignore[reportArgumentType]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")
    with pytest.raises(TypeError, match="must be str"), replacing(file) as temporary:
        write_number(temporary)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"x.txt": "old"}


def test_a_file_gets_the_usual_permissions_whoever_writes_it(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
        temporary.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_lines_carry_their_place_and_blank_ones_still_count(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("a\n\n b \n")
    assert list(read_lines(file)) == [(f"{file}, line 1", "a"), (f"{file}, line 3", " b ")]


HEADER = b"\x93NUMPY\x01\x00"


def npy_header(shape: str) -> bytes:
    """A .npy file that says what it holds, and holds nothing."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return HEADER + struct.pack("<H", len(text)) + text.encode()


METHODS = "\n[[methods]]\nhead = 'mps'\n"
DIGITS, DEEP = "9" * 5000, "[" * 5000
BOMBS = {
    "many.toml": (f"seeds = 10000000000{METHODS}", read_experiment, "`seeds`.* at most 10000"),
    "deep.toml": (f"seeds = {DEEP}", read_experiment, "is not TOML"),
    "digits.toml": (f"seeds = {DIGITS}", read_experiment, "is not TOML"),
    "inf.toml": (f"fractions = [inf]{METHODS}", read_experiment, "`fractions.0`"),
    "large.toml": ("#" * (1 << 21), read_experiment, "is larger than"),
    "claim.npy": (npy_header("(10, 300000000000)"), load_vectors, "not a complete .npy file"),
    "claim2.npy": (npy_header(f"({DIGITS}, 2)"), load_vectors, "not a complete .npy file"),
    "x.jsonl": ('{"_id": "a", "unused": ' + DEEP, Passages, "line 1: the line: the JSON is nest"),
    "y.jsonl": ('{"_id": ' + DIGITS + ', "text": "x"}', Passages, "line 1: the line: not JSON"),
    "x.trec": (f"q Q0 d 1 nan{DIGITS} x", read_run, "line 1: the score must be a number"),
    "x.csv": ('id,text\n1,"' + "x" * 5000, Passages, "line 2: "),
    "manifest.json": (DEEP, lambda file: read_manifest(file.parent), "nested too deeply"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_claims_more_than_it_holds_is_refused_by_name(tmp_path: Path, name: str) -> None:
    content, read, match = BOMBS[name]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=match) as caught:
        list(read(file))
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz", "x.tsv.gz", "x.txt.gz"])
def test_a_line_has_a_limit_also_if_it_is_packed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpsheads._files, "LONGEST_LINE", 1000)
    (tmp_path / name).write_bytes(gzip.compress(b"id\ttext,text\n" + b'1,"' * 100_000))
    with pytest.raises(ValueError, match=rf"{name}, line 2: longer than 1,000 bytes"):
        list(Passages(tmp_path / name, skip_bad_rows=True))


@pytest.mark.parametrize("read", [Passages, read_results, read_run, load_triples])
def test_a_packed_file_has_a_limit_also_if_its_lines_are_short(
    tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpsheads._files, "LONGEST_LINE", 1000)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b"\n" * 200_000))
    with pytest.raises(ValueError, match=r"x.jsonl.gz, line \d+: it unpacks to more than 200"):
        list(read(tmp_path / "x.jsonl.gz"))


LARGE = """
import resource, sys
import pyarrow as pa
from pyarrow.parquet import write_table
from mpsheads.retrieval import Passages

text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000), pa.array(["x" * (1 << 20)]))
write_table(pa.table({"text": text}), sys.argv[1], compression="zstd", store_schema=False)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), held + (1 << 30)))
assert sum(len(passage.text) for passage in Passages(sys.argv[1])) == 2000 << 20
"""


@pytest.mark.slow
def test_a_small_table_of_gigabytes_is_read_in_less_memory(tmp_path: Path) -> None:
    run = [sys.executable, "-c", LARGE, str(tmp_path / "x.parquet")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_packed_line_of_gigabytes_takes_no_gigabytes(tmp_path: Path) -> None:
    import tracemalloc

    with gzip.open(tmp_path / "x.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(96):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="longer than 67,108,864 bytes"):
        list(Passages(tmp_path / "x.jsonl.gz"))
    assert tracemalloc.get_traced_memory()[1] < 160 << 20
    tracemalloc.stop()


def write_collection(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"_id": "a", "text": "x"}))
    (folder / "qrels" / "test.tsv").write_text("a\ta\t1\n")


CODES = quantize(torch.ones(2, 4), 8)
PATHS = {
    "run": (lambda path: write_run({"q": {"d": 1.0}}, path), read_run),
    "triples": (lambda path: write_triples([("q", "d", "e")], path), load_triples),
    "x.npy": (lambda path: save_vectors(path, x=torch.eye(2)), load_vectors),
    "codes": (CODES.save, load_codes),
    "head": (PCAHead(4, 2).fit(torch.rand(9, 4)).save_pretrained, load_head),
    "beir": (lambda path: write_collection(as_path(path)), load_collection),
    "index": (Index.build(CODES, PCAHead(4, 4).fit(torch.rand(9, 4))).save, Index.load),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_may_begin_with_the_home_folder(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write, read = PATHS[name]
    write(f"~/deep/{name}")
    read(f"~/deep/{name}")
    assert [file.name for file in tmp_path.iterdir()] == ["home"]
    with pytest.raises(ValueError, match="home directory"):
        write("~nobody-of-this-name/x")


@pytest.mark.slow
def test_every_path_is_made_by_as_path() -> None:
    """No function makes a `Path` of an argument that is a `PathLike`."""
    found, package = [], Path(mpsheads.__file__).parent
    for file in package.rglob("*.py"):
        text = file.read_text() if file.name != "_files.py" else ""
        for function in ast.walk(ast.parse(text if ": PathLike" in text else "")):
            if not isinstance(function, ast.FunctionDef):
                continue
            given = [*function.args.args, *function.args.kwonlyargs]
            paths = {a.arg for a in given if a.annotation and "PathLike" in ast.dump(a.annotation)}
            found += [
                f"{file.name}:{call.lineno}"
                for call in ast.walk(function)
                if isinstance(call, ast.Call)
                and getattr(call.func, "id", "") == "Path"
                and any(getattr(argument, "id", "") in paths for argument in call.args)
            ]
    assert not found
