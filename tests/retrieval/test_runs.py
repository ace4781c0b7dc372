"""TREC run files out and in."""

import gzip
import math
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsheads.retrieval import read_run, write_run
from mpsheads.retrieval.runs import ranking

RUN = {"q2": {"d1": 0.25, "d3": 0.5, "d2": 0.5}, "q1": {"d9": -3.5}}


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_a_run_is_written_in_the_trec_format_with_falling_scores(tmp_path: Path, name: str) -> None:
    write_run(RUN, tmp_path / "new" / name, tag="mps")
    raw = (tmp_path / "new" / name).read_bytes()
    text = (gzip.decompress(raw) if name.endswith("gz") else raw).decode()
    assert text == "q2 Q0 d3 1 2 mps\nq2 Q0 d2 2 1 mps\nq2 Q0 d1 3 0 mps\nq1 Q0 d9 1 0 mps\n"
    assert read_run(tmp_path / "new" / name) == {
        "q2": {"d3": 2.0, "d2": 1.0, "d1": 0.0},
        "q1": {"d9": 0.0},
    }
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]


ids = st.text(string.ascii_letters + string.digits + "-_:", min_size=1, max_size=4)
scores = st.floats(allow_nan=False) | st.sampled_from([0.0, 1.0, math.inf])


@given(st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=6), min_size=1))
def test_writing_and_reading_keeps_the_order(tmp_path_factory, run) -> None:
    file = tmp_path_factory.mktemp("run") / "x.trec"
    write_run(run, file)
    again = read_run(file)
    assert {q: ranking(row) for q, row in again.items()} == {q: ranking(r) for q, r in run.items()}


def test_scores_and_any_white_space_are_read(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("q1\tQ0\td1\t1\t-1.5e-3\tx\n\nq1  Q0 d2 2 inf x\r\n")
    assert read_run(tmp_path / "r") == {"q1": {"d1": -0.0015, "d2": math.inf}}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", r"run\.trec is empty"),
        ("\n\n", r"run\.trec is empty"),
        ("q1 Q0 d1 1 0.5 x\nq1 d2 0.4\n", r"run\.trec, line 2: needs 6 fields .* got 3"),
        ("q1 Q0 d1 1 high x\n", r"line 1: the score must be a number, got 'high'"),
        ("q1 Q0 d1 1 nan x\n", r"line 1: the score must be a number, got 'nan'"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 1 x\n", r"line 2: query 'q1' ranks document 'd1' twice"),
    ],
)
def test_a_malformed_run_is_named_with_its_line(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "run.trec").write_text(content)
    with pytest.raises(ValueError, match=match):
        read_run(tmp_path / "run.trec")


def test_a_run_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.trec"):
        read_run(tmp_path / "none.trec")


@pytest.mark.parametrize(
    ("run", "tag", "match"),
    [
        ({"q 1": {"d": 1.0}}, "x", "`query_id` 'q 1' cannot stand in a TREC run"),
        ({"q": {"d\t": 1.0}}, "x", "the document id 'd.*' holds a NUL, a tab"),
        ({"q": {"": 1.0}}, "x", "the document id is empty"),
        ({"q": {"d": 1.0}}, "my run", "`tag` 'my run' cannot stand"),
        ({"q": {"d": math.nan}}, "x", "The score of document 'd' is NaN"),
    ],
)
def test_what_the_format_cannot_carry_is_named_and_no_file_is_left(
    tmp_path: Path, run: dict, tag: str, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        write_run(run, tmp_path / "x.trec", tag=tag)
    assert list(tmp_path.iterdir()) == []
