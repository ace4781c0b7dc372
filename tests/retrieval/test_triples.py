"""Files of triples; those of an ir_datasets id are tested with its collections."""

import gzip
from pathlib import Path

import pytest

from mpsheads.retrieval import Triple, load_triples, write_triples

TRIPLES = [Triple("q1", "d1", "d2"), Triple("q1", "d1", "d 3"), Triple("q2", "é", "d1")]
HEADER = "query-id\tpositive-id\tnegative-id\n"


@pytest.mark.parametrize("name", ["new/triples.tsv", "triples.tsv.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    assert write_triples(iter(TRIPLES), tmp_path / name) == 3
    assert list(load_triples(tmp_path / name)) == TRIPLES
    assert [file.name for file in (tmp_path / name).parent.iterdir()] == [Path(name).name]


def test_equal_triples_give_equal_gzip_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second, name in enumerate(("a.tsv.gz", "b.tsv.gz"), start=1_000_000_000):
        monkeypatch.setattr("time.time", lambda second=second: float(second))
        write_triples(TRIPLES, tmp_path / name)
    packed = (tmp_path / "a.tsv.gz").read_bytes()
    assert packed == (tmp_path / "b.tsv.gz").read_bytes()
    assert gzip.decompress(packed).decode() == f"{HEADER}q1\td1\td2\nq1\td1\td 3\nq2\té\td1\n"


def test_a_file_without_a_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "ids.tsv").write_text("7\t10\t11\n\n8\t12\t13\n")
    assert list(load_triples(tmp_path / "ids.tsv")) == [("7", "10", "11"), ("8", "12", "13")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}q\td\te\nq\td\n", r"line 3: must have 3 tab-separated fields .*, got 'q\\td'"),
        ("q d e\n", "line 1: must have 3 tab-separated fields"),
        (f"{HEADER}q\t\te\n", "line 2: the positive-id is empty"),
        (f"{HEADER}q\td\td\n", "line 2: document 'd' cannot be the positive and the negative"),
        (HEADER, "holds no line below its header"),
        ("\n\n", "is empty"),
        ("", "is empty"),
    ],
)
def test_what_is_malformed_is_named_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(content)
    with pytest.raises(ValueError, match=rf"bad\.tsv.*{message}"):
        list(load_triples(tmp_path / "bad.tsv"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nosuch\.tsv"):
        load_triples(tmp_path / "nosuch.tsv")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    def broken():
        yield TRIPLES[0]
        raise RuntimeError("stopped")

    write_triples(TRIPLES, tmp_path / "t.tsv")
    with pytest.raises(RuntimeError, match="stopped"):
        write_triples(broken(), tmp_path / "t.tsv")
    assert list(load_triples(tmp_path / "t.tsv")) == TRIPLES
    assert [file.name for file in tmp_path.iterdir()] == ["t.tsv"]


@pytest.mark.parametrize("bad", ["", "a\tb", "a\nb", "a\r", "a\0", "\ud800"])
def test_an_id_that_the_file_cannot_carry_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match=r"`triples`: the negative-id"):
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
