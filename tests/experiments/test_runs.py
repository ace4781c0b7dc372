"""Experiments that run: the same results whatever the order, and after any interruption."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from mpsheads.experiments.results import key_of, read_results
from mpsheads.experiments.runs import Runner
from mpsheads.experiments.spec import Experiment, Method
from mpsheads.retrieval import Encoder, load_collection, write_triples
from mpsheads.training import finetune, loop, mine_triples

JUDGED = "msmarco-passage/trec-dl-2019/judged"
TRAINING = {"loss": "contrastive", "epochs": 3, "batch_size": 8, "hard_negatives": 0}
LAYERS = {"trainable_layers": 1, "max_length": 24}
KINDS = {"head": (loop._Run, Method("mps", "mps"))}
KINDS["layers"] = (finetune.__globals__["_Run"], Method("mps", "mps", "layers", training=LAYERS))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def beir(beir):
    """The collection with queries that are not the texts of their documents."""
    file = beir / "queries.jsonl"
    queries = [json.loads(line) for line in file.read_text().splitlines()]
    found = [{**query, "text": " ".join(query["text"].split()[1:])} for query in queries]
    file.write_text("".join(json.dumps(query) + "\n" for query in found))
    return beir


@pytest.fixture
def experiment(beir):
    return Experiment(
        "own",
        (Method("mps", "mps"),),
        train=f"{beir}:train",
        tests=(f"{beir}:test@all",),
        sizes=(8,),
        seeds=(0, 1),
        training=TRAINING,
    )


@pytest.fixture
def runner(tmp_path, model_folder):
    """A new runner, as in a new process."""

    def make(name="results"):
        encoder = Encoder(model_folder, device="cpu", dtype="float32")
        return Runner(encoder, "tiny", tmp_path / f"{name}.jsonl")

    return make


def scores(runner):
    found = {key_of(line): line["scores"] for line in read_results(runner.file)}
    assert len(found) == len(read_results(runner.file))  # nothing twice
    return found


@pytest.mark.parametrize("each_epoch", [False, True])
@pytest.mark.parametrize("select", ["last", "best"])
@pytest.mark.parametrize("kind", ["head", "layers"])
def test_a_run_stopped_in_the_middle_of_a_training_ends_with_the_same_results(
    experiment, runner, monkeypatch, kind, select, each_epoch
):
    training, method = KINDS[kind]
    made = replace(experiment, methods=(method,), select=select, each_epoch=each_epoch)
    steps, run_step = [], training._step

    def counted(*arguments):
        steps.append(arguments)
        return run_step(*arguments)

    monkeypatch.setattr(training, "_step", counted)
    whole = runner("whole")
    assert whole.run(made) == 2 * (3 if each_epoch else 1)
    at_once, per_epoch = len(steps), len(steps) // 6

    def stop_after(count):
        def stopped(*arguments):
            if len(steps) - at_once == count:
                raise RuntimeError("stopped")
            return counted(*arguments)

        monkeypatch.setattr(training, "_step", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            runner("cut").run(made)

    stop_after(2 * per_epoch + 1)  # one step of the third epoch is lost
    stop_after(5 * per_epoch)  # of the other seed's second epoch, all but one
    monkeypatch.setattr(training, "_step", counted)
    cut = runner("cut")
    cut.run(made)
    assert scores(cut) == scores(whole)
    assert len(steps) - at_once == at_once + per_epoch
    assert not list(cut.file.parent.glob("cut.jsonl.running/*"))


def test_an_epoch_whose_scores_are_lost_is_trained_again(experiment, runner, monkeypatch):
    made = replace(experiment, each_epoch=True, seeds=(0,))
    whole, cut = runner("whole"), runner("cut")
    whole.run(made)
    run_step, steps = loop._Run._step, []

    def stopped(*arguments):
        steps.append(arguments)
        if len(steps) == 8:
            raise RuntimeError("stopped")
        return run_step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_step", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            cut.run(made)
    (lost,) = cut.file.parent.glob("cut.jsonl.running/*/scored.json")
    lost.unlink()
    cut.run(made)
    assert scores(cut) == scores(whole)


def test_an_epoch_that_is_measured_but_not_saved_is_measured_once(experiment, runner, monkeypatch):
    made = replace(experiment, each_epoch=True, seeds=(0,))
    whole, cut = runner("whole"), runner("cut")
    whole.run(made)

    def stopped(run):
        if len(run.history) == 2:
            raise RuntimeError("stopped")
        save(run)

    save = loop._Run._save
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_save", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            cut.run(made)
    cut.run(made)
    assert scores(cut) == scores(whole)


def test_a_run_stopped_between_its_results_measures_what_is_missing(experiment, runner, beir):
    made = replace(experiment, tests=(f"{beir}:test@all", f"{beir}:test"), seeds=(0,))
    whole = runner()
    assert whole.run(made) == 2
    before = scores(whole)
    whole.file.write_text(whole.file.read_text().splitlines()[0] + "\n")
    assert runner().run(made) == 1
    assert scores(whole) == before
    assert runner().run(made) == 0


def test_results_do_not_depend_on_the_order_of_what_is_run(experiment, runner):
    methods = (Method("mps", "mps"), Method("dense", "dense"), Method("old", "reference"))
    one = replace(experiment, methods=methods, fractions=(0.5, 1.0))
    other = replace(one, methods=methods[::-1], seeds=(1, 0), fractions=(1.0, 0.5))
    runner("one").run(one)
    runner("other").run(other)
    assert scores(runner("one")) == scores(runner("other"))
    seeds = {key[8]: value for key, value in scores(runner("one")).items() if key[4] == "mps"}
    assert seeds[0] != seeds[1]


def test_bits_change_scores_and_bytes_of_every_method(experiment, runner):
    methods = (
        Method("plain", "uncompressed"),
        Method("angles", "uncompressed", similarity="fidelity"),
        Method("cut", "truncation"),
        Method("pca", "pca"),
        Method("mps", "mps"),
    )
    made = replace(experiment, methods=methods, bits=(32, 1), seeds=(0,))
    runner().run(made)
    for method in methods:
        full, few = (line for line in read_results(runner().file) if line["method"] == method.label)
        assert (full["bytes"], few["bytes"]) == (4 * full["size"], full["size"] // 8)
        assert full["scores"] != few["scores"], method.label


def test_the_best_epoch_is_that_of_held_out_queries(experiment, runner, monkeypatch):
    given = iter([0.9, 0.1, 0.5] * 2)
    monkeypatch.setattr(
        "mpsheads.experiments.runs.ranking_validation", lambda *_, **__: lambda _: next(given)
    )
    training = {**TRAINING, "learning_rate": 0.3}
    made = replace(experiment, select="best", seeds=(0,), training=training)
    runner("best").run(made)
    runner("each").run(replace(made, each_epoch=True))
    (best,) = scores(runner("best")).values()
    by_epoch = {key[10]: value for key, value in scores(runner("each")).items()}
    assert best == by_epoch[1] != by_epoch[3]
    assert read_results(runner("best").file)[0]["pairs"] == 27


def test_few_pairs_with_negatives_make_a_smaller_batch(experiment, runner, beir, tmp_path):
    with (beir / "qrels" / "train.tsv").open("a") as file:
        file.write("q1\td50\t1\n")  # a pair that no triple gives negatives
    found = mine_triples(load_collection(beir, "train"), "bm25", 2, margin=None).triples
    own = {("q1", "d1"), ("q2", "d2"), ("q3", "d3")}
    few = [triple for triple in found if triple[:2] in own]
    write_triples(few, tmp_path / "t.tsv")
    training = {**TRAINING, "loss": "paper", "batch_size": 64, "hard_negatives": 5}
    made = replace(experiment, training=training, triples=str(tmp_path / "t.tsv"))
    assert runner().run(made) == 2
    assert {line["pairs"] for line in read_results(runner().file)} == {4}


def test_uncompressed_vectors_need_no_training_collection(experiment, runner):
    made = replace(experiment, train="no/such", methods=(Method("plain", "uncompressed"),))
    runner().prepare(made)
    assert runner().run(made) == 1


SCRIPT = """
import json, sys
import requests

def no_network(*_, **__):
    raise requests.exceptions.ConnectionError("no network in tests")

requests.get = no_network
from mpsheads.experiments.data import own_triples
from mpsheads.experiments.runs import Runner
from mpsheads.experiments.spec import Experiment, Method
from mpsheads.retrieval import Encoder

folder, output = sys.argv[1:]
training = {"loss": "paper", "epochs": 1, "batch_size": 8, "hard_negatives": 2}
layers = {"trainable_layers": 1, "max_length": 24}
methods = (Method("mps", "mps"), Method("mps", "mps", "layers", training=layers))
answers = []
for limit in (5, 2):
    made = Experiment(
        "ids",
        methods,
        tests=("msmarco-passage/trec-dl-2019/judged",),
        sizes=(8,),
        seeds=(0,),
        training=training,
        max_triples=limit,
    )
    runner = Runner(Encoder(folder, device="cpu"), "tiny", f"{output}/{limit}.jsonl")
    runner.prepare(made)
    runner.run(made)
    split = runner.training(made)
    answers.append([sorted(split.query_ids), split.doc_ids, own_triples(made.tests[0])])
print(json.dumps(answers))
"""


@pytest.fixture
def msmarco(tmp_path):
    """Nine passages, three training queries, five triples, a judged set, for ir_datasets."""
    pytest.importorskip("ir_datasets")
    folder = tmp_path / "irds" / "msmarco-passage"
    (folder / "train").mkdir(parents=True)
    (folder / "irds_version.txt").write_text("v2")
    passages = "".join(f"{i}\tnumber {i} of the search\n" for i in range(9))
    (folder / "collection.tsv").write_text(passages)
    (folder / "train" / "queries.tsv").write_text("10\tqubit\n11\ttensor\n12\tgate\n")
    (folder / "train" / "qrels").write_text("10 0 0 1\n10 0 5 1\n11 0 1 1\n12 0 2 1\n")
    triples = "10\t0\t1\n11\t1\t3\n10\t0\t2\n12\t2\t4\n12\t2\t8\n"
    (folder / "train" / "small.triples.qidpid.tsv").write_text(triples)
    (folder / "trec-dl-2019").mkdir()
    (folder / "trec-dl-2019" / "queries.tsv").write_text("20\tsearch\n21\tthe gate\n")
    (folder / "trec-dl-2019" / "qrels").write_text("20 Q0 6 3\n20 Q0 7 0\n21 Q0 7 2\n")
    return folder


def test_ms_marco_by_its_id_trains_on_its_triples_up_to_a_limit(msmarco, model_folder, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model_folder), str(tmp_path)],
        env={**os.environ, "IR_DATASETS_HOME": str(msmarco.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    whole, few = json.loads(ran.stdout)
    assert whole == [["10", "11", "12"], ["0", "1", "2", "3", "4", "5", "8"], ""]
    assert few == [["10", "11"], ["0", "1", "3", "5"], ""]
    lines = read_results(tmp_path / "5.jsonl")
    assert [(line["trained"], line["test"], line["pairs"]) for line in lines] == [
        *(("head", JUDGED, 4), ("layers", JUDGED, 4))
    ]
    assert {line["train"] for line in lines} == {"msmarco-passage/train/triples-small"}
    assert all("triples" not in line["settings"] for line in lines)
    lines = read_results(tmp_path / "2.jsonl")
    assert {line["settings"]["max_triples"] for line in lines} == {2}
