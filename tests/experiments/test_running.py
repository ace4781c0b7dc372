"""Experiments that run: the same results whatever the order, and after any interruption."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from mpsheads.experiments import Experiment, Method, key_of, read_results, run_experiments, running
from mpsheads.experiments.running import Runner, choose_queries
from mpsheads.retrieval import Encoder, write_triples
from mpsheads.training import mine_triples

pytestmark = pytest.mark.slow

TRAINING = {"loss": "contrastive", "epochs": 3, "batch_size": 8, "hard_negatives": 0}
LAYERS = Method("mps", "mps", "layers", layers=1)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def beir(beir):
    """The collection with queries that are not the texts of their documents."""
    file = beir / "queries.jsonl"
    queries = [json.loads(line) for line in file.read_text().splitlines()]
    for query in queries:
        query["text"] = " ".join(query["text"].split()[1:])
    file.write_text("".join(json.dumps(query) + "\n" for query in queries))
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
        encoder = Encoder(model_folder, device="cpu", dtype="float32", max_length=24)
        return Runner(encoder, "tiny", tmp_path / f"{name}.jsonl")

    return make


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps of Adam; `steps.stop` is how many there may be."""

    class Steps:
        done, stop = 0, None

    count, step = Steps(), torch.optim.Adam.step

    def counted(*arguments, **options):
        if count.done == count.stop:
            raise RuntimeError("stopped")
        count.done += 1
        return step(*arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    return count


def scores(runner):
    lines = {key_of(line): line["scores"] for line in read_results(runner.file)}
    assert len(lines) == len(read_results(runner.file))  # nothing twice
    return lines


@pytest.mark.parametrize(
    ("method", "select", "each_epoch"),
    [
        (Method("mps", "mps"), "best", False),
        (LAYERS, "last", True),
    ],
)
def test_a_trial_stopped_in_the_middle_of_a_training_ends_with_the_same_results(
    experiment, runner, steps, method, select, each_epoch
):
    plan = replace(experiment, methods=(method,), select=select, each_epoch=each_epoch)
    whole, cut = runner("whole"), runner("cut")
    whole.run([plan])
    assert len(scores(whole)) == 2 * (3 if each_epoch else 1)
    at_once, per_epoch = steps.done, steps.done // 6
    for more in (2 * per_epoch + 1, 2 * per_epoch):  # one step of an epoch is lost
        steps.stop = steps.done + more
        with pytest.raises(RuntimeError, match="stopped"):
            runner("cut").run([plan])
    steps.stop = None
    cut.run([plan])
    assert scores(cut) == scores(whole)
    assert steps.done == 2 * at_once + 1
    assert not list(cut.file.parent.glob("cut.jsonl.running/*"))


def test_an_epoch_whose_scores_are_lost_is_measured_again(experiment, runner, steps):
    plan = replace(experiment, each_epoch=True, seeds=(0,))
    whole, cut = runner("whole"), runner("cut")
    whole.run([plan])
    steps.stop = steps.done + 2 * steps.done // 3
    with pytest.raises(RuntimeError, match="stopped"):
        cut.run([plan])
    steps.stop = None
    assert len(read_results(cut.file)) == 2
    cut.file.write_text(cut.file.read_text().splitlines()[1] + "\n")
    cut.run([plan])
    assert len(scores(cut)) == 2  # with the last epoch; what is missing is trained again
    cut.run([plan])
    assert scores(cut) == scores(whole)


def test_a_trial_stopped_between_its_results_measures_what_is_missing(experiment, runner, beir):
    plan = replace(experiment, tests=(f"{beir}:test@all", f"{beir}:test"), seeds=(0,))
    whole = runner()
    whole.run([plan])
    assert len(scores(whole)) == 2
    before = scores(whole)
    whole.file.write_text(whole.file.read_text().splitlines()[0] + "\n")
    runner().run([plan])
    assert scores(whole) == before
    assert runner().missing(plan) == []


def test_results_do_not_depend_on_the_order_of_what_is_run(experiment, runner):
    methods = (Method("mps", "mps"), Method("dense", "dense"))
    one = replace(experiment, methods=methods, fractions=(0.5, 1.0))
    other = replace(one, methods=methods[::-1], seeds=(1, 0), fractions=(1.0, 0.5))
    runner("one").run([one])
    runner("other").run([other])
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
    runner().run([replace(experiment, methods=methods, bits=(32, 1), seeds=(0,))])
    for method in methods:
        full, few = (line for line in read_results(runner().file) if line["method"] == method.label)
        assert (full["bytes"], few["bytes"]) == (4 * full["size"], full["size"] // 8)
        assert full["scores"] != few["scores"], method.label


def test_the_best_epoch_is_that_of_held_out_queries(experiment, runner, monkeypatch):
    values = iter([0.9, 0.1, 0.5] * 2)
    monkeypatch.setattr(
        "mpsheads.experiments.running.ranking_validation", lambda *_, **__: lambda _: next(values)
    )
    training = {**TRAINING, "learning_rate": 0.05}
    plan = replace(experiment, select="best", seeds=(0,), training=training)
    runner("best").run([plan])
    runner("each").run([replace(plan, each_epoch=True)])
    (best,) = scores(runner("best")).values()
    by_epoch = {key[10]: value for key, value in scores(runner("each")).items()}
    assert best == by_epoch[1] != by_epoch[3]
    assert read_results(runner("best").file)[0]["pairs"] == 27


def test_few_pairs_with_negatives_make_a_smaller_batch(experiment, runner, beir, tmp_path):
    with (beir / "qrels" / "train.tsv").open("a") as file:
        file.write("q1\td50\t1\n")  # a pair that no triple gives negatives
    every = runner().embedded(f"{beir}:train@all")
    mined = mine_triples(every, "bm25", 2, margin=-2).triples
    few = [triple for triple in mined if triple[:2] in {(f"q{i}", f"d{i}") for i in (1, 2, 3)}]
    write_triples(few, tmp_path / "t.tsv")
    training = {**TRAINING, "loss": "paper", "batch_size": 64, "hard_negatives": 5}
    plan = replace(experiment, training=training, triples=str(tmp_path / "t.tsv"))
    runner().run([plan])
    assert {line["pairs"] for line in read_results(runner().file)} == {4}


def test_uncompressed_vectors_need_no_training_collection(experiment, runner):
    plan = replace(experiment, train="no/such", methods=(Method("plain", "uncompressed"),))
    runner().run([plan])
    assert len(read_results(runner().file)) == 1


def test_a_head_is_fitted_to_the_pairs_that_it_is_given_alone(experiment, runner, monkeypatch):
    made, make = [], running.make_head
    monkeypatch.setattr(
        running, "make_head", lambda *sizes, **how: made.append(how) or make(*sizes, **how)
    )
    methods = (
        Method("fitted", "mps", "nothing", fit="pairs"),
        Method("trained", "dense", fit="pairs", settings={"start": "pca"}),
        Method("codes", "codes", sizes=(8,)),
    )
    runner().run([replace(experiment, methods=methods, fractions=(6,), seeds=(0,))])
    training = runner().embedded(experiment.train)
    chosen = training.only(choose_queries(training, 6, 0))
    rows = [training.query_ids.index(query_id) for query_id, _ in chosen.relevant_pairs()]
    assert len(made) == 3
    for how in made:
        assert sorted(how["queries"].tolist()) == sorted(training.queries[rows].tolist())


def test_parts_of_the_training_queries_lie_within_each_other(experiment, runner):
    training = runner().embedded(experiment.train)
    parts = [choose_queries(training, fraction, 3) for fraction in (2, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 15, 30]
    assert all(set(small) < set(large) for small, large in pairwise(parts))
    assert choose_queries(training, 0.5, 4) != parts[1]
    with pytest.raises(ValueError, match=r"asks for 31 training queries; .* has 30"):
        choose_queries(training, 31, 0)
    none = training.only(training.query_ids[:1])
    none.collection.qrels[training.query_ids[0]].clear()
    with pytest.raises(ValueError, match="no query with a relevant document"):
        choose_queries(none, 1.0, 0)


def test_heads_are_made_before_anything_is_run(experiment, model_folder, tmp_path):
    wrong = (Method("deep", "mps", settings={"depth": 0}),)
    plan = replace(experiment, encoders=(str(model_folder),), train="no/such", methods=wrong)
    with pytest.raises(ValueError, match="'deep' at size 8: `depth`"):
        run_experiments([plan], tmp_path / "results.jsonl")
    assert not (tmp_path / "results.jsonl").exists()


@pytest.mark.parametrize(("head", "needed"), [("pq", 256), ("pca", 9)])
def test_too_few_documents_to_fit_to_are_seen_before_anything_is_trained(
    experiment, runner, beir, head, needed
):
    few = "".join(f"q{i}\td{i}\t1\n" for i in range(8))
    (beir / "qrels" / "few.tsv").write_text(f"query-id\tcorpus-id\tscore\n{few}")
    methods = (Method("mps", "mps"), Method(head, head, sizes=(8,)))
    with pytest.raises(ValueError, match=f"{head} needs {needed} `documents`"):
        runner().run([replace(experiment, train=f"{beir}:few", methods=methods)])
    assert not runner().file.exists()
