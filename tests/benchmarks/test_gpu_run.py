"""The run on a card, rehearsed on a CPU with tiny problems."""

import json

import pytest
import torch

from benchmarks.gpu import parcel, run, tables
from benchmarks.gpu.report import Report
from benchmarks.gpu.training import last_layers
from tests.integrations.tiny import write_bert

pytestmark = pytest.mark.slow
TABLES = ["Limits", "Heads", "Circuits", "Codes", "Similarity", "Pairs of states"]


def test_all_tables_have_rows(tmp_path, capsys):
    run.main(["--device", "cpu", "--tiny", "--output", str(tmp_path)])
    tables = json.loads((tmp_path / "report.json").read_text())
    assert list(tables) == TABLES
    assert all(table["rows"] for table in tables.values()), tables
    text = (tmp_path / "report.md").read_text()
    assert text.strip() == capsys.readouterr().out.split("left)\n")[-1].strip()
    assert "| default head |" in text


def test_without_a_card_it_says_how_to_rehearse(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("There is a card.")
    with pytest.raises(SystemExit, match="--device cpu --tiny"):
        run.main(["--output", str(tmp_path)])


def test_a_function_that_fails_costs_its_own_row_alone():
    def broken():
        raise RuntimeError("no such kernel")

    rows = list(tables._rows({"whole": lambda: None, "broken": broken}, "whole"))
    assert rows[0]["of whole"] == 1
    assert rows[1] == {"what": "broken failed: RuntimeError: no such kernel"}


def test_a_table_that_fails_or_comes_too_late_is_said_so(tmp_path):
    report = Report(tmp_path, 60)
    report.table("Broken", lambda: [{"a": 1 / 0}])
    report.table("Whole", lambda: [{"a": 1_000_000, "b": None, "c": 0.12345}])
    report.seconds = 0
    report.table("Late", lambda: [{"a": 1}])
    text = (tmp_path / "report.md").read_text()
    assert "ZeroDivisionError" in text
    assert "| 1,000,000 |  | 0.123 |" in text
    assert "no time was left" in text


@pytest.fixture
def packed(tmp_path):
    """A parcel of a random encoder and forty pairs."""
    pairs = tmp_path / "mine.jsonl"
    rows = [{"query": f"word {i}", "positive": f"word {i} and another"} for i in range(40)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output, encoder = tmp_path / "parcel", tmp_path / "bert"
    encoder.mkdir()
    write_bert(encoder)
    parcel.main([f"--encoder={encoder}", f"--dataset={pairs}", f"--output={output}"])
    return output


def test_the_last_layers_are_trained_from_a_parcel(packed):
    rows = list(last_layers(packed, "cpu", kept=8, epochs=1))
    assert [row["head"] for row in rows] == ["default head", "ReferenceHead", "Linear + tanh"]
    assert all(0 <= row["after"] <= 1 and row["steps"] == 1 for row in rows)


def test_too_large_a_parcel_is_refused(packed, tmp_path):
    with pytest.raises(ValueError, match="fewer pairs fit"):
        parcel.pack(
            str(packed / "encoder"), str(tmp_path / "mine.jsonl"), tmp_path / "other", 10, most=1000
        )
    assert not list(tmp_path.glob("other")) + list(tmp_path.glob(".parcel*"))
    with pytest.raises(FileExistsError, match="Name a new folder"):
        parcel.pack(str(packed / "encoder"), "mine.jsonl", packed, 10)
