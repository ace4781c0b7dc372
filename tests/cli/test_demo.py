import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from mpsheads import retrieval
from mpsheads.heads import MPSProjectionHead
from mpsheads.retrieval import Encoder, docstring_collection
from mpsheads.search import Index

HEADS = ["mps", "rotations", "full rotation", "reference", "dense", "dense, fitted", "pca"]
HEADS += ["truncation"]
CODES = "codes, 8 bytes"
PACKAGES = ["asyncio", "email", "logging", "unittest", "typing", "http"]


@pytest.fixture(autouse=True)
def _few_packages(monkeypatch):
    few = partial(docstring_collection, PACKAGES)
    monkeypatch.setattr(retrieval, "docstring_collection", few)
    monkeypatch.setitem(sys.modules["mpsheads.cli.demo"]._TRAINING, "epochs", 2)
    monkeypatch.setattr("mpsheads.cli.demo._TIMED", 3)


@pytest.fixture
def demo(command, model_folder):
    """Run the demo with the tiny model; further options may follow."""
    return lambda *options: command("demo", "--encoder", model_folder, "--pairs", "150", *options)


def without_times(report):
    for row in report["results"]:
        row.pop("encode_microseconds")
    return {name: value for name, value in report.items() if name != "seconds"}


@pytest.mark.slow
def test_the_demo_leaves_results_and_a_second_run_trains_nothing(demo, monkeypatch):
    report = demo("--json").json
    assert report == json.loads(Path("demo-out/results.json").read_text())
    labels = [row["label"] for row in report["results"]]
    assert labels == ["uncompressed", *(f"{head} {n}" for n in (16, 6) for head in HEADS), CODES]
    for row in report["results"]:
        low, high = row["measures"]["nDCG@10"]["interval"]
        assert low <= row["measures"]["nDCG@10"]["mean"] <= high
        assert (row["encode_microseconds"] is None) == (row["head"] is None)
    assert [row["bytes_per_vector"] for row in report["results"]] == [192] + 8 * [64] + 8 * [24] + [
        8
    ]
    assert sum(report["pairs"].values()) == 150
    files = {file.name for file in Path("demo-out").iterdir()}
    assert files == {"results.json", "quality_vs_bytes.png", "mps-8-bytes", "index"}
    index = Index.load("demo-out/index")
    assert index.codes.bytes_per_vector == 8
    assert len(index.search_texts(["open a file"], 3)[0][0]) == 3
    assert imread("demo-out/quality_vs_bytes.png").shape[2] == 4
    assert MPSProjectionHead.from_pretrained("demo-out/mps-8-bytes").bytes_per_vector == 8

    def never(*_, **__):
        raise AssertionError("done again")

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", never)
        patch.setattr(torch.optim.Adam, "step", never)
        out = demo().out
    for part in (*labels, "nDCG@10", "from_pretrained"):
        assert part in out
    assert "…" not in out
    again = json.loads(Path("demo-out/results.json").read_text())
    assert without_times(again) == without_times(report)


def test_bad_usage_is_one_line_before_any_work(fails, model_folder):
    Path("file").touch()
    options = ["demo", "--encoder", model_folder]
    assert "`--output` file is a file" in fails(*options, "--output", "file")
    assert "`--encoder` 'no/such/model' is not a folder" in fails(
        "demo", "--encoder", "no/such/model"
    )
