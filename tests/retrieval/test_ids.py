"""Ids mean the same in every file and at every door, and what no file can carry is refused."""

import csv
import json
import string
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpsheads.retrieval import (
    Collection,
    Passages,
    evaluate,
    load_collection,
    load_triples,
    read_run,
    write_run,
    write_triples,
)

BAD = {"": "empty", " ": "empty", "a\0": "NUL", "a\tb": "tab", "a\nb": "line", "a\rb": "line"}
BAD |= {"\ud800": "Unicode", "a\udfff": "Unicode"}
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
ids |= st.text(string.punctuation + " \xa0\u2028\x85\x1c\v", min_size=1, max_size=4)
ids = ids.filter(lambda text: text.strip() and not set(text) & set("\0\t\n\r"))


def write_folder(folder, query_id, doc_id):
    """A collection whose judgments Python's `csv` wrote."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, identifier in (("queries", query_id), ("corpus", doc_id)):
        line = json.dumps({"_id": identifier, "text": "x"}) + "\n"
        (folder / f"{name}.jsonl").write_text(line)
    with (folder / "qrels" / "test.tsv").open("w", newline="", errors="surrogatepass") as file:
        rows = csv.writer(file, "excel-tab")
        rows.writerows([("query-id", "corpus-id", "score"), (query_id, doc_id, 1)])


@given(ids, ids)
@example('say "hi"', '"')
@example(" q ", "d ")
@example("a\xa0b", "a\u2028b")
def test_an_id_is_the_same_in_every_file(tmp_path_factory, query_id, doc_id):
    folder = tmp_path_factory.mktemp("ids")
    write_folder(folder, query_id, doc_id)
    collection = load_collection(folder)
    run = {query_id: {doc_id: 1.0, "other": 0.0}}
    assert collection.qrels == {query_id: {doc_id: 1}}
    assert evaluate(run, collection.qrels, ["nDCG@10"]).mean["nDCG@10"] == 1.0
    assert [passage.id for passage in Passages(folder)] == [doc_id]
    write_triples([(query_id, doc_id, "other")], folder / "t.tsv")
    assert list(load_triples(folder / "t.tsv")) == [(query_id, doc_id, "other")]
    blank = set(query_id + doc_id) & set(" \v\f")
    if not blank:
        write_run(run, folder / "run")
        assert read_run(folder / "run")[query_id].keys() == run[query_id].keys()
    else:
        with pytest.raises(ValueError, match="holds a blank"):
            write_run(run, folder / "run")


def of_file(name, text, read):
    """A reader of a file with an id in it."""

    def check(folder, bad):
        file = folder / name
        file.write_text(text.replace("ID", bad), errors="surrogatepass")
        list(read(file))

    return check


def of_json(folder, bad):
    (folder / "x.jsonl").write_text(json.dumps({"_id": bad, "text": "x"}))
    list(Passages(folder / "x.jsonl"))


def of_folder(where, folder, bad):
    write_folder(folder, *((bad, "d") if where == "query" else ("q", bad)))
    load_collection(folder)


FILES = {
    "run": of_file("x.trec", "q Q0 ID 1 1 x\n", read_run),
    "triples": of_file("x.tsv", "q\tID\td\n", load_triples),
    "jsonl": of_json,
    "corpus": partial(of_folder, "document"),
    "queries": partial(of_folder, "query"),
    "csv": of_file("x.csv", 'id,text\n"ID",x\n', Passages),
}
CALLS = {
    "`run`: the query id": lambda bad: evaluate({bad: {"d": 1.0}}, {"q": {"d": 1}}),
    "`run`: the document id": lambda bad: evaluate({"q": {bad: 1.0}}, {"q": {"d": 1}}),
    "`qrels`: the query id": lambda bad: evaluate({}, {bad: {"d": 1}}),
    "`qrels`: the document id": lambda bad: evaluate({}, {"q": {bad: 1}}),
    "`queries`": lambda bad: Collection("x", {}, {bad: "text"}, {}),
    "`documents`": lambda bad: Collection("x", {bad: "text"}, {}, {}),
    "`qrels`: the document": lambda bad: Collection("x", {}, {}, {"q": {bad: 1}}),
}


@pytest.mark.parametrize("bad", BAD, ids=ascii)
@pytest.mark.parametrize("kind", FILES)
def test_an_id_that_no_file_can_carry_is_named_with_its_file(tmp_path, kind, bad):
    with pytest.raises(ValueError, match=r"line|Unicode|UTF-8|empty") as caught:
        FILES[kind](tmp_path, bad)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("place", CALLS)
@pytest.mark.parametrize("bad", [*BAD, 3, None, b"d"], ids=ascii)
def test_an_id_that_no_file_can_carry_is_refused_by_functions(place, bad):
    error, match = (ValueError, BAD[bad]) if isinstance(bad, str) else (TypeError, "a string")
    with pytest.raises(error, match=match) as caught:
        CALLS[place](bad)
    assert place in str(caught.value)


@pytest.mark.parametrize("grade", [0.4, 0.9, 65_536, -65_536, 2 * 10**9, 10**20, float("nan"), "1"])
def test_a_grade_that_is_cut_or_takes_gigabytes_is_refused(grade, tmp_path):
    with pytest.raises(ValueError, match="must be an integer from -65,535 to 65,535, got"):
        evaluate({}, {"q": {"d": grade}})
    write_folder(tmp_path, "q", "d")
    file = tmp_path / "qrels" / "test.tsv"
    if grade != "1":
        file.write_text(f"q\td\t{grade}\n")
        with pytest.raises(ValueError, match=r"test\.tsv, line 1: the score must be an integer"):
            load_collection(tmp_path)


def test_whole_grades_are_taken_whatever_their_type():
    import numpy as np

    for grade in (2, 2.0, np.int64(2), np.float32(2), True):
        assert evaluate({"q": {"d": 1.0}}, {"q": {"d": grade}}, ["AP"]).mean["AP"] == 1.0


def test_vectors_without_ids_are_in_the_order_of_the_file_of_queries(tmp_path):
    import numpy as np

    from mpsheads.retrieval import embed

    names = [f"n{i}" for i in range(5)]
    for kind in ("queries", "corpus"):
        lines = [json.dumps({"_id": name, "text": name}) for name in names]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(lines))
    (tmp_path / "qrels").mkdir()
    judged = [f"{name}\t{name}\t1\n" for name in reversed(names)]
    (tmp_path / "qrels" / "test.tsv").write_text("".join(judged))
    np.save(tmp_path / "x.npy", np.eye(5, dtype=np.float32))
    files = dict.fromkeys(("query_vectors", "document_vectors"), tmp_path / "x.npy")
    embedded = embed(load_collection(tmp_path), None, **files)
    assert embedded.query_ids == names
    assert bool((embedded.queries.argmax(1) == embedded.documents.argmax(1)).all())
