"""`mpsheads reproduce` from TOML files to its report."""

import json
import re
from pathlib import Path

import pytest

from mpsheads.experiments import key_of, read_results
from mpsheads.retrieval import Encoder


@pytest.fixture
def own(tmp_path):
    """An experiment of three methods, of which one has seeds."""
    file = tmp_path / "own.toml"
    file.write_text("""
        training = { loss = "both", epochs = 2, batch_size = 8, hard_negatives = 2 }
        sizes = [16, 8]
        seeds = 2
        methods = [{ head = "uncompressed" }, { head = "pca" }, { head = "mps" }]
    """)
    return file


@pytest.fixture
def data(beir, model_folder):
    return ["--train", f"{beir}:train", "--test", f"{beir}:test@all", "--encoder", model_folder]


def scores(file="reproduction/results.jsonl"):
    return {key_of(line): line["scores"] for line in read_results(Path(file))}


def test_a_run_leaves_results_and_a_report_and_is_not_done_again(
    command, own, data, beir, monkeypatch
):
    whole = command("reproduce", own, *data, "--json").json
    assert (whole["lines"], whole["missing"]) == (7, [])
    file, report = Path("reproduction/results.jsonl"), Path("reproduction/report.md")
    before, written = file.read_text(), report.read_text()
    assert all(method in written for method in ("uncompressed", "pca", "mps"))
    values = scores()
    file.write_bytes(file.read_bytes()[:-40])
    assert len(scores()) == 6
    assert command("reproduce", own, *data).code == 0  # the line that was cut alone
    assert scores() == values
    file.write_text(before)
    monkeypatch.setattr(Encoder, "encode", None)
    beir.rename(beir.with_name("gone"))
    report.unlink()
    assert command("reproduce", own, *data, "--report-only", "--json").json == whole
    assert report.read_text() == written
    plain = command("reproduce", own, "--report-only").out  # other options: nothing is missing
    assert "7 results in reproduction/results.jsonl" in plain


def test_a_dry_run_says_what_is_to_do_and_encodes_nothing(command, own, data, monkeypatch):
    monkeypatch.setattr(Encoder, "encode", None)
    ran = command("reproduce", own, *data, "--dry-run")
    assert re.search(r"own +\S+ +mps +head +16, 8 +4 +4\b", ran.out)
    assert "7 to do" in ran.out
    plan = command("reproduce", own, *data, "--dry-run", "--size", "4", "--json").json["plan"]
    assert [row["to_do"] for row in plan] == [1, 1, 2]
    assert plan[2]["sizes"] == [4]
    dry = ["reproduce", *data, "--size", "8", "--seeds", "1", "--dry-run", "--json"]
    rows = command(*dry, "compression", "--trained", "layers", "--method", "mps").json["plan"]
    assert [(row["method"], row["trained"]) for row in rows] == [("mps", "layers")]
    assert not Path("reproduction").exists()


def test_options_change_sizes_bits_fractions_and_epochs(command, own, data, beir):
    few = ["--method", "mps", "--size", "12", "--seeds", "1", "--epochs", "1", "--bits", "1"]
    how = ["--by", "bm25", "--no-filter", "--output", "t.tsv", "--split", "train"]
    assert command("mine", "--dataset", beir, *how).code == 0
    options = ["--fraction", "10", "--triples", "t.tsv", "--max-triples", "100"]
    command("reproduce", own, *data, *few, *options)
    (line,) = read_results(Path("reproduction/results.jsonl"))
    assert (line["size"], line["bits"], line["bytes"], line["epoch"]) == (12, 1, 2, 1)
    assert (line["fraction"], line["pairs"]) == (10.0, 10)
    assert (line["settings"]["triples"], line["settings"]["max_triples"]) == ("t.tsv", 100)


def test_bad_usage_is_one_line_before_anything_is_encoded(fails, own, data, tmp_path):
    for message, options in {
        "There is no file of results 'reproduction/results.jsonl'": ["--report-only"],
        "`--method` 'mpz' is": ["--method", "mpz"],
        '`--trained` must be one of "nothing", "head", "layers"': ["--trained", "all"],
        "leave nothing to run": ["--trained", "layers", "--method", "mps"],
        "`--seeds` must be at least 1": ["--seeds", "0"],
        "`--epochs` must be at least 1": ["--epochs", "0"],
        "holds 49, but the embeddings have 48": ["--size", "49"],
        "either `--report-only` or `--dry-run`": ["--report-only", "--dry-run"],
    }.items():
        assert message in fails("reproduce", own, *data, *options)
        assert not (tmp_path / "cache").exists(), options
    assert "There is no experiment 'compresion'" in fails("reproduce", "compresion")
    assert "no file of triples" in fails("reproduce", own, *data, "--triples", "nosuch.tsv")
    assert not Path("reproduction").exists()


def test_results_that_cannot_be_used_are_refused_and_kept(command, fails, own, data):
    options = ["reproduce", own, *data, "--method", "uncompressed"]
    command(*options)
    assert "`--baseline` 'mpz' has no results; there are un" in fails(*options, "--baseline", "mpz")
    file = Path("reproduction/results.jsonl")
    line = json.loads(file.read_text())
    file.write_text(json.dumps({**line, "format_version": 99}) + "\n")
    for mode in ([], ["--dry-run"], ["--report-only"]):
        assert "results.jsonl, line 1" in fails(*options, *mode)
    assert json.loads(file.read_text())["format_version"] == 99
