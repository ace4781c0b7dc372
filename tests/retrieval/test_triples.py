"""Files of triples, and those of an ir_datasets id from a cache that the test makes."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpsheads.retrieval import Triple, load_triples, read_triples, write_triples

TRIPLES = [Triple("q1", "d1", "d2"), Triple("q1", "d1", "d 3"), Triple("q2", "é", "d1")]
HEADER = "query-id\tpositive-id\tnegative-id\n"


@pytest.mark.parametrize("name", ["new/triples.tsv", "triples.tsv.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    assert write_triples(iter(TRIPLES), tmp_path / name) == 3
    assert list(read_triples(tmp_path / name)) == TRIPLES
    assert [file.name for file in (tmp_path / name).parent.iterdir()] == [Path(name).name]


def test_the_file_is_tab_separated_under_a_header(tmp_path: Path) -> None:
    write_triples(TRIPLES[:1], tmp_path / "triples.tsv")
    assert (tmp_path / "triples.tsv").read_bytes() == f"{HEADER}q1\td1\td2\n".encode()


def test_equal_triples_give_equal_gzip_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second, name in enumerate(("a.tsv.gz", "b.tsv.gz"), start=1_000_000_000):
        monkeypatch.setattr("time.time", lambda second=second: float(second))
        write_triples(TRIPLES, tmp_path / name)
    packed = (tmp_path / "a.tsv.gz").read_bytes()
    assert packed == (tmp_path / "b.tsv.gz").read_bytes()
    assert gzip.decompress(packed).decode().startswith(HEADER)


def test_a_file_without_a_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "ids.tsv").write_text("7\t10\t11\n\n8\t12\t13\n")
    assert list(read_triples(tmp_path / "ids.tsv")) == [("7", "10", "11"), ("8", "12", "13")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}q\td\te\nq\td\n", r"line 3: must have 3 tab-separated fields .*, got 'q\\td'"),
        ("q d e\n", "line 1: must have 3 tab-separated fields"),
        (f"{HEADER}q\t\te\n", "line 2: must have 3 .* none of them empty"),
        (f"{HEADER}q\td\td\n", "line 2: document 'd' cannot be the positive and the negative"),
        (HEADER, "holds no triples"),
        ("\n\n", "holds no triples"),
        ("", "is empty"),
    ],
)
def test_what_is_malformed_is_named_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(content)
    with pytest.raises(ValueError, match=rf"bad\.tsv.*{message}"):
        list(read_triples(tmp_path / "bad.tsv"))


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    write_triples(TRIPLES, tmp_path / "t.tsv.gz")
    (tmp_path / "t.tsv.gz").write_bytes((tmp_path / "t.tsv.gz").read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"t\.tsv\.gz is not a complete gzip file"):
        list(read_triples(tmp_path / "t.tsv.gz"))


def test_a_missing_file_is_told_at_once(tmp_path: Path) -> None:
    for load in (read_triples, load_triples):
        with pytest.raises(FileNotFoundError, match=r"no file of triples .*nosuch\.tsv"):
            load(tmp_path / "nosuch.tsv")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    def broken():
        yield TRIPLES[0]
        raise RuntimeError("stopped")

    write_triples(TRIPLES, tmp_path / "t.tsv")
    with pytest.raises(RuntimeError, match="stopped"):
        write_triples(broken(), tmp_path / "t.tsv")
    assert list(read_triples(tmp_path / "t.tsv")) == TRIPLES
    assert [file.name for file in tmp_path.iterdir()] == ["t.tsv"]


@pytest.mark.parametrize("bad", ["", "a\tb", "a\nb", "a\r", " a"])
def test_an_id_that_the_file_cannot_carry_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match=r"negative-id .* cannot stand in a file of triples"):
        write_triples([("q", "d", bad)], tmp_path / "t.tsv")
    with pytest.raises(ValueError, match="no triples to write"):
        write_triples([], tmp_path / "t.tsv")
    assert not list(tmp_path.iterdir())


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("q\td\te\nq\td\tf\nbroken\n")
    assert list(load_triples(tmp_path / "t.tsv", limit=2)) == [("q", "d", "e"), ("q", "d", "f")]
    with pytest.raises(ValueError, match="line 3"):
        list(load_triples(tmp_path / "t.tsv"))
    with pytest.raises(ValueError, match="`limit` must be at least 1, got 0"):
        load_triples(tmp_path / "t.tsv", limit=0)


SMALL = "msmarco-passage/train/triples-small"
SCRIPT = """
import json, sys
import requests

def no_network(*_, **__):
    raise requests.exceptions.ConnectionError("no network in tests")

requests.get = no_network
from mpsheads.retrieval import load_triples

answers = []
for source, limit in json.loads(sys.argv[1]):
    try:
        answers.append(list(load_triples(source, limit)))
    except (OSError, ValueError) as error:
        answers.append(f"{type(error).__name__}: {error}")
print(json.dumps(answers))
"""


@pytest.fixture
def msmarco(tmp_path: Path) -> Path:
    """Four passages, two training queries and three triples, as ir_datasets keeps them."""
    pytest.importorskip("ir_datasets")
    folder = tmp_path / "irds" / "msmarco-passage"
    (folder / "train").mkdir(parents=True)
    (folder / "irds_version.txt").write_text("v2")
    (folder / "collection.tsv").write_text("0\tA qubit.\n1\tNetworks.\n2\tSearch.\n3\tOther.\n")
    (folder / "train" / "queries.tsv").write_text("10\twhat is a qubit\n11\ttensor network\n")
    (folder / "train" / "qrels").write_text("10 0 0 1\n11 0 1 1\n")
    triples = "10\t0\t1\n10\t0\t2\n11\t1\t3\n"
    (folder / "train" / "small.triples.qidpid.tsv").write_text(triples)
    return folder


def from_irds(folder: Path, *asked: tuple[str, int | None]):
    """What `load_triples` gives in a process of its own: ir_datasets fixes its home on import."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(asked)],
        env={**os.environ, "IR_DATASETS_HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_an_ir_datasets_id_is_streamed_and_others_are_refused(msmarco: Path) -> None:
    with (msmarco / "train" / "small.triples.qidpid.tsv").open("a") as file:
        file.write("11\t1\n")
    asked = [(SMALL, 3), (SMALL, None), ("msmarco-passage", None), ("no/such", None)]
    three, malformed, none, unknown = from_irds(msmarco, *asked)
    assert three == [["10", "0", "1"], ["10", "0", "2"], ["11", "1", "3"]]
    assert malformed.startswith("ValueError: The pairs of documents of the ir_datasets id")
    assert "malformed at record 4: expected 3 fields, got 2" in malformed
    assert "'msmarco-passage' has no pairs of documents. Of its parts these have:" in none
    assert SMALL in none
    assert unknown.startswith("FileNotFoundError: There is neither a file of triples no/such")


def test_files_that_ir_datasets_would_delete_are_guarded(msmarco: Path) -> None:
    (msmarco / "irds_version.txt").write_text("v2\n")
    assert "would delete" in from_irds(msmarco, (SMALL, None))[0]
    assert (msmarco / "collection.tsv").read_text().startswith("0\tA qubit")


def test_triples_that_are_not_there_are_one_error(msmarco: Path) -> None:
    (msmarco / "train" / "small.triples.qidpid.tsv").unlink()
    error = from_irds(msmarco, (SMALL, None))[0]
    assert error.startswith("FileNotFoundError: Files of the ir_datasets id")
    assert "no network in tests" in error
    assert (msmarco / "collection.tsv").exists()
