"""`mpsheads frontier` from a BEIR folder to its report."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from matplotlib.image import imread

from mpsheads.experiments import runs
from mpsheads.experiments.results import key_of, read_results

ROOT = Path(__file__).resolve().parents[2]
FEW = [
    "--size",
    "16",
    "--size",
    "8",
    "--method",
    "mps",
    "--method",
    "pca",
    "--method",
    "truncation",
]


@pytest.fixture
def texts(beir, model_folder):
    """The options that name the collection and a tiny encoder of 48 features."""
    return ["frontier", "--dataset", beir, "--encoder", model_folder]


@pytest.fixture
def no_train(beir):
    (beir / "qrels" / "train.tsv").unlink()


def scores(file="frontier/results.jsonl"):
    return {key_of(line): line["scores"] for line in read_results(Path(file))}


def test_every_method_is_measured_and_a_setting_recommended(command, texts):
    ran = command(*texts, "--budget", "16", "--plot", "plots/frontier.png", "--json")
    report = ran.json
    rows = {row["label"]: row for row in report["rows"]}
    assert {row["method"] for row in rows.values()} == {
        *("uncompressed", "truncation", "pca", "dense", "reference", "mps", "mps, untrained")
    }
    assert all(8 <= row["bytes"] <= 192 for row in rows.values())
    assert {row["size"] for row in rows.values() if row["method"] == "mps"} == {48, 24, 16, 8, 4}
    assert report["recommendation"]["bytes"] <= 16
    assert report["recommendation"]["label"] in rows
    assert report["tests"] == ["tiny (all)"]
    assert any("at least 256 vectors, and there are 60" in note for note in report["notes"])
    assert imread("plots/frontier.png").ndim == 3
    assert {Path(file).name for file in report["files"]} == {
        *("results.jsonl", "report.md", "frontier.svg", "frontier.png")
    }
    assert not list(Path("frontier").glob("*.running"))


def test_what_is_printed_holds_the_front_and_how_to_follow_it(command, texts):
    ran = command(*texts, "--method", "mps", "--size", "16", "--bits", "8", "--budget", "16")
    assert ran.code == 0
    assert re.search(r"^\s*mps +16 +8 +16 ", ran.out, re.MULTILINE)
    assert "Within 16 bytes take mps with 16 numbers of 8 bits" in " ".join(ran.out.split())
    line = next(line for line in ran.out.splitlines() if line.startswith("mpsheads train"))
    assert "head.quantize(z, 8)  # 16 bytes a vector" in ran.out
    assert command(*shlex.split(line)[1:]).code == 0
    assert json.loads(Path("mps-16/config.json").read_text())["out_features"] == 16


def test_an_interrupted_run_goes_on_to_the_same_results(command, texts, monkeypatch):
    command(*texts, *FEW, "--output", "whole")
    train_head, calls = runs.train_head, []

    def interrupted(*arguments, **given):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train_head(*arguments, **given)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_head", interrupted)
        assert command(*texts, *FEW, "--output", "cut").code == 130
    before = Path("cut/results.jsonl").read_text()
    assert 0 < len(scores("cut/results.jsonl")) < len(scores("whole/results.jsonl"))
    assert command(*texts, *FEW, "--output", "cut").code == 0
    assert Path("cut/results.jsonl").read_text().startswith(before)
    assert scores("cut/results.jsonl") == scores("whole/results.jsonl")
    tables = [Path(f"{name}/report.md").read_text() for name in ("cut", "whole")]
    assert tables[0] == tables[1]


def test_the_report_alone_needs_no_model_and_no_data(command, texts, beir, monkeypatch, fails):
    whole = command(*texts, *FEW, "--json").json
    monkeypatch.setattr(runs.Runner, "run", None)
    alone = ["frontier", "--report-only", "--encoder", texts[-1]]
    again = command(*alone, "--budget", "64", "--json").json
    assert again["rows"] == whole["rows"]
    fewer = command(*alone, "--method", "pca", "--json").json
    assert {row["method"] for row in fewer["rows"]} == {"uncompressed", "pca"}
    assert "there are tiny-bert" in fails("frontier", "--report-only", "--encoder", "other")
    assert "There is no file of results" in fails(*alone, "--output", "nowhere")


def test_the_example_in_python_reads_the_results(command, texts, capsys):
    recommended = command(*texts, *FEW, "--json").json["recommendation"]
    runpy.run_path(str(ROOT / "examples" / "read_a_frontier.py"))
    assert capsys.readouterr().out.splitlines()[-1] == recommended["sentence"]


def test_several_datasets_give_their_mean_and_judged_documents_can_be_ranked(command, texts, beir):
    options = ["--dataset", f"{beir}:test@judged", *FEW[:2], *FEW[4:6]]
    report = command(*texts, *options, "--json").json
    assert len(report["tests"]) == 2
    for row in report["rows"]:
        assert row["mean"] == pytest.approx(sum(row["tests"].values()) / 2)
        assert row["tests"]["tiny/test"] >= row["tests"]["tiny (all)"]


def test_without_training_what_is_fitted_to_the_documents_is_left(command, texts, no_train):
    report = command(*texts, "--untrained", "--json").json
    found = {row["method"] for row in report["rows"]}
    assert found == {"uncompressed", "truncation", "pca", "mps, untrained"}
    assert report["recommendation"]["command"] is None


@pytest.mark.parametrize(("queries", "pairs"), [(30, 27), (19, 19)])
def test_from_20_queries_on_a_tenth_is_held_out_to_choose_the_epoch(
    command, texts, beir, queries, pairs
):
    file = beir / "qrels" / "train.tsv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[: 1 + 2 * queries]))
    command(*texts, "--method", "mps", "--size", "16", "--bits", "8", "--budget", "16")
    trained = [line for line in read_results(Path("frontier/results.jsonl")) if "pairs" in line]
    assert {line["pairs"] for line in trained} == {pairs}


def test_quantisers_are_measured_and_what_they_remember_is_told(command, texts, beir):
    pytest.importorskip("faiss")
    with (beir / "corpus.jsonl").open("a") as file:
        file.writelines(f'{{"_id": "more{i}", "text": "state {i}"}}\n' for i in range(200))
    options = ["--untrained", "--method", "pq", "--method", "opq", "--size", "8", "--bits", "8"]
    report = command(*texts, *options, "--budget", "8", "--json").json
    assert {row["label"] for row in report["rows"]} == {"uncompressed 48×32", "pq 8×8", "opq 8×8"}
    assert report["recommendation"]["bytes"] == 8
    assert "pq and opq are fitted to 260 vectors" in report["notes"][0]
    again = command("frontier", "--report-only", *texts[3:], "--budget", "8", "--json").json
    assert again["notes"] == report["notes"]


def test_seeds_start_at_the_seed(command, texts):
    options = ["--method", "dense", "--size", "16", "--bits", "32", "--seeds", "2", "--seed", "5"]
    report = command(*texts, *options, "--json").json
    dense = next(row for row in report["rows"] if row["method"] == "dense")
    assert dense["sd"] is not None
    assert {key[8] for key in scores()} == {0, 5, 6}


def test_a_dataset_without_a_split_to_train_on_names_the_way_out(fails, texts, no_train):
    message = fails(*texts)
    assert "has no split train" in message
    assert "`--train`" in message
    assert "`--untrained`" in message


def test_bad_usage_is_one_line_before_anything_is_encoded(fails, texts, beir, tmp_path):
    assert "`--method` 'mpz' is not known; there are uncompressed" in fails(
        *texts, "--method", "mpz"
    )
    assert "Give `--dataset`" in fails("frontier")
    assert "Nothing fits `--budget` 4, in bytes a vector" in fails(*texts, "--budget", "4")
    assert "`--budget` must be" in fails(*texts, "--budget", "0")
    assert "`--size` must be at most the 48 numbers" in fails(*texts, "--size", "49")
    assert "`--bits` must be one of" in fails(*texts, "--bits", "3")
    assert "must end in one of" in fails(*texts, "--plot", "plot.doc")
    assert "is trained, but `--untrained`" in fails(*texts, "--untrained", "--method", "mps")
    assert "either `--train` or `--untrained`" in fails(*texts, "--untrained", "--train", beir)
    on_itself = ["frontier", "--dataset", f"{beir}:train", *texts[3:]]
    assert "is what heads are trained on" in fails(*on_itself)
    assert not Path("frontier").exists()
    assert not (tmp_path / "cache").exists()
