"""`mpsheads reproduce` from TOML files to its report."""

import json
from pathlib import Path

import pytest

from mpsheads.experiments import key_of, read_results
from mpsheads.retrieval import Encoder
from tests.cli.conftest import gzipped


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


@pytest.mark.slow
def test_a_run_leaves_results_and_a_report_and_is_not_done_again(
    command, own, data, beir, monkeypatch
):
    whole = command("reproduce", own, *data, "--json").json
    assert whole["lines"] == 7
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
    packed = gzipped(file)
    assert command("reproduce", own, "--report-only", packed, "--json").json["lines"] == 7
    assert report.read_text() == written
    plain = command("reproduce", "--report-only", packed, "--output", "again").out
    assert "7 results in reproduction/results.jsonl.gz" in plain
    assert Path("again/report.md").read_text() == written


@pytest.mark.slow
def test_options_choose_methods_and_seeds(command, own, data):
    command("reproduce", own, *data, "--method", "mps", "--seeds", "1")
    lines = read_results(Path("reproduction/results.jsonl"))
    assert {(line["method"], line["seed"]) for line in lines} == {("mps", 0)}


def test_bad_usage_is_one_line_before_anything_is_encoded(fails, own, data, tmp_path):
    for message, options in {
        "`--method` 'mpz' is": ["--method", "mpz"],
        '`--trained` must be one of "nothing", "head", "layers"': ["--trained", "all"],
        "leave nothing to run": ["--trained", "layers", "--method", "mps"],
        "`--seeds` must be at least 1": ["--seeds", "0"],
    }.items():
        assert message in fails("reproduce", own, *data, *options)
        assert not (tmp_path / "cache").exists(), options
    assert "There is no experiment 'compresion'" in fails("reproduce", "compresion")
    assert "There is no file nosuch.jsonl" in fails("reproduce", "--report-only", "nosuch.jsonl")
    Path("empty.jsonl").touch()
    for names, kind in ([], "any kind"), (["frozen"], "frozen"):
        message = fails("reproduce", *names, "--report-only", "empty.jsonl")
        assert f"empty.jsonl holds no results of {kind}." in message
    assert not Path("reproduction").exists()


def test_results_that_cannot_be_used_are_refused_and_kept(command, fails, own, data):
    options = ["reproduce", own, *data, "--method", "uncompressed"]
    command(*options)
    assert "`--baseline` 'mpz' has no results; there are un" in fails(*options, "--baseline", "mpz")
    file = Path("reproduction/results.jsonl")
    line = json.loads(file.read_text())
    file.write_text(json.dumps({**line, "format_version": 99}) + "\n")
    for mode in ([], ["--report-only", file]):
        assert "results.jsonl, line 1" in fails(*options, *mode)
    assert json.loads(file.read_text())["format_version"] == 99
