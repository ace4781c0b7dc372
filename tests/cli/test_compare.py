import math

import pytest
from matplotlib.image import imread

from mpsheads.cli.output import probability
from mpsheads.retrieval import holm

HEADS = ["--head", "mps", "--head", "pca:16", "--head", "truncation:6"]


def test_every_head_has_a_row_with_size_intervals_and_a_test(command, data):
    report = command("compare", *data, "--split", "test", *HEADS, "--json").json
    rows = {row["label"]: row for row in report["results"]}
    assert list(rows) == ["uncompressed", "mps", "pca:16", "truncation:6"]
    assert [row["bytes_per_vector"] for row in rows.values()] == [192, 64, 64, 24]
    assert report["baseline"] == "uncompressed"
    base = rows.pop("uncompressed")
    assert (base["difference"], base["p_value"], base["p_value_holm"]) == (None, None, None)
    for row in rows.values():
        low, high = row["measures"]["nDCG@10"]["interval"]
        mean = row["measures"]["nDCG@10"]["mean"]
        assert low <= mean <= high
        assert row["difference"] == pytest.approx(mean - base["measures"]["nDCG@10"]["mean"])
        assert row["p_value"] <= row["p_value_holm"] <= 1
    corrected = holm([row["p_value"] for row in rows.values()])
    assert [row["p_value_holm"] for row in rows.values()] == corrected


def test_a_row_agrees_with_evaluate(command, data):
    rows = command("compare", *data, "--split", "test", *HEADS, "--json").json["results"]
    alone = command("evaluate", *data, "--split", "test", "--head", "pca:16", "--json").json
    assert rows[2]["measures"] == alone["measures"]


def test_another_baseline_and_measure_can_be_named(command, data):
    options = ["--baseline", "pca:16", "--measure", "RR@10", "--json"]
    report = command("compare", *data, "--split", "test", *HEADS, *options).json
    differences = {row["label"]: row["difference"] for row in report["results"]}
    assert differences["pca:16"] is None
    assert differences["uncompressed"] is not None
    assert list(report["results"][0]["measures"]) == ["RR@10"]


@pytest.mark.parametrize("width", [80, 110])
def test_the_table_is_not_cut(command, data, width, monkeypatch):
    from mpsheads.cli import output

    monkeypatch.setattr(output, "_WIDTH", width)
    out = command("compare", *data, "--split", "test", *HEADS).out
    assert "…" not in out
    for text in ("uncompressed", "truncation:6", "nDCG@10", "R@100", "Holm"):
        assert text in out
    assert max(map(len, out.splitlines())) <= width


def test_the_picture_is_drawn_on_request(command, data):
    assert command("compare", *data, "--split", "test", *HEADS, "--plot", "p/plot.png").code == 0
    assert imread("p/plot.png").ndim == 3


def test_bad_usage_is_one_line(fails, data):
    options = ["compare", *data, "--split", "test"]
    assert "Give at least one `--head`" in fails(*options)
    assert "must end in one of" in fails(*options, *HEADS, "--plot", "plot.doc")
    assert "'best' is not a folder" in fails(*options, *HEADS, "--baseline", "best")


def test_holm_is_the_textbook_correction():
    # Holm's step-down by hand: sorted 0.01, 0.02, 0.03, 0.6 times 4, 3, 2, 1, made monotone
    assert holm([0.03, 0.01, 0.6, 0.02]) == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_small_probability_is_not_rounded_to_nothing():
    assert [probability(p) for p in (None, 0.25, 1e-4, 9.999e-05)] == ["–", "0.250"] + 2 * [
        "0.0001"
    ]
    assert math.isclose(float(probability(0.00041)), 0.0005)
