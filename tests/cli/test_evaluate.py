import json
import os
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from mpsheads.cli.output import probability
from mpsheads.heads import DenseHead, MPSProjectionHead, make_head
from mpsheads.retrieval import (
    Encoder,
    embed,
    evaluate,
    load_collection,
    load_vectors,
    read_run,
    save_vectors,
)
from tests.cli.conftest import FEATURES, gzipped

HEADS = ["--head", "mps", "--head", "pca:16", "--head", "truncation:6"]


def test_without_a_head_the_uncompressed_cosine_is_measured(command, data, vectors, beir):
    report = command("evaluate", *data, "--json").json
    collection = load_collection(beir, "test")
    files = {"query_vectors": vectors["both"], "document_vectors": vectors["both"]}
    run = embed(collection, None, **files).rank()
    expected = evaluate(run, collection.qrels).mean
    (row,) = report["results"]
    assert {name: values["mean"] for name, values in row["measures"].items()} == expected
    assert 0 < expected["nDCG@10"] < 1
    assert (report["queries"], report["documents"], report["encoder"]) == (10, 60, None)
    assert (row["head"], row["parameters"], row["bytes_per_vector"]) == (None, 0, 192)
    assert (row["difference"], row["p_value"], report["baseline"]) == (None, None, "uncompressed")
    low, high = row["measures"]["nDCG@10"]["interval"]
    assert low <= expected["nDCG@10"] <= high


def test_the_table_shows_each_measure_with_its_interval(command, data):
    options = ["--measure", "nDCG@10", "--measure", "RR(rel=1)@5"]
    ran = command("evaluate", *data, *options)
    assert ran.code == 0
    assert "nDCG@10" in ran.out
    assert "RR(rel=1)@5" in ran.out
    assert "tiny/test, 10 queries, 60 documents, pool all" in ran.out


@pytest.mark.parametrize("pool", ["judged", "pool.trec", "runs/inside.trec"])
def test_only_the_pool_is_ranked(command, data, beir, pool):
    lines = "".join(f"q{i} Q0 d{i + j} 1 {9 - j} x\n" for i in range(30, 40) for j in range(3))
    (beir / "runs").mkdir()
    (beir / "runs" / "inside.trec").write_text(lines)
    Path("pool.trec").write_text(lines)
    options = ["--dataset", f"{beir}@{pool}", "--run-output", "out/run.trec.gz", "--json"]
    report = command("evaluate", *data, *options).json
    run = read_run("out/run.trec.gz")
    expected = {"d30", "d37"} if pool == "judged" else {"d30", "d31", "d32"}
    assert set(run["q30"]) == expected
    assert report["documents"] == (17 if pool == "judged" else 12)
    assert len(run) == 10


def test_only_the_documents_of_the_pool_are_encoded(command, beir, model_folder, monkeypatch):
    encoded = []
    encode = Encoder.encode

    def counted(self, texts, **options):
        encoded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", counted)
    arguments = ["evaluate", "--encoder", model_folder, "--query-prefix", "the ", "--dataset"]
    report = command(*arguments, f"{beir}@judged", "--json").json
    assert len(encoded) == 10 + 17
    assert report["encoder"] == str(model_folder)
    assert command(*arguments, f"{beir}:test@judged", "--json").json == report
    assert len(encoded) == 27  # the second run reads the cache
    command(*arguments, beir)
    assert len(encoded) == 10 + 60


def test_every_head_has_a_row_with_size_intervals_and_a_test(command, data):
    options = [*HEADS, "--plot", "p/plot.png", "--json"]
    report = command("evaluate", *data, *options).json
    rows = {row["label"]: row for row in report["results"]}
    assert list(rows) == ["uncompressed", *HEADS[1::2]]
    assert [row["bytes_per_vector"] for row in rows.values()] == [192, 64, 64, 24]
    base = rows.pop("uncompressed")
    for row in rows.values():
        mean = row["measures"]["nDCG@10"]["mean"]
        assert row["difference"] == pytest.approx(mean - base["measures"]["nDCG@10"]["mean"])
        assert row["p_value"] <= row["p_value_holm"] <= 1
    assert imread("p/plot.png").ndim == 3


def test_another_baseline_and_measure_can_be_named(command, data):
    options = ["--baseline", "pca:16", "--measure", "RR@10", "--json"]
    report = command("evaluate", *data, *HEADS, *options).json
    differences = {row["label"]: row["difference"] for row in report["results"]}
    assert differences["pca:16"] is None
    assert differences["uncompressed"] is not None
    assert list(report["results"][0]["measures"]) == ["RR@10"]


@pytest.mark.parametrize("width", [80, 110])
def test_the_table_is_not_cut(command, data, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    out = command("evaluate", *data, *HEADS).out
    assert "…" not in out
    for text in ("uncompressed", "truncation:6", "nDCG@10", "R@100", "Holm"):
        assert text in out
    assert max(map(len, out.splitlines())) <= width


def test_rows_without_ids_are_in_the_order_of_the_collection(command, data, beir, vectors):
    with_ids = command("evaluate", *data, "--json").json
    plain = ["--query-vectors", vectors["test_queries"], "--document-vectors", vectors["documents"]]
    report = command("evaluate", "--dataset", beir, *plain, "--json").json
    assert report == with_ids


def test_a_saved_head_and_new_ones_can_be_named(command, data):
    head = DenseHead(FEATURES, 8, generator=torch.Generator().manual_seed(3))
    head.save_pretrained("my-head")
    sizes = {"my-head": 8, "mps": 16, "reference:12": 12, "dense": 16, "pca:5": 5}
    named = [word for name in sizes for word in ("--head", name)]
    _, saved, *new = command("evaluate", *data, *named, "--json").json["results"]
    assert (saved["head"], saved["parameters"], saved["bytes_per_vector"]) == ("dense", 392, 32)
    found = [(row["head"], row["out_features"]) for row in new]
    assert found == [(name.split(":")[0], size) for name, size in sizes.items()][1:]


def test_new_heads_are_fitted_to_the_documents(command, data, vectors):
    row = command("evaluate", *data, "--head", "mps:16", "--json").json
    documents, _ = load_vectors(vectors["both"], name="documents")
    head = make_head("mps:16", FEATURES, documents=documents)
    command("encode", "--dataset", vectors["both"], "--head", "mps:16", "--output", "o.npy")
    with torch.no_grad():
        torch.testing.assert_close(load_vectors("o.npy")[0], head(documents))
    assert row["results"][1]["head"] == "mps"


def test_the_seed_decides_a_new_head(command, data):
    run = ["evaluate", *data, "--head", "dense:4", "--json", "--seed"]
    first, again, other = (command(*run, seed).json["results"][1] for seed in (1, 1, 2))
    assert first == again
    assert first["measures"] != other["measures"]


@pytest.mark.slow
def test_an_ir_datasets_id_works_as_a_folder_does(command, tmp_path, model_folder):
    import ir_datasets

    (tmp_path / "docs.tsv").write_text("d1\ttensor network\nd2\tquantum gate\nd3\tthe head\n")
    (tmp_path / "queries.tsv").write_text("q1\tquantum gate\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d2 1\n")
    dataset = ir_datasets.create_dataset(
        docs_tsv=str(tmp_path / "docs.tsv"),
        queries_tsv=str(tmp_path / "queries.tsv"),
        qrels_trec=str(tmp_path / "qrels.txt"),
    )
    name = f"mpsheads-cli-{os.getpid()}"
    if name not in ir_datasets.registry:
        ir_datasets.registry.register(name, dataset)
    report = command("evaluate", "--dataset", name, "--encoder", model_folder, "--json").json
    assert report["results"][0]["measures"]["nDCG@10"]["mean"] == 1.0
    assert report["documents"] == 3


def test_a_gzipped_folder_works_as_a_plain_one_does(command, data, beir):
    plain = command("evaluate", *data, "--json").json
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        gzipped(beir / name)
    assert command("evaluate", *data, "--json").json == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "../tiny:dl19"], r"`split` 'dl19' is not one of those of .*: test, train"),
        (["--dataset", "../tiny@nosuch.trec"], r"`pool` 'nosuch.trec' is neither"),
        (["--measure", "GCD"], r"`--measure` holds 'GCD'"),
        (["--head", "nosuch"], r"'nosuch' is not a folder.* New heads are"),
        (
            ["--head", "reference:7"],
            r"`out_features` must divide .* 48, got 7",
        ),
        (["--head", "mps:x"], r"must end in a number"),
        (["--head", "pca:60"], r"`out_features` must not exceed"),
        (["--device", "nosuch"], r"`--device` 'nosuch' is not to be had"),
        (["--top-k", "0", "--measure", "AP"], r"`--top-k` must be at least 1,"),
        (["--top-k", "99"], r"`--top-k` must be at least the cut of .* R@100, got 99"),
        (["--plot", "plot.png"], r"`--plot` needs at least one `--head`"),
        ([*HEADS, "--plot", "plot.doc"], r"must end in one of"),
        ([*HEADS, "--run-output", "run"], r"`--run-output` takes .* got 3"),
        ([*HEADS, "--baseline", "best"], r"'best' is not a folder"),
        (["--head"], r"--head.* requires an argument"),
        (["--split", "test"], r"No such option.*mpsheads evaluate --help"),
        (["--seed", "x"], r"Invalid value for '--seed'"),
    ],
)
def test_bad_usage_is_one_line_that_names_the_flag(fails, data, options, message):
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(fails("evaluate", *data, *options))


def test_a_head_of_another_width_is_refused(fails, data):
    MPSProjectionHead(96, 32).save_pretrained("wide")
    line = fails("evaluate", *data, "--head", "wide")
    assert "`--head` 'wide' takes embeddings of 96 numbers, but these have 48" in line


def test_vectors_that_do_not_fit_are_refused(fails, beir, vectors):
    options = ["evaluate", "--dataset", beir]
    files = ["--query-vectors", vectors["both"], "--document-vectors", vectors["test_queries"]]
    assert "holds 10 rows, but the collection has 60 texts of this kind" in fails(*options, *files)
    files = ["--query-vectors", vectors["both"], "--document-vectors", "nosuch.npy"]
    assert "There is no file of vectors nosuch.npy" in fails(*options, *files)


def test_a_dataset_must_be_named_and_exist(fails):
    assert "Give `--dataset`" in fails("evaluate")
    assert "`--dataset` './nosuch' is not a folder" in fails("evaluate", "--dataset", "./nosuch")
    assert "nosuch-id" in fails("evaluate", "--dataset", "nosuch-id")


def test_json_goes_to_stdout_alone(command, data):
    ran = command("evaluate", *data, "--json")
    assert json.loads(ran.out)
    assert ran.err == ""


def test_a_small_probability_is_not_rounded_to_nothing():
    shown = [probability(p) for p in (None, 0.25, 1e-4, 9.999e-05, 0.00041)]
    assert shown == ["–", "0.250", "0.0001", "0.0001", "0.0005"]


def test_a_document_with_the_id_of_its_query_is_told(command, beir, vectors):
    rows = (beir / "corpus.jsonl").read_text().replace('"d30"', '"q30"')
    (beir / "corpus.jsonl").write_text(rows)
    x = {name: load_vectors(vectors["both"], name=name) for name in ("queries", "documents")}
    ids = {name: [i.replace("d30", "q30") for i in ids] for name, (_, ids) in x.items()}
    save_vectors("x.safetensors", ids=ids, **{name: z for name, (z, _) in x.items()})
    given = ["evaluate", "--dataset", str(beir), "--run-output", "run"]
    given += ["--query-vectors", "x.safetensors", "--document-vectors", "x.safetensors"]
    ran = command(*given)
    assert "For 1 queries the document of the same id is not ranked, as in BEIR" in ran.out
    assert "q30" not in read_run("run")["q30"]
    assert "as in BEIR" not in command(*given, "--keep-identical-ids").out
    assert "q30" in read_run("run")["q30"]


def test_the_run_is_that_of_the_head_whatever_the_baseline_and_its_folder(command, data):
    MPSProjectionHead(FEATURES, 16).save_pretrained("my heads/one")
    MPSProjectionHead(FEATURES, 16).save_pretrained("my heads/a head")
    options = ["--baseline", "truncation:6", "--run-output"]
    for folder, tag in {"my heads/one/": "one", "my heads/a head": "a-head"}.items():
        assert command("evaluate", *data, "--head", folder, *options, "a").code == 0
        assert command("evaluate", *data, "--head", folder, "--run-output", "b").code == 0
        assert Path("a").read_text() == Path("b").read_text()
        assert Path("a").read_text().split("\n")[0].endswith(f" 1 59 {tag}")
