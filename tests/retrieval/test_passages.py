"""Passages: every kind of file and table gives the same rows, and bad ones say where they are."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpsheads.retrieval import Columns, Passages
from tests.retrieval.tiny import CORPUS, jsonl

ROWS = [
    {"_id": "a", "title": "On cats", "text": "they purr"},
    {"_id": "b", "title": "", "text": 'a "quoted",\nbroken line'},
    {"_id": "ü#3", "title": None, "text": "naïve 猫"},
]
EXPECTED = [("a", "On cats they purr"), ("b", ROWS[1]["text"]), ("ü#3", "naïve 猫")]


def csv_of(rows, delimiter=","):
    def cell(value):
        return '"' + (value or "").replace('"', '""') + '"'

    lines = [delimiter.join(rows[0])]
    return "\n".join(lines + [delimiter.join(map(cell, row.values())) for row in rows]) + "\n"


def written(folder, kind):
    """The rows in a file or folder of this kind."""
    file = folder / f"rows.{kind}"
    table = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]})
    match kind:
        case "jsonl":
            file.write_text(jsonl(ROWS), encoding="utf-8")
        case "jsonl.gz":
            file.write_bytes(gzip.compress(jsonl(ROWS).encode()))
        case "csv":
            file.write_text("\ufeff" + csv_of(ROWS), encoding="utf-8")
        case "tsv.gz":
            file.write_bytes(gzip.compress(csv_of(ROWS, "\t").encode()))
        case "parquet":
            pq.write_table(table, file, row_group_size=2)
        case "beir":
            file.mkdir()
            (file / "corpus.jsonl").write_text(jsonl(ROWS), encoding="utf-8")
        case "dataset":
            import datasets

            datasets.Dataset(table).save_to_disk(file)
        case "datasets":
            import datasets

            datasets.DatasetDict({"train": datasets.Dataset(table)}).save_to_disk(file)
    return file


KINDS = ["jsonl", "jsonl.gz", "csv", "tsv.gz", "parquet", "beir", "dataset", "datasets"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_passages(tmp_path, kind):
    passages = Passages(written(tmp_path, kind))
    assert list(passages) == EXPECTED
    assert list(passages) == EXPECTED  # a second time
    assert passages.check() == 3


def test_tables_and_lists_of_python_are_read_by_position():
    import pandas as pd
    import polars as pl

    texts = ["one", "two", "three"]
    numbered = [("0", "one"), ("1", "two"), ("2", "three")]
    frame = pd.DataFrame({"text": texts}, index=[7, 3, 5])
    for source in (texts, tuple(texts), pa.table({"text": texts}), pl.DataFrame({"t": texts})):
        assert list(Passages(source)) == numbered
    for source in (frame, frame["text"], pl.Series(texts)):
        assert list(Passages(source)) == numbered
    assert list(Passages(pl.DataFrame({"id": [4, 5], "body": ["x", "y"]}))) == [
        ("4", "x"),
        ("5", "y"),
    ]


def test_text_files_are_passages_by_line_paragraph_or_file(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("# Title\n\nfirst\nline\n\n\n  \nlast\n")
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    (tmp_path / "no.pdf").write_text("not read")
    (tmp_path / "empty.md").mkdir()
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "c.md").write_text("forgotten")
    assert [(p.id, p.text) for p in Passages(tmp_path)] == [
        ("b.txt#1", "one"),
        ("b.txt#2", "two"),
        ("deep/a.md#1", "# Title"),
        ("deep/a.md#2", "first\nline"),
        ("deep/a.md#3", "last"),
    ]
    assert [p.id for p in Passages(tmp_path, whole_files=True)] == ["b.txt", "deep/a.md"]
    assert list(Passages(tmp_path / "b.txt")) == [("0", "one"), ("1", "two")]


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        list(Passages("nobody/nothing"))


def test_a_title_counts_where_the_first_row_has_none_and_an_id_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text(jsonl([{"text": "a"}, {"title": "T", "text": "b"}]))
    assert [p.text for p in Passages(tmp_path / "x.jsonl")] == ["a", "T b"]
    (tmp_path / "x.jsonl").write_text(jsonl([{"text": "a"}, {"id": "1", "text": "b"}]))
    with pytest.raises(ValueError, match="line 2: 'id' is an id, which the first row lacks"):
        list(Passages(tmp_path / "x.jsonl", skip_bad_rows=True))


def test_columns_are_taken_by_name_or_as_asked(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("key,head,body,more\n1,T,x,y\n")
    assert list(Passages(file)) == [("0", "x")]
    assert list(Passages(file, Columns("more", "key", "head"))) == [("1", "T y")]
    file.write_text("id,title,body\n1,T,x\n")
    (tmp_path / "x.jsonl").write_text(jsonl([{"id": "1", "title": "T"}]))
    for each in (file, tmp_path / "x.jsonl"):
        assert list(Passages(each, Columns(text="title"))) == [("1", "T")]
    file.write_text("key,head,body,more\n1,T,x,y\n")
    with pytest.raises(ValueError, match=r"`id_column` 'nope' is not there, only key, head"):
        list(Passages(file, Columns(id="nope")))
    file.write_text("q,r\n1,2\n")
    with pytest.raises(ValueError, match="which of q, r is the text"):
        list(Passages(file))


BAD = {
    '{"_id": "\\ud800", "text": "x"}': "not Unicode",
    '{"_id": "a\\u0000", "text": "x"}': "a NUL, a tab or a line break",
    '{"_id": "a\\tb", "text": "x"}': "a NUL, a tab or a line break",
    '{"_id": "", "text": "x"}': "the id is empty",
    '{"text": "x"}': "the id is missing, in '_id'",
    '{"_id": 1.5, "text": "x"}': "the id must be a string or an integer, got 1.5",
    '{"_id": true, "text": "x"}': "the id must be",
    '{"_id": "a", "text": "\\udfff"}': "lone surrogate",
    '{"_id": "a", "text": ""}': "the text is empty",
    '{"_id": "a", "title": "", "text": "  "}': "the text is empty",
    '{"_id": "a", "text": 7}': "the text must be a string, got 7",
    '{"_id": "a", "title": [], "text": "x"}': "the title must be",
    '{"_id": "a"}': "the text must be a string, got nothing",
    '{"_id": "a", "text": "x"': "line: not JSON",
    "[1]": "not a JSON object",
    "[" * 100_000: "nested too deeply|not JSON",
}


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_a_bad_row_is_named_by_its_line_or_left_out(tmp_path, line):
    file = tmp_path / "x.jsonl"
    good = json.dumps({"_id": "z", "text": "fine"})
    file.write_text(f"{good}\n{line}\n{good.replace('z', 'y')}\n")
    with pytest.raises(ValueError, match=rf"x\.jsonl, line 2: .*({BAD[line]}).*`skip_bad_rows`"):
        list(Passages(file))
    passages = Passages(file, skip_bad_rows=True)
    assert ([p.id for p in passages], passages.skipped) == (["z", "y"], 1)


def test_an_id_that_comes_twice_is_named(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"_id": i, "text": "t"}) + "\n" for i in "abcb"))
    with pytest.raises(ValueError, match="the id 'b' comes a second time, as passage 4"):
        Passages(file).check()


def not_utf8():
    """A Parquet file with a string that is none."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a"], "text": ["Ab" * 9]}), sink, compression="none")
    return sink.getvalue().to_pybytes().replace(b"Ab" * 9, b"\xbc" * 18)


def broken(kind):
    return {
        "latin.parquet": not_utf8(),
        "cut.parquet": b"PAR1" + bytes(50),
        "latin.csv": "id,text\n1,café\n".encode("latin-1"),
        "ragged.csv": b"id,text\n1,a,b\n",
        "semicolon.csv": b"id;text\n1;a\n",
        "quote.csv": b'id,text\n1,"open\n',
        "cut.jsonl.gz": gzip.compress(b'{"_id": "a", "text": "x"}\n' * 99)[:-9],
        "latin.jsonl": '{"_id": "a", "text": "é"}\n'.encode("latin-1"),
        "empty.jsonl": b"",
        "empty.csv": b"",
        "x.docx": b"PK",
    }[kind]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.parquet", "not a whole Parquet file"),
        ("latin.parquet", "not a whole Parquet file"),
        ("latin.csv", "not UTF-8"),
        ("ragged.csv", "line 2: 3 fields under 2 columns"),
        ("semicolon.csv", "must have fields parted by ',', not ';'"),
        ("quote.csv", "line 2"),
        ("cut.jsonl.gz", "not a complete gzip file"),
        ("latin.jsonl", "line 1: not UTF-8"),
        ("empty.jsonl", "is empty"),
        ("empty.csv", "is empty"),
        ("x.docx", "must end in one of .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path, name, message):
    (tmp_path / name).write_bytes(broken(name))
    with pytest.raises(ValueError, match=message) as caught:
        Passages(tmp_path / name).check()
    assert name in str(caught.value)


@pytest.mark.parametrize("source", [3, b"bytes", iter(["x"])])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(TypeError, match="`source` must be a path"):
        list(Passages(source))


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no corpus\.jsonl"):
        Passages(tmp_path).check()
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nope\.csv"):
        Passages(tmp_path / "nope.csv").check()


def test_a_beir_folder_joins_titles_as_collections_do(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(jsonl(CORPUS))
    assert dict(Passages(tmp_path))["d1"] == "Qubits The qubit is a state."
