import re
from pathlib import Path

import pytest

from mpsheads.retrieval import embed, load_collection, load_triples
from mpsheads.training import mine_triples
from tests.retrieval.tiny import IRDS_HOME

QUICK = ["--epochs", "2", "--batch-size", "8"]


def mined_in_python(beir, vectors, **options):
    files = {"query_vectors": vectors["both"], "document_vectors": vectors["both"]}
    return mine_triples(embed(load_collection(beir, "train"), None, **files), **options)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["bm25", "encoder", "both"])
def test_the_file_holds_what_the_library_mines(command, data, beir, vectors, by):
    options = ["--by", by, "--count", "3", "--margin", "0.1", "--depth", "20"]
    ran = command("mine", *data, *options, "--output", "out/triples.tsv.gz", "--json")
    assert ran.code == 0
    mined = mined_in_python(beir, vectors, by=by, count=3, margin=0.1, depth=20)
    assert list(load_triples("out/triples.tsv.gz")) == mined.triples
    report = ran.json
    assert report["dataset"] == "tiny/train"  # the split train goes before test here
    for name in ("pairs", "short_pairs", "empty_pairs", "candidates", "filtered", "mean_margin"):
        assert report[name] == getattr(mined, name)
    assert report["negatives"] == len(mined.triples) > 0
    assert (report["count"], report["margin"], report["by"]) == (3, 0.1, by)


def test_the_table_says_what_was_found_and_left_out(command, data, beir):
    options = ["--dataset", f"{beir}:test", "--by", "encoder", "--margin", "0.3", "--depth", "5"]
    out = command("mine", *data, *options, "--output", "t.tsv").out
    assert re.search(r"pairs of a query and a relevant document +10 *\n", out)
    assert re.search(r"candidates +50 *\n", out)
    for row in ("with fewer than 5 negatives", "with none, left out", "mean margin of cosine"):
        assert re.search(rf"{row} +\d", out)
    assert "written to t.tsv" in out


def test_an_encoder_embeds_the_texts(command, beir, model_folder):
    options = ["--dataset", beir, "--encoder", model_folder, "--margin", "0", "--json"]
    report = command("mine", *options, "--output", "t.tsv").json
    assert report["encoder"] == str(model_folder)
    assert report["mean_margin"] > 0


def test_a_pool_bounds_what_is_taken(command, data, beir):
    command("mine", *data, "--dataset", f"{beir}@judged", "--output", "t.tsv")
    judged = {f"d{i}" for i in range(37)}
    assert {triple.negative_id for triple in load_triples("t.tsv")} <= judged
    command("mine", *data, "--output", "t.tsv")
    assert not {triple.negative_id for triple in load_triples("t.tsv")} <= judged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "words"], '`--by` must be one of "bm25", "encoder", "both"'),
        (["--count", "0"], "`--count` must be at least 1, got 0"),
        (["--margin", "-3"], "`--margin` must lie in [-2, 2), got -3.0"),
        (["--language", "klingon"], "`--language` must be one of"),
        (["--margin", "1.9"], "No pair of tiny/train has a negative:"),
        (["--dataset", "../tiny:nosuch"], "'nosuch' is not one of"),
        (["--output", "."], "`--output` . is a folder"),
    ],
)
def test_bad_settings_are_named_and_leave_nothing(fails, data, options, message):
    assert message in fails("mine", *data, "--output", "t.tsv", *options)
    assert not list(Path.cwd().iterdir())


@pytest.fixture
def texts(beir, model_folder):
    return ["--dataset", beir, "--encoder", model_folder]


@pytest.mark.slow
def test_a_head_is_trained_on_the_triples(command, data, texts, monkeypatch):
    command("mine", *data, "--count", "3", "--output", "t.tsv")
    nothing_mined = "mpsheads.training.loop.mine_hard_negatives"
    monkeypatch.setattr(nothing_mined, lambda *_: pytest.fail("mined in spite of the triples"))
    options = [*texts, *QUICK, "--loss", "contrastive", "--json"]
    triples = ["--triples", "t.tsv", "--hard-negatives"]
    report = command("train", *options, *triples, "3", "--output", "a").json
    assert report["pairs"] == 27  # three of thirty are held out
    plain = command("train", *options, "--output", "b").json
    one = command("train", *options, *triples, "1", "--output", "c").json
    losses = [each["history"][0]["loss"] for each in (report, plain, one)]
    assert losses[0] > losses[2] > losses[1]  # more documents to tell apart


def test_the_queries_of_the_triples_alone_are_trained_on(command, data, texts):
    command("mine", *data, "--count", "2", "--output", "t.tsv")
    options = ["--triples", "t.tsv", "--hard-negatives", "2", "--validation", f"{texts[1]}:test"]
    report = command("train", *texts, *QUICK, *options, "--max-triples", "32", "--json").json
    queries = {triple.query_id for triple in list(load_triples("t.tsv"))[:32]}
    assert report["pairs"] == len(queries) < 30


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("q0\td0\td1\n", [], "`--triples` needs `--hard-negatives`"),
        ("q0\td0\n", ["--hard-negatives", "1"], "t.tsv, line 1: must have 3 tab-separated"),
        (
            "q0\td0\tx\n",
            ["--hard-negatives", "1"],
            "'x' is not one of tiny/train's documents",
        ),
        (
            "x\td0\td1\n",
            ["--hard-negatives", "1"],
            "'x' is not one of tiny/train's queries",
        ),
        ("q31\td0\td1\n", ["--hard-negatives", "1"], "'q31' is not one of tiny/train's queries"),
        ("q0\td0\td1\n", ["--hard-negatives", "1", "--max-triples", "0"], "must be at least 1"),
        (None, ["--hard-negatives", "1"], "There is no file of triples t.tsv"),
    ],
)
def test_triples_that_do_not_fit_are_named(fails, texts, content, options, message):
    if content is not None:
        Path("t.tsv").write_text(content)
    assert message in fails("train", *texts, *QUICK, "--triples", "t.tsv", *options)
    assert not Path("trained-head").exists()


def test_a_limit_of_no_triples_and_vectors_with_triples_are_refused(fails, data):
    options = ["--triples", "t.tsv", "--hard-negatives", "1"]
    assert "Leave out `--query-vectors`" in fails("train", *data, *QUICK, *options)


def test_msmarco_trains_by_its_id(command, beir, model_folder, monkeypatch):
    irds = pytest.importorskip("ir_datasets")
    if Path(irds.util.home_path()) != IRDS_HOME:
        pytest.skip("ir_datasets was imported with another home before these tests.")
    monkeypatch.setattr("requests.get", lambda **_: pytest.fail("a download began"))
    folder = IRDS_HOME / "msmarco-passage"
    (folder / "train").mkdir(parents=True, exist_ok=True)
    passages = "0\tA qubit is a state.\n1\tTensor networks.\n2\tSearch.\n3\tNot judged.\n"
    (folder / "collection.tsv").write_text(passages)  # the same as in tests/retrieval
    (folder / "irds_version.txt").write_text("v2")
    queries = "20\twhat is a qubit\n21\ttensor network\n22\tgate\n"
    (folder / "train" / "queries.tsv").write_text(queries)
    (folder / "train" / "qrels").write_text("20 0 0 1\n21 0 1 1\n22 0 3 1\n")
    triples = "20\t0\t1\n20\t0\t2\n21\t1\t2\n22\t3\t0\n"
    (folder / "train" / "small.triples.qidpid.tsv").write_text(triples)
    name = "msmarco-passage/train/triples-small"
    options = ["--triples", name, "--max-triples", "3", "--hard-negatives", "2"]
    options += ["--encoder", model_folder, "--epochs", "1", "--batch-size", "2", "--json"]
    validation = ["--validation", f"{beir}:test"]
    ran = command("train", "--dataset", name, *options, *validation)
    assert ran.json["pairs"] == 2
    assert ran.json["dataset"] == name
