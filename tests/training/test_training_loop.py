"""The training loop: what it learns, what it writes, how it resumes, what it refuses."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
    TruncationHead,
    load_head,
)
from mpsheads.training import TrainingConfig, train
from mpsheads.training.checkpoint import read_checkpoint
from mpsheads.training.loop import _usual_rate

HEADS = {
    "dense": lambda g: DenseHead(12, 4, generator=g),
    "mps": lambda g: MPSProjectionHead(12, 6, generator=g),
    "reference": lambda g: ReferenceHead(12, 4, normalize=True, generator=g),
}
CONFIG = TrainingConfig(epochs=4, batch_size=16, hard_negatives=2)
run = partial(train, progress=False)
PAPER = replace(CONFIG, loss="paper", learning_rate=0.01)


def new_head(kind="dense", seed=0):
    return HEADS[kind](torch.Generator().manual_seed(seed))


def accuracy(data):
    """How often the nearest document of a query is its own; a validation for `train`."""

    def validate(head):
        assert not head.training
        similarity = head.similarity(head(data.queries), head(data.documents))
        return float((similarity.argmax(1) == torch.arange(len(data.queries))).float().mean())

    return validate


def failing_at(call, validation):
    """The validation, which raises the first time it is called for the `call`th time."""
    calls = []

    def validate(head):
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt
        return validation(head)

    return validate


def without_seconds(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_one_pair_with_hard_negatives_is_trained_on(make_data, tmp_path):
    """One similarity has no spread from which a scale would come."""
    data, head = one_pair(make_data()), new_head("mps")
    result = run(head, data, replace(CONFIG, loss="contrastive", epochs=1), tmp_path)
    assert result.history[0]["loss"] > 0
    assert result.scale == pytest.approx(head.logit_scale, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("loss", ["contrastive", "both"])
def test_the_loss_of_one_step_is_the_plain_formula(kind, loss, make_data, tmp_path):
    data, head = make_data(), new_head(kind).double()
    config = TrainingConfig(epochs=1, batch_size=len(data), learning_rate=1e-30, loss=loss)
    result = run(head, data, config, tmp_path)
    queries, documents = data.queries.double(), data.documents.double()
    with torch.no_grad():
        student = result.scale * head.similarity(head(queries), head(documents))
    teacher = torch.nn.functional.cosine_similarity(queries[:, None], documents, dim=2) / 0.05
    contrastive = distillation = 0.0
    relevant = data.is_relevant(torch.arange(60), torch.arange(60))
    columns = [d for d in range(60) if d != 1]  # the copy of document 0
    for query, document in data.pairs.tolist():
        document = 0 if document == 1 else document
        counted = [d for d in columns if d == document or not relevant[query, d]]
        contrastive += float(student[query, counted].logsumexp(0) - student[query, document])
        p = teacher[query, columns].softmax(0)
        distillation += float((p * (p.log() - student[query, columns].log_softmax(0))).sum())
    total = contrastive + (distillation if loss == "both" else 0)
    # the scale is float32
    assert_close(result.history[0]["loss"], total / len(data), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", HEADS)
def test_the_papers_loss_of_one_step_is_the_plain_formula(kind, make_data, tmp_path):
    data, head = make_data(), new_head(kind).double()
    mined = torch.randint(60, (len(data), 3), generator=torch.Generator().manual_seed(1))
    mined[::4, 1] = -1
    mined[::5, 0] = data.pairs[::5, 1]  # relevant, so it does not count
    data = replace(data, hard_negatives=mined)
    config = TrainingConfig(
        epochs=1, batch_size=len(data), learning_rate=1e-30, loss="paper", hard_negatives=2
    )
    result = run(head, data, config, tmp_path)
    with torch.no_grad():
        z = head(data.queries.double()), head(data.documents.double())
        similarity = head.similarity(*z)
    similarity = similarity if kind == "dense" else similarity.exp()
    relevant, total = data.is_relevant(torch.arange(60), torch.arange(60)), 0.0
    for (query, document), negatives in zip(data.pairs.tolist(), mined.tolist(), strict=True):
        own = {0 if d == 1 else d for d in negatives[:2]}  # document 1 is a copy
        counted = [d for d in own if d >= 0 and not relevant[query, d]]
        logits = 20 * similarity[query, [document, *counted]]
        total += float(logits.logsumexp(0) - logits[0])
    assert_close(result.history[0]["loss"], total / len(data))
    assert result.scale == 20.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("loss", ["contrastive", "both", "paper"])
def test_training_moves_every_parameter_and_lowers_the_loss(kind, loss, make_data, tmp_path):
    head = new_head(kind)
    before = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}
    config = replace(CONFIG, loss=loss, epochs=3, learning_rate=0.03)
    result = run(head, make_data(), config, tmp_path)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    for name, parameter in head.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert (len({line["scale"] for line in result.history}) == 1) is (loss == "paper")


def test_the_rates_are_those_of_the_settings(make_data, tmp_path):
    head = new_head()
    before = head.linear.weight.detach().clone()
    paper = TrainingConfig(epochs=1, batch_size=80, loss="paper", hard_negatives=5)
    history = run(head, make_data(), paper, tmp_path / "a").history
    assert history[0]["learning_rate"] == 4e-5
    step = (head.linear.weight - before).abs()
    assert_close(step, torch.full_like(step, 4e-5), rtol=0.01, atol=0)  # Adam's first step
    config = replace(CONFIG, learning_rate=0.02)
    history = run(new_head(), make_data(), config, tmp_path / "b").history
    last_steps = (4, 9, 14, 19)  # 80 pairs, 16 a step
    expected = [config.learning_rate_at(step, 20, 0.02) for step in last_steps]
    assert_close([line["learning_rate"] for line in history], expected)


def test_each_kind_of_head_has_a_rate(generator):
    sample = torch.randn(9, 12, generator=generator)
    full = MPSProjectionHead(12, 4, mixing="full")
    heads = [new_head("mps"), new_head("mps").fit(sample), full, new_head("dense")]
    assert [_usual_rate(head, paper=False) for head in heads] == [1e-2, 3e-3, 2e-3, 1e-3]
    assert _usual_rate(full, paper=True) == 4e-5


def test_pairs_without_hard_negatives_are_left_out_of_the_papers_loss(make_data, tmp_path):
    data = make_data()
    mined = torch.randint(60, (80, 2), generator=torch.Generator().manual_seed(1))
    mined[20:] = -1
    data = replace(data, hard_negatives=mined)
    config = replace(PAPER, epochs=1, batch_size=20, learning_rate=1e-30)
    whole = run(new_head(), data, config, tmp_path / "a")
    part = replace(data, pairs=data.pairs[:20], hard_negatives=mined[:20])
    alone = run(new_head(), part, config, tmp_path / "b")
    assert_close(whole.history[0]["loss"], alone.history[0]["loss"])
    larger = replace(config, batch_size=21)  # than there are pairs
    larger = run(new_head(), data, larger, tmp_path / "c")
    assert_close(larger.history[0]["loss"], alone.history[0]["loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "killed_in", "config"),
    [("dense", 1, CONFIG), ("mps", 2, CONFIG), ("reference", 4, CONFIG), ("mps", 3, PAPER)],
)
def test_a_killed_and_resumed_run_ends_bit_identical(kind, killed_in, config, make_data, tmp_path):
    data = make_data()
    whole = run(new_head(kind), data, config, tmp_path / "a", validation=accuracy(data))
    stops = failing_at(killed_in, accuracy(data))
    with pytest.raises(KeyboardInterrupt):
        run(new_head(kind), data, config, tmp_path / "b", validation=stops)
    assert not (tmp_path / "b" / "model.safetensors").exists()
    other = new_head(kind, seed=5 if killed_in > 1 else 0)  # its weights are replaced
    how = {"validation": accuracy(data), "resume": True}
    resumed = run(other, data, config, tmp_path / "b", **how)
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert (resumed.best_epoch, resumed.scale) == (whole.best_epoch, whole.scale)
    states = [read_checkpoint(tmp_path / folder) for folder in "ab"]
    for name in ("weights", "log_scale", "optimiser", "generator", "best"):
        assert_close(states[1][name], states[0][name], rtol=0, atol=0)
    for name, value in load_head(tmp_path / "b").state_dict().items():
        assert torch.equal(value, load_head(tmp_path / "a").state_dict()[name])
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").open()]
    assert lines == resumed.history
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_finished_run_is_returned_on_resume_without_training(make_data, tmp_path):
    data = make_data()
    first = run(new_head(), data, CONFIG, tmp_path, resume=True)
    again = run(new_head(seed=9), data, CONFIG, tmp_path, resume=True)
    assert again.history == first.history
    assert_close(again.model.state_dict(), first.model.state_dict(), rtol=0, atol=0)
    assert (first.best_epoch, first.best_validation) == (4, None)
    last = read_checkpoint(tmp_path)["weights"]["linear.weight"]
    assert torch.equal(load_head(tmp_path).linear.weight, last)
    with pytest.raises(ValueError, match=r"holds a run already. Continue it with `resume=True`"):
        run(new_head(), data, CONFIG, tmp_path)


@pytest.mark.parametrize("coded", [False, True])
def test_equal_seeds_give_equal_weights_and_the_global_generator_is_left_alone(
    coded, make_data, tmp_path
):
    heads = [new_head() for _ in "abc"]
    if coded:  # which draws its noise in training
        seeded = (torch.Generator().manual_seed(0) for _ in "abc")
        heads = [MPSProjectionHead.for_bytes(12, 8, generator=each) for each in seeded]
    state = torch.get_rng_state()
    for head, seed in zip(heads, (1, 1, 2), strict=True):
        config, folder = replace(CONFIG, seed=seed), tmp_path / str(id(head))
        run(head, make_data(), config, folder)
    weights = [torch.nn.utils.parameters_to_vector(head.parameters()) for head in heads]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_head_of_the_best_epoch_is_kept(make_data, tmp_path):
    scores, weights, modes = iter([0.1, 0.7, 0.7, 0.4]), [], set()

    def validate(head):
        weights.append(head.linear.weight.detach().clone())
        return next(scores)

    head = new_head()
    head.register_forward_hook(
        lambda module, *_: modes.add((torch.is_grad_enabled(), module.training))
    )
    result = run(head, make_data(), CONFIG, tmp_path, validation=validate)
    assert modes == {(False, False), (True, True)}  # the first scale, and steps
    assert (result.best_epoch, result.best_validation) == (2, 0.7)
    assert torch.equal(load_head(tmp_path).linear.weight, weights[1])
    assert torch.equal(result.model.linear.weight, weights[1])
    assert [line["validation"] for line in result.history] == [0.1, 0.7, 0.7, 0.4]


def test_the_folder_holds_the_head_the_metrics_and_the_checkpoint_and_nothing_else(
    make_data, tmp_path
):
    run(new_head(), make_data(), CONFIG, tmp_path / "new" / "run", progress=True)
    names = {file.name for file in (tmp_path / "new" / "run").iterdir()}
    assert names == {"config.json", "model.safetensors", "metrics.jsonl", "checkpoint.pt"}


@pytest.mark.slow
def test_the_scale_is_trained_and_starts_where_logits_spread_as_the_teachers(make_data, tmp_path):
    data, head = make_data(), new_head("mps")
    still = replace(CONFIG, epochs=1, learning_rate=1e-30)
    result = run(head, data, still, tmp_path / "a")
    with torch.no_grad():
        student = head.similarity(head(data.queries), head(data.documents))
    teacher = torch.nn.functional.cosine_similarity(data.queries[:, None], data.documents, dim=2)
    assert_close(
        result.scale, float(teacher.std() / student.std()) / 0.05, rtol=0.1, atol=0
    )  # 60 rows
    moved = run(new_head("mps"), data, CONFIG, tmp_path / "c").history
    assert len({line["scale"] for line in moved}) == 4


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [TrainingConfig().learning_rate_at(step, 200, 2.0) for step in range(200)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 2.0 == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.2
    assert 0 < rates[-1] < 0.01
    assert_close(rates[105], 1.0)
    assert {PAPER.learning_rate_at(step, 200, 2.0) for step in range(200)} == {2.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": replace(CONFIG, epochs=5)}, "another setting `epochs`: 4 then, 5 now"),
        ({"config": replace(CONFIG, learning_rate=0.5)}, "`learning_rate`: None then, 0.5 now"),
        ({"head": "mps"}, "another head `name`: 'dense' then, 'mps' now"),
        ({"seed": 3}, "another data `queries`"),
        ({"validation": lambda head: 0.0}, "`validation`: 'none' then, 'given' now"),
    ],
)
def test_resuming_another_run_is_refused_and_changes_nothing(change, message, make_data, tmp_path):
    run(new_head(), make_data(), CONFIG, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=message):
        run(
            new_head(change.get("head", "dense")),
            make_data(seed=change.get("seed", 0)),
            change.get("config", CONFIG),
            tmp_path,
            validation=change.get("validation"),
            resume=True,
        )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_broken_checkpoint_is_refused(content, make_data, tmp_path):
    run(new_head(), make_data(), CONFIG, tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a readable checkpoint"):
        run(new_head(), make_data(), CONFIG, tmp_path, resume=True)
    torch.save({"format_version": 3}, file)
    with pytest.raises(ValueError, match="has format_version 3; this mpsheads reads 2"):
        run(new_head(), make_data(), CONFIG, tmp_path, resume=True)


def without_negatives(data):
    return replace(data, hard_negatives=torch.full((len(data), 2), -1))


def as_texts(data):
    names = [f"text {i}" for i in range(60)]
    return replace(data, queries=names, documents=names)


def one_pair(data):
    return replace(data, pairs=data.pairs[:1])


def unchanged(data):
    return data


@pytest.mark.parametrize(
    ("head", "change", "config", "error", "message"),
    [
        (PCAHead(12, 4), unchanged, CONFIG, TypeError, "which has nothing to train. A PCAHead is"),
        (TruncationHead(12, 4), unchanged, CONFIG, TypeError, "which has nothing to train.$"),
        (DenseHead(10, 4), unchanged, CONFIG, ValueError, "`model` has 10, `data` has 12"),
        (DenseHead(12, 4), as_texts, CONFIG, ValueError, "`data` holds texts, which DenseHead"),
        (DenseHead(12, 4), without_negatives, PAPER, ValueError, "`data` has no hard negatives"),
        (DenseHead(12, 4), one_pair, CONFIG, ValueError, "`data` must hold two pairs for .*got 1"),
        (DenseHead(12, 4), unchanged, {}, TypeError, "`config` must be"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    head, change, config, error, message, make_data, tmp_path
):
    with pytest.raises(error, match=message):
        run(head, change(make_data()), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match=r"'.*file' is a file; it must be a folder"):
        run(new_head(), make_data(), CONFIG, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_mining_that_finds_nothing_stops_only_the_papers_loss(make_data, tmp_path):
    data = make_data()
    same = replace(data, documents=torch.ones(60, 12))  # copies of one
    same = replace(same, pairs=data.pairs[:2])  # as few as there may be
    config = replace(CONFIG, epochs=1)
    assert run(new_head(), same, config, tmp_path / "a").best_epoch == 1
    with pytest.raises(ValueError, match="`data` has no hard negatives"):
        run(new_head(), same, PAPER, tmp_path / "b")


def test_a_loss_that_becomes_nan_stops_with_epoch_and_step_and_keeps_the_checkpoint(
    make_data, tmp_path
):
    data = make_data()

    def poison(head):  # after the second epoch
        if len(list((tmp_path / "run").glob("metrics.jsonl"))) and not head.poisoned:
            head.poisoned = True
        elif head.poisoned:
            head.linear.weight[0, 0] = torch.nan
        return 0.5

    head = new_head()
    head.poisoned = False
    message = r"The loss became NaN .* epoch 4\. .*checkpoint.pt holds epoch 3; try a small"
    with pytest.raises(ValueError, match=message):
        run(head, data, CONFIG, tmp_path / "run", validation=poison)


def test_parameters_that_overflow_are_not_saved(make_data, tmp_path):
    config = replace(CONFIG, learning_rate=3e37)
    with pytest.raises(ValueError, match=r"became NaN .* in epoch 1.*smaller `learning_ra"):
        run(new_head(), make_data(), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class _CrackedHead(DenseHead):
    """Finite forward, NaN backward: the square root of zero has no gradient."""

    def forward(self, x):
        return super().forward(x) + (self.linear.bias - self.linear.bias).sqrt()


def test_parameters_that_become_nan_in_the_last_step_are_not_saved(make_data, tmp_path):
    config = TrainingConfig(epochs=1, batch_size=80)
    with pytest.raises(ValueError, match=r"`linear\.\w+` became NaN or infinite in epoch 1\. Try"):
        run(_CrackedHead(12, 4), make_data(), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_that_returns_nan_is_refused(make_data, tmp_path):
    with pytest.raises(ValueError, match=r"`validation` must return a number.*nan"):
        run(
            new_head(),
            make_data(),
            CONFIG,
            tmp_path,
            validation=lambda head: math.nan,
        )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1"),
        ({"batch_size": 1}, ValueError, "`batch_size` must be at least 2"),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate` must be a positive finite number"),
        ({"learning_rate": True}, TypeError, "`learning_rate` must be float"),
        ({"learning_rate": math.nan}, ValueError, "`learning_rate` must be a positive finite"),
        ({"loss": "mse"}, ValueError, "`loss` must be one of \"both\", .* got 'mse'"),
        ({"loss": "paper"}, ValueError, '`hard_negatives` must be at least 1 for loss="paper"'),
        ({"hard_negatives": -1}, ValueError, "`hard_negatives` must be at least 0, got -1"),
        ({"hard_negatives": 0.5}, TypeError, "`hard_negatives` must be an integer, got 0.5"),
        ({"seed": "0"}, TypeError, "`seed` must be an integer, got '0'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**settings)


@pytest.mark.slow
def test_a_fitted_head_trains_at_its_own_rate_also_when_resumed_from_a_new_one(make_data, tmp_path):
    data, config = make_data(), TrainingConfig(epochs=2, batch_size=16)
    fitted = [new_head("mps").fit(data.documents) for _ in range(2)]
    whole = run(fitted[0], data, config, tmp_path / "a")
    arguments = (data, config, tmp_path / "b")
    stops = failing_at(2, accuracy(data))
    with pytest.raises(KeyboardInterrupt):
        run(fitted[1], *arguments, validation=stops)
    resumed = run(new_head("mps", seed=4), *arguments, validation=accuracy(data), resume=True)
    rates = [[line["learning_rate"] for line in run.history] for run in (whole, resumed)]
    assert rates[0] == rates[1]
    assert 0 < max(rates[0]) <= 3e-3
    plain = run(new_head("mps"), data, config, tmp_path / "c")
    assert_close(plain.history[0]["learning_rate"], rates[0][0] / 3e-3 * 1e-2)
