"""BEIR folders: what is read, and what every malformed one says."""

import re
from pathlib import Path

import pytest

from mpsheads.retrieval import candidate_pool, load_collection
from tests.retrieval.tiny import CORPUS, QUERIES, BeirWriter, jsonl, tsv, write


@pytest.mark.parametrize("gz", [(), ("corpus", "queries", "test", "train"), ("corpus", "test")])
def test_a_beir_folder_loads_plain_gzipped_or_mixed(beir: BeirWriter, gz: tuple[str, ...]) -> None:
    collection = load_collection(beir(gz=gz))
    assert collection.name == "tiny/test"
    assert dict(collection.documents) == {
        "d1": "Qubits The qubit is a state.",
        "d2": "A tensor network.",
        "d3": "Search with a head.",
    }
    assert dict(collection.queries) == {"q1": "what is a qubit", "q2": "tensor network"}
    assert collection.qrels == {"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 1}}


def test_the_split_chooses_queries_and_judgments(beir: BeirWriter) -> None:
    folder = beir()
    collection = load_collection(folder, split="train")
    assert (list(collection.queries), collection.qrels) == (["q3"], {"q3": {"d3": 1}})
    write(folder / "qrels" / "test.tsv.gz", tsv([("q1", "d2", 3)]))  # the plain file wins
    assert load_collection(folder).qrels["q1"] == {"d1": 2, "d3": 0}
    for name in ("test.tsv", "test.tsv.gz"):
        write(folder / "qrels" / name, None)
    assert load_collection(folder).name == "tiny/train"  # the only split that is left


def test_windows_line_ends_blank_lines_a_byte_order_mark_and_integer_ids_are_read(
    beir: BeirWriter,
) -> None:
    folder = beir(corpus="\ufeff" + jsonl([{"_id": 1, "title": None, "text": "A B"}]) + "\n\n")
    write(
        folder / "qrels" / "test.tsv", tsv([("q1", "1", 1), ("q2", "1", 0)]).replace("\n", "\r\n")
    )
    collection = load_collection(folder)
    assert dict(collection.documents) == {"1": "A B"}
    assert collection.qrels == {"q1": {"1": 1}, "q2": {"1": 0}}


def test_judged_documents_that_the_corpus_lacks_are_tolerated_if_one_is_there(
    beir: BeirWriter,
) -> None:
    collection = load_collection(beir(test=tsv([("q1", "d1", 1), ("q1", "x", 1), ("q2", "y", 1)])))
    assert collection.qrels["q1"] == {"d1": 1, "x": 1}
    assert candidate_pool(collection, "judged") == {"q1": ["d1"], "q2": []}


def test_no_header_is_needed_and_of_several_judgments_of_a_pair_the_last_counts(
    beir: BeirWriter,
) -> None:
    collection = load_collection(beir(test="q1\td1\t1\nq2\td2\t1\nq1\td1\t3\n"))
    assert collection.qrels == {"q1": {"d1": 3}, "q2": {"d2": 1}}


MALFORMED = [
    ("corpus.jsonl", "", r"corpus\.jsonl is empty"),
    ("corpus.jsonl", "\n \n", r"corpus\.jsonl is empty"),
    (
        "corpus.jsonl",
        jsonl(CORPUS) + '{"_id": "d4", "text',
        r"corpus\.jsonl, line 4: the line: not JSON",
    ),
    ("corpus.jsonl", jsonl(CORPUS) + "[1]\n", r"corpus\.jsonl, line 4: .*object"),
    ("corpus.jsonl", jsonl([*CORPUS, CORPUS[0]]), r"line 4: \"_id\" 'd1' comes a second time"),
    ("corpus.jsonl", jsonl([{"text": "a"}]), r"corpus\.jsonl, line 1: the id is missing, in '_id'"),
    (
        "corpus.jsonl",
        jsonl([{"_id": "", "text": "a"}]),
        r"line 1: the id is empty",
    ),
    ("corpus.jsonl", jsonl([{"_id": "a"}]), r"line 1: the text must be a string, got nothing"),
    (
        "corpus.jsonl",
        jsonl([{"_id": "a", "text": [3]}]),
        r"line 1: the text must be a string, got \[3\]",
    ),
    (
        "corpus.jsonl",
        jsonl([{"_id": "a", "title": [3], "text": ""}]),
        r"the title must be a string, got \[3\]",
    ),
    ("corpus.jsonl", b'{"_id": "d1", "text": "\xff"}\n', r"corpus\.jsonl, line 1: not UTF-8"),
    ("corpus.jsonl", jsonl([{"_id": "x", "text": "a"}]), r"judges no document that .*corpus"),
    ("queries.jsonl", "", r"queries\.jsonl is empty"),
    ("queries.jsonl", jsonl([*QUERIES, QUERIES[1]]), r"queries\.jsonl, line 4: .*'q2' comes a sec"),
    ("queries.jsonl", jsonl(QUERIES[1:]), r"test\.tsv, line 2: query 'q1' is not in .*queries"),
    ("qrels/test.tsv", "", r"test\.tsv is empty"),
    ("qrels/test.tsv", tsv([]), r"test\.tsv holds no line below"),
    ("qrels/test.tsv", tsv([]) + "q1\td1\n", r"test\.tsv, line 2: must have 3 tab.*"),
    ("qrels/test.tsv", tsv([]) + "q1\t0\td1\t1\n", r"test\.tsv, line 2: must have 3 tab.*"),
    ("qrels/test.tsv", tsv([]) + "q1 d1 1\n", r"test\.tsv, line 2: must have 3 tab.*"),
    ("qrels/test.tsv", tsv([]) + "q1\td1\t1.5\n", r"line 2: the score must be an integer.*'1.5'"),
    ("qrels/test.tsv", tsv([("q8", "d1", 1)]), r"test\.tsv, line 2: query 'q8' is not in"),
]


@pytest.mark.parametrize(("name", "content", "match"), MALFORMED)
def test_a_malformed_file_is_named_with_its_line(
    beir: BeirWriter, name: str, content: str | bytes, match: str
) -> None:
    folder = beir()
    write(folder / name, content)
    with pytest.raises(ValueError, match=match) as caught:
        load_collection(folder)
    assert "\n" not in str(caught.value)


def test_a_query_without_judgments_is_left_out(beir: BeirWriter) -> None:
    folder = beir()
    write(folder / "queries.jsonl", jsonl([*QUERIES, {"_id": "q9", "text": "?"}]))
    assert "q9" not in load_collection(folder).queries


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"not gzip" + raw,
        lambda raw: raw[:10] + b"\xff\xff" + raw[12:],
        lambda raw: raw[:-5] + b"\0\0\0\0\0",
    ],
    ids=["cut short", "no gzip", "no such block", "a wrong checksum"],
)
def test_a_broken_gzip_file_is_named(beir: BeirWriter, damage) -> None:
    folder = beir(gz=("corpus",))
    file = folder / "corpus.jsonl.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=re.escape(f"{file} is not a complete gzip file")):
        load_collection(folder)


def test_what_is_missing_is_named(beir: BeirWriter) -> None:
    folder = beir()
    with pytest.raises(ValueError, match=r"`split` 'dev' is not one of those of .*: test, train"):
        load_collection(folder, split="dev")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dl19.tsv")
    with pytest.raises(ValueError, match=r"`split` None is not one of those of .*: dl19, train"):
        load_collection(folder)
    for file in (folder / "qrels").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="there are none"):
        load_collection(folder)
    write(folder / "corpus.jsonl", None)
    with pytest.raises(FileNotFoundError, match=r"corpus\.jsonl is missing, and so is corp"):
        load_collection(folder)


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`source` '.*nothing' is not a folder"):
        load_collection(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"must end in one of \.jsonl"):
        load_collection(tmp_path / "file")


PAIRS = [("why do cats purr", "they are content"), ("what is rain", "water, mostly")]
PAIRS += [("why do cats purr", "they may be ill")]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_file_of_pairs_is_a_collection(tmp_path: Path, kind: str) -> None:
    import polars

    file = tmp_path / f"mine.{kind}"
    table = polars.DataFrame({"anchor": [q for q, _ in PAIRS], "positive": [d for _, d in PAIRS]})
    (table.write_ndjson if kind == "jsonl" else getattr(table, f"write_{kind}"))(file)
    collection = load_collection(file)
    assert collection.name == "mine"
    assert list(collection.queries.values()) == ["why do cats purr", "what is rain"]
    pairs = {
        (collection.queries[query_id], collection.documents[doc_id])
        for query_id, grades in collection.qrels.items()
        for doc_id in grades
    }
    assert pairs == set(PAIRS)
    with pytest.raises(ValueError, match="is no BEIR folder"):
        load_collection(file, "test")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("query,x,y\na,b,c\n", "which of query, x, y is the text"),
        ("query,answer\na,\n", "line 2: the document must be a text, got ''"),
        ("a,answer\na,b\n", "which of a, answer is the text. Call it so"),
        ("query,answer\n", "holds no pair"),
    ],
)
def test_a_broken_file_of_pairs_is_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        load_collection(tmp_path / "x.csv")


def test_the_pool_is_all_the_judged_or_those_of_a_run(beir: BeirWriter, tmp_path: Path) -> None:
    folder = beir()
    collection = load_collection(folder)
    run = "q1 Q0 d3 1 0.5 x\nq1 Q0 d2 2 0.7 x\nq7 Q0 d9 1 1 x\n"
    write(folder / "runs" / "first.trec", run)
    write(tmp_path / "second.trec.gz", run)
    assert candidate_pool(collection, "all") is None
    assert candidate_pool(collection, "judged") == {"q1": ["d1", "d3"], "q2": ["d2"]}
    assert candidate_pool(collection, "runs/first.trec") == {"q1": ["d2", "d3"]}
    assert candidate_pool(collection, tmp_path / "second.trec.gz") == {"q1": ["d2", "d3"]}


@pytest.mark.parametrize(
    ("run", "match"),
    [
        ("q1 Q0 d9 1 0.5 x\n", "run.trec: 'd9' is not one of the documents of tiny/test"),
        ("q7 Q0 d1 1 0.5 x\n", "ranks none of the queries of tiny/test"),
        ("q1 d1 0.5\n", "run.trec, line 1: needs 6 fields.* got 3"),
        ("", "run.trec is empty"),
    ],
)
def test_a_run_that_does_not_fit_is_named(beir: BeirWriter, run: str, match: str) -> None:
    folder = beir()
    write(folder / "run.trec", run)
    with pytest.raises(ValueError, match=match):
        candidate_pool(load_collection(folder), folder / "run.trec")


def test_a_pool_that_is_no_file_is_named(beir: BeirWriter) -> None:
    with pytest.raises(FileNotFoundError, match='\'bm25\' is neither "all" nor "judged" nor the'):
        candidate_pool(load_collection(beir()), "bm25")


def test_passages_alone_ask_for_each_other(tmp_path: Path) -> None:
    file = tmp_path / "my.jsonl"
    write(file, jsonl([{"id": f"p{i}", "text": f"passage number {i}"} for i in range(31)]))
    collection = load_collection(file)
    assert (collection.name, collection.by_neighbours, collection.qrels) == ("my", True, {})
    assert len(collection.queries) == 3
    assert {**collection.queries, **collection.documents} == {
        f"p{i}": f"passage number {i}" for i in range(31)
    }
    assert load_collection(file).queries == collection.queries
    assert "3 of its passages ask" in collection.note
    write(file, jsonl([{"id": f"p{i}", "contents": f"{i}", "url": "x"} for i in range(31)]))
    assert load_collection(file).by_neighbours
    write(file, jsonl([{"id": f"p{i}", "note": f"{i}"} for i in range(31)]))
    assert load_collection(file).by_neighbours
    write(tmp_path / "notes" / "a.md", "one\n\n" * 12)
    assert len(load_collection(tmp_path / "notes").documents) == 11
    for message, call in {
        "holds passages alone": lambda: candidate_pool(collection, "judged"),
        "`split` 'test' is not there": lambda: load_collection(file, "test"),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    for message, ids in {"holds 9 passages": range(9), "'1' comes a second time": [1] * 20}.items():
        write(file, jsonl([{"id": i, "text": "x"} for i in ids]))
        with pytest.raises(ValueError, match=message):
            load_collection(file)
