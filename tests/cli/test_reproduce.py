"""`mpsheads reproduce` from TOML files to its report."""

import json
import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

from mpsheads.cli import reproduce
from mpsheads.experiments import runs, toml_files
from mpsheads.experiments.results import key_of, read_results
from mpsheads.experiments.spec import Experiment, Method
from mpsheads.retrieval import Encoder

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["similarity", "compression", "frozen", "data-size", "epochs"]
TINY = {"epochs": "1", "batch_size": "8", "hard_negatives": "2"}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The experiments that come along, as small as the tiny encoder and collection."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for file in toml_files.experiments_folder().glob("*.toml"):
        text = file.read_text().replace("msmarco-distilbert", "unknown")
        for name, value in TINY.items():
            text = re.sub(rf"{name} = \d+", f"{name} = {value}", text)
        layers = 'trained = "layers"'
        text = text.replace(layers, f"{layers}\ntraining = {{ trainable_layers = 1 }}")
        (folder / file.name).write_text(text.replace("0.01, 0.02, 0.05, 0.1, 0.25,", ""))
    monkeypatch.setattr(toml_files, "experiments_folder", lambda: folder)


@pytest.fixture
def own(tmp_path):
    """An experiment of two methods, of which one has seeds."""
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


@pytest.fixture
def triples(command, beir):
    """Hard negatives by words: to the random encoder all texts are alike."""
    how = ["--by", "bm25", "--no-filter", "--output", "triples.tsv.gz"]
    assert command("mine", "--dataset", beir, "--split", "train", *how).code == 0
    return ["--triples", "triples.tsv.gz"]


def scores(file="reproduction/results.jsonl"):
    return {key_of(line): line["scores"] for line in read_results(Path(file))}


def test_the_five_experiments_run_and_their_report_holds_each_method(
    command, shipped, data, triples
):
    options = [*data, *triples, "--size", "16", "--seeds", "2"]
    ran = command("reproduce", *NAMES, *options, "--json")
    assert ran.code == 0
    assert ran.json["missing"] == []
    lines = read_results(Path("reproduction/results.jsonl"))
    assert ran.json["lines"] == len(lines)
    report = Path("reproduction/report.md").read_text()
    for made in toml_files.find_experiments(NAMES):
        own = [line for line in lines if line["experiment"] == made.name]
        assert {(line["method"], line["trained"]) for line in own} == {
            (method.label, method.trained) for method in made.methods
        }
        assert {line["seed"] for line in own if line["trained"] != "nothing"} == {0, 1}
        section = report[report.index(f"## {made.name}") :]
        assert all(method.label in section for method in made.methods)
    assert {line["fraction"] for line in lines if line["experiment"] == "data size"} == {0.5, 1.0}
    assert not list(Path("reproduction").glob("*.running/*"))


def test_an_interrupted_sweep_goes_on_to_the_same_results(
    command, own, data, model_folder, monkeypatch
):
    command("reproduce", own, *data, "--output", "whole")
    train_head, calls = runs.train_head, []

    def interrupted(*arguments, **given):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_head(*arguments, **given)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_head", interrupted)
        assert command("reproduce", own, *data, "--output", "cut").code == 130
    before = Path("cut/results.jsonl").read_text()
    half = command("reproduce", own, *data, "--output", "cut", "--report-only", "--json").json
    assert half["missing"] == [
        f"own, {model_folder.name}: mps at 8 numbers, 32 bit, head trained: 2 results (seeds 0, 1; "
        "tiny/test (all))"
    ]
    assert "2 of the 7 expected ones are missing" in Path("cut/report.md").read_text()
    assert command("reproduce", own, *data, "--output", "cut").code == 0
    assert Path("cut/results.jsonl").read_text().startswith(before)
    assert scores("cut/results.jsonl") == scores("whole/results.jsonl")
    tables = [
        re.sub(r"\n.*second.*", "", Path(f"{name}/report.md").read_text())
        for name in ("cut", "whole")
    ]
    assert tables[0] == tables[1]


def test_what_is_done_is_not_done_again(command, own, data, monkeypatch):
    command("reproduce", own, *data)
    before = Path("reproduction/results.jsonl").read_text()
    monkeypatch.setattr(runs, "train_head", None)
    monkeypatch.setattr(Encoder, "encode", None)
    assert command("reproduce", own, *data).code == 0
    assert Path("reproduction/results.jsonl").read_text() == before


def test_a_cut_last_line_is_measured_again(command, own, data):
    command("reproduce", own, *data)
    file, whole = Path("reproduction/results.jsonl"), scores()
    file.write_bytes(file.read_bytes()[:-40])
    assert len(scores()) == len(whole) - 1
    command("reproduce", own, *data)
    assert scores() == whole


def test_the_report_alone_reads_no_encoder_and_no_collection(command, own, data, beir, monkeypatch):
    whole = command("reproduce", own, *data, "--json").json
    written = Path("reproduction/report.md").read_text()
    monkeypatch.setattr(reproduce, "ParallelEncoder", None)
    monkeypatch.setattr(runs, "Split", None)
    beir.rename(beir.with_name("gone"))
    assert command("reproduce", own, *data, "--report-only", "--json").json == whole
    assert Path("reproduction/report.md").read_text() == written
    plain = command("reproduce", own, "--report-only", "--json").json  # other options: nothing told
    assert plain["missing"] == []
    assert plain["lines"] == whole["lines"]


def test_a_dry_run_says_what_is_to_do_and_encodes_nothing(command, own, data, monkeypatch):
    monkeypatch.setattr(Encoder, "encode", None)
    ran = command("reproduce", own, *data, "--dry-run")
    assert re.search(r"own +\S+ +mps +head +16, 8 +4 +4\b", ran.out)
    assert "7 to do" in ran.out
    plan = command("reproduce", own, *data, "--dry-run", "--size", "4", "--json").json["plan"]
    assert [row["to_do"] for row in plan] == [1, 1, 2]
    assert plan[2]["sizes"] == [4]
    assert not Path("reproduction").exists()


def test_methods_and_what_is_trained_can_be_chosen(command, shipped, data):
    dry = ["reproduce", *data, "--size", "8", "--seeds", "1", "--dry-run", "--json"]
    found = command(*dry, "--method", "mps, distilled").json["plan"]
    assert [(row["experiment"], row["method"]) for row in found] == [("frozen", "mps, distilled")]
    found = command(*dry, "compression", "--trained", "head").json["plan"]
    assert {row["trained"] for row in found} == {"nothing", "head"}
    found = command(*dry, "compression", "--trained", "layers", "--method", "mps").json["plan"]
    assert [(row["method"], row["trained"]) for row in found] == [("mps", "layers")]


def test_options_change_sizes_bits_fractions_and_epochs(command, own, data):
    few = ["--method", "mps", "--size", "12", "--seeds", "1", "--epochs", "1"]
    command("reproduce", own, *data, *few, "--bits", "32", "--bits", "1", "--fraction", "10")
    lines = read_results(Path("reproduction/results.jsonl"))
    assert [(line["size"], line["bits"], line["bytes"]) for line in lines] == [
        *((12, 32, 48), (12, 1, 2)),
    ]
    assert {(line["fraction"], line["epoch"], line["pairs"]) for line in lines} == {(10.0, 1, 10)}
    assert lines[0]["scores"] != lines[1]["scores"]
    command("reproduce", own, *data, *few, "--bits", "32", "--fraction", "0.5")
    report = Path("reproduction/report.md").read_text()
    assert re.search(r"\| mps \| 12 \| 32 \| 10 \|", report)
    assert re.search(r"\| mps \| 12 \| 32 \| 50% \|", report)


def test_a_file_of_triples_takes_the_place_of_mining(command, own, data, triples):
    options = ["--method", "mps", "--size", "8", "--seeds", "1", *triples]
    assert command("reproduce", own, *data, *options).code == 0
    assert command("reproduce", own, *data, *options, "--max-triples", "30").code == 0
    whole, few = read_results(Path("reproduction/results.jsonl"))
    assert whole["settings"]["triples"] == few["settings"]["triples"] == "triples.tsv.gz"
    assert few["settings"]["max_triples"] == 30
    assert few["pairs"] < whole["pairs"] <= 30


def test_the_experiment_of_the_page_runs_and_its_results_are_read(command, data, capsys):
    text = (ROOT / "examples" / "depth.toml").read_text()
    assert "sizes = [128, 64]" in text
    Path("depth.toml").write_text(
        text.replace("[128, 64]", "[8]").replace("seeds = 5", "seeds = 1")
    )
    options = [*data, "--fraction", "20"]  # too few for the default batch, which is cut
    assert command("reproduce", "depth.toml", *options).code == 0
    runpy.run_path(str(ROOT / "examples" / "read_an_experiment.py"))
    printed = capsys.readouterr().out.splitlines()
    for row in ("dense head 8 32 ", "mps, one layer head 8 8 ", "mps, two layers head 8 32 "):
        assert any(line.startswith(row) for line in printed)


def test_the_page_explains_every_key():
    page = (ROOT / "docs" / "how-to" / "reproduce.md").read_text()
    keys = [f.name for kind in (Experiment, Method) for f in fields(kind)]
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert set(keys) - {"settings"} <= explained
    assert set(NAMES) <= set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))


def test_encoders_of_one_name_are_refused(fails, own, data, model_folder, tmp_path):
    (tmp_path / model_folder.name).symlink_to(model_folder)
    other = ["--encoder", tmp_path / model_folder.name]
    assert "are both called" in fails("reproduce", own, *data, *other, "--dry-run")


def test_bad_usage_is_one_line_before_anything_is_encoded(fails, own, data, tmp_path, shipped):
    def told(*options):
        return fails("reproduce", own, *data, *options)

    assert "There is no file of results 'reproduction/results.jsonl'" in told("--report-only")
    assert "`--method` 'mpz' is not known; there are uncompressed; pca; mps" in told(
        "--method", "mpz"
    )
    assert '`--trained` must be one of "nothing", "head", "layers"' in told("--trained", "all")
    assert "leave nothing to run" in told("--trained", "layers", "--method", "mps")
    assert "`--seeds` must be at least 1" in told("--seeds", "0")
    assert "`--epochs` must be at least 1" in told("--epochs", "0")
    assert "`--max-triples` must be at least 1" in told("--max-triples", "0")
    assert "holds 49, but the embeddings have 48" in told("--size", "49")
    assert "must be one of" in told("--bits", "3")
    assert "parts in (0, 1] or whole numbers" in told("--fraction", "1.5")
    assert "asks for 31 training queries; tiny/train has 30" in told("--fraction", "31")
    assert "no file of triples" in told("--triples", "nosuch.tsv")
    assert "either `--report-only` or `--dry-run`" in told("--report-only", "--dry-run")
    assert "There is no experiment 'compresion'; there are compression" in fails(
        "reproduce", "compresion"
    )
    sizes = fails("reproduce", "frozen", *data, "--size", "20")
    assert "'reference' at size 20" in sizes
    assert "must divide" in sizes
    assert "There is no experiment" in fails("reproduce", "nosuch.toml")
    assert not (tmp_path / "cache").exists()
    assert not Path("reproduction").exists()


def test_a_results_file_of_another_version_is_refused_and_kept(command, fails, own, data):
    command("reproduce", own, *data, "--method", "uncompressed")
    file = Path("reproduction/results.jsonl")
    line = json.loads(file.read_text())
    file.write_text(json.dumps({**line, "format_version": 2}) + "\n")
    for options in ([], ["--dry-run"], ["--report-only"]):
        message = fails("reproduce", own, *data, *options)
        assert "written by another version" in message
        assert "results.jsonl, line 1" in message
    assert json.loads(file.read_text())["format_version"] == 2


def test_a_baseline_without_results_is_refused(command, fails, own, data):
    message = fails("reproduce", own, *data, "--method", "pca", "--size", "8", "--baseline", "mpz")
    assert "`--baseline` 'mpz' has no results; there are pca" in message
