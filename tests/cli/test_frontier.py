"""`mpsheads frontier` from a BEIR folder to its report."""

import re
from pathlib import Path

import pytest

from mpsheads.experiments import read_results
from mpsheads.experiments.running import Runner

pytestmark = pytest.mark.slow

FEW = ["--size", "16", "--method", "mps", "--method", "pca", "--bits", "32", "--bits", "8"]


@pytest.fixture
def texts(beir, model_folder):
    """The options that name the collection and a tiny encoder of 48 features."""
    return ["frontier", "--dataset", beir, "--encoder", model_folder]


def test_every_method_is_measured_and_a_setting_recommended(command, texts):
    report = command(*texts, "--size", "16", "--budget", "16", "--json").json
    rows = {row["label"]: row for row in report["rows"]}
    assert {row["method"] for row in rows.values()} == {
        *("uncompressed", "truncation", "pca", "dense", "reference", "mps", "mps, untrained"),
        *("codes", "codes, untrained", "itq", "rabitq"),
    }
    assert all(row["bytes"] <= 192 for row in rows.values())
    assert report["recommendation"]["bytes"] <= 16
    assert report["recommendation"]["label"] in rows
    assert any("needs 256 vectors, and there are 60" in note for note in report["notes"])
    names = {"results.jsonl", "report.md", "frontier.svg"}
    assert {Path(file).name for file in report["files"]} >= names


def test_what_is_printed_holds_the_front_and_how_to_follow_it(command, texts):
    ran = command(*texts, "--method", "mps", "--size", "16", "--bits", "8", "--budget", "16")
    assert ran.code == 0
    assert re.search(r"^\s*mps 16×8 +16 ", ran.out, re.MULTILINE)
    assert "Within 16 bytes take mps with 16 numbers of 8 bits" in " ".join(ran.out.split())
    assert ran.out.count("of the uncompressed quality") == 1


def test_the_report_alone_needs_no_model_and_no_data(command, texts, monkeypatch, fails):
    whole = command(*texts, *FEW, "--seeds", "2", "--json").json
    assert {line["seed"] for line in read_results(Path("frontier/results.jsonl"))} == {0, 1}
    monkeypatch.setattr(Runner, "run", None)
    alone = ["frontier", "--report-only", "--encoder", texts[-1]]
    assert command(*alone, "--budget", "64", "--json").json["rows"] == whole["rows"]
    assert "the results are of none" in fails("frontier", "--report-only", "--encoder", "other")
    assert "There is no file nowhere" in fails(*alone, "--output", "nowhere")


def test_without_training_what_is_fitted_to_the_documents_is_left(command, fails, texts, beir):
    (beir / "qrels" / "train.tsv").unlink()
    message = fails(*texts)
    for part in ("`--train`", "`--untrained`"):
        assert part in message
    options = ["--dataset", f"{beir}:test@judged", "--untrained", "--size", "8", "--bits", "32"]
    report = command(*texts, *options, "--json").json
    methods = {row["method"] for row in report["rows"]}
    assert methods == {"uncompressed", "truncation", "pca", "rabitq", "mps, untrained"}
    assert len(report["tests"]) == 2


def test_bad_usage_is_one_line_and_leaves_nothing(fails, texts, beir):
    for message, options in {
        "got 'mpz'": ["--method", "mpz"],
        "`--budget` must be": ["--budget", "0"],
        "at most the 48 numbers": ["--size", "49"],
        "`--bits`": ["--bits", "3"],
        "leave nothing to measure": ["--untrained", "--method", "mps"],
        "`--bits` and `--untrained` leave": ["--method", "uncompressed"],
        "either `--train` or `--untrained`": ["--untrained", "--train", beir],
    }.items():
        assert message in fails(*texts, *options)
    assert "Give `--dataset`" in fails("frontier")
    on_itself = ["frontier", "--dataset", f"{beir}:train", *texts[3:]]
    assert "is what heads are trained on" in fails(*on_itself)
    assert not Path("frontier").exists()


def test_passages_alone_are_measured_by_their_neighbours(command, fails, texts, beir):
    own = ["--dataset", str(beir / "corpus.jsonl"), "--encoder", texts[-1]]
    ran = command("frontier", *own, "--untrained", "--size", "16", "--method", "pca", "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    rows = {(row["method"], row["bits"]): row["mean"] for row in report["rows"]}
    assert rows["uncompressed", 32] == 1
    assert 0 < rows["pca", 8] < 1
    assert "of its passages ask" in report["notes"][0]
    assert "of its passages ask" in command("evaluate", *own).out
    for pool in ("", "@all"):
        named = [own[0], f"{own[1]}{pool}", *own[2:]]
        assert "holds passages alone" in fails("train", *named, "--head", "codes:8")
    assert "holds passages alone" in fails("mine", *own, "--output", "negatives.tsv")
