import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import training
from mpsheads.heads import DenseHead, MPSProjectionHead, load_head

QUICK = ["--epochs", "2", "--batch-size", "8"]


def weights(folder):
    return load_head(folder).state_dict()


@pytest.mark.slow
def test_a_head_is_trained_validated_and_saved(command, data):
    ran = command("train", *data, *QUICK, "--head", "mps:16")
    assert ran.code == 0
    assert "saved in trained-head" in ran.out
    assert "mps head" in ran.out
    files = {file.name for file in Path("trained-head").iterdir()}
    assert files == {"config.json", "model.safetensors", "metrics.jsonl", "checkpoint.pt"}
    head = MPSProjectionHead.from_pretrained("trained-head")
    assert (head.in_features, head.out_features) == (48, 16)
    assert not torch.equal(head.angles, MPSProjectionHead(48, 16).angles)
    evaluated = command("evaluate", *data, "--head", "trained-head", "--json")
    assert evaluated.json["results"][1]["head"] == "mps"


def test_codes_are_trained_through_and_searched(command, data):
    options = ["--head", "codes:8", "--json"]
    report = command("train", *data, *QUICK, *options).json
    assert report["bytes_per_vector"] == 8
    heads = ["--head", "trained-head", "--head", "codes:12"]
    rows = command("evaluate", *data, *heads, "--json").json["results"]
    assert [row["bytes_per_vector"] for row in rows] == [192, 8, 12]


def test_the_report_says_what_was_trained_on_what(command, data):
    options = ["--head", "dense:8", "--learning-rate", "0.01", "--json"]
    report = command("train", *data, *QUICK, *options, "--output", "out/dense").json
    assert report["dataset"] == "tiny/train"  # the split train goes before test here
    assert report["pairs"] == 27  # three of thirty are held out
    assert report["validation"]["on"] == "3 held-out queries"
    assert 0 <= report["validation"]["uncompressed"] <= 1
    assert report["validation"]["best"] == max(line["validation"] for line in report["history"])
    assert [line["epoch"] for line in report["history"]] == [1, 2]
    assert json.loads(Path("out/dense/config.json").read_text())["head"] == "dense"


@pytest.mark.slow
def test_the_seed_decides_everything(command, data):
    for folder, seed in {"a": 1, "b": 1, "c": 2}.items():
        command("train", *data, *QUICK, "--output", folder, "--seed", seed)
    assert_close(weights("a"), weights("b"), rtol=0, atol=0)
    assert not torch.equal(weights("a")["angles"], weights("c")["angles"])


@pytest.mark.slow
def test_validation_takes_the_split_dev_if_there_is_one(command, beir, model_folder):
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "dev.tsv")
    options = ["--dataset", beir, "--encoder", model_folder, *QUICK, "--json"]
    report = command("train", *options).json
    assert report["validation"]["on"] == "tiny/dev"
    assert report["pairs"] == 30
    report = command("train", *options, "--output", "b", "--validation", f"{beir}:train").json
    assert report["validation"]["on"] == "tiny/train"


@pytest.mark.slow
def test_validation_takes_another_split_and_pool(command, data, beir):
    options = ["train", *data, *QUICK, "--json", "--validation"]
    every = command(*options, f"{beir}:test", "--output", "a").json
    few = command(*options, f"{beir}:test@judged", "--output", "b").json
    assert every["validation"]["on"] == few["validation"]["on"] == "tiny/test"
    # two judged documents a query are easier than the seventeen judged ones together
    assert few["validation"]["uncompressed"] > every["validation"]["uncompressed"]


def test_a_saved_head_is_trained_on(command, data):
    before = DenseHead(48, 8)
    before.save_pretrained("start")
    command("train", *data, *QUICK, "--head", "start")
    after = DenseHead.from_pretrained("trained-head")
    change = (after.linear.weight - before.linear.weight).abs().max()
    assert 0 < change < 0.1


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_weights(command, data, monkeypatch):
    options = ["train", *data, "--epochs", "3", "--batch-size", "8", "--output"]
    command(*options, "whole")

    def interrupted(*given):
        validate, calls = training.validation.ranking_validation(*given), []

        def score(head):
            calls.append(head)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return validate(head)

        return score

    with monkeypatch.context() as patch:
        patch.setattr(training, "ranking_validation", interrupted)
        assert command(*options, "cut").code == 130
    assert command(*options, "cut", "--resume").code == 0
    assert_close(weights("cut"), weights("whole"), rtol=0, atol=0)


def test_hard_negatives_are_mined_from_the_pool(command, data, beir):
    options = ["--hard-negatives", "2", "--dataset", f"{beir}@all", "--loss", "contrastive"]
    assert command("train", *data, *QUICK, *options).code == 0


def test_judgments_of_documents_that_are_not_there_are_passed_over(command, beir, data):
    with (beir / "qrels" / "train.tsv").open("a") as file:
        file.write("q0\tgone\t1\n")
    assert command("train", *data, *QUICK).code == 0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", None, r"corpus\.jsonl is missing"),
        ("qrels/train.tsv", "", r"qrels/train\.tsv is empty"),
        (
            "corpus.jsonl",
            '{"_id": "d0"}\n',
            r"corpus\.jsonl, line 1: the text must be a string, got nothing",
        ),
        ("queries.jsonl", "{broken\n", r"queries\.jsonl, line 1: the line: not JSON"),
        (
            "qrels/train.tsv",
            "query-id\tcorpus-id\tscore\nq0\td0\tmuch\n",
            r"train\.tsv, line 2: the score",
        ),
        ("corpus.jsonl.gz", "no gzip", r"corpus\.jsonl\.gz"),
    ],
)
def test_what_is_malformed_is_named_and_leaves_nothing(fails, beir, data, file, content, message):
    (beir / file.removesuffix(".gz")).unlink()
    if content is not None:
        (beir / file).write_text(content)
    line = fails("train", *data, *QUICK)
    assert re.search(message, line), line
    assert not list(Path.cwd().iterdir())


def test_vectors_that_are_not_finite_are_named(fails, beir, vectors):
    documents = np.load(vectors["documents"])
    documents[4, 2] = np.nan
    np.save(vectors["documents"], documents)
    files = ["--query-vectors", vectors["both"], "--document-vectors", vectors["documents"]]
    line = fails("train", "--dataset", beir, *files, *QUICK)
    assert "row 4 holds NaN" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--head", "pca"], "`--head` pca has nothing to train. Use mps, reference or dense."),
        (["--head", "mps:49"], "49 needs 49 kept qubits"),
        (["--depth", "0"], "`--depth` must be at least 1, got 0"),
        (["--bond-dim", "0"], "`--bond-dim` must be at least 1"),
        (["--epochs", "0"], "`--epochs` must be at least 1, got 0"),
        (["--loss", "hinge"], '`--loss` must be one of "both"'),
        (["--learning-rate", "-1"], "`--learning-rate` must be a positive finite number"),
        (["--validation", "./nosuch:dev"], "is not a folder"),
    ],
)
def test_bad_settings_are_named_and_leave_nothing(fails, data, options, message):
    assert message in fails("train", *data, *options)
    assert not list(Path.cwd().iterdir())


def test_a_head_of_another_width_is_refused_before_anything_is_encoded(fails, beir, model_folder):
    MPSProjectionHead(96, 32).save_pretrained("wide")
    options = ["--dataset", beir, "--encoder", model_folder, "--head", "wide"]
    assert "takes embeddings of 96 numbers, but these have 48" in fails("train", *options)
    assert [entry.name for entry in Path.cwd().iterdir()] == ["wide"]


def test_a_finished_run_is_not_overwritten(command, fails, data):
    command("train", *data, *QUICK)
    before = Path("trained-head/model.safetensors").read_bytes()
    line = fails("train", *data, *QUICK, "--seed", "5")
    assert "`--output` 'trained-head' holds a run already. Continue it with `--resume`" in line
    line = fails("train", *data, *QUICK, "--seed", "5", "--resume")
    assert "another setting `--seed`: 0 then, 5 now" in line
    assert Path("trained-head/model.safetensors").read_bytes() == before


def test_too_few_queries_to_hold_some_out_is_an_error(fails, beir, data):
    (beir / "qrels" / "test.tsv").unlink()
    rows = "".join(f"q{i}\td{i}\t{int(i < 3)}\n" for i in range(40))
    (beir / "qrels" / "train.tsv").write_text(rows)
    assert "only 3 queries with relevant documents" in fails("train", *data)
