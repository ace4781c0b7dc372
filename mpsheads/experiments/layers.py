"""Runs in which the encoder's last layers are trained along with the head."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mpsheads.experiments.data import Split
from mpsheads.experiments.epochs import Epochs
from mpsheads.experiments.methods import code, make_head
from mpsheads.experiments.results import Line
from mpsheads.heads import ProjectionHead, ReferenceHead
from mpsheads.training import FinetuneConfig, TextModel, TextPairs, finetune

if TYPE_CHECKING:
    from mpsheads.experiments.runs import Run, Runner
    from mpsheads.experiments.spec import Experiment

_CALIBRATION = 2048  # documents that codes of unbounded numbers are calibrated on


def measure_layers(
    runner: "Runner", experiment: "Experiment", run: "Run", folder: Path
) -> Iterator[Line]:
    """Train encoder and head on the texts of a run, and measure them.

    Hard negatives are those of the encoder before training.

    Args:
        runner: Has the encoder and the collections.
        experiment: What is run.
        run: The run.
        folder: Where its checkpoint lies while it is not done.
    """
    method, config = run.method, experiment.config(run.method, run.seed)
    assert isinstance(config, FinetuneConfig)
    split = runner.training(experiment)
    found, held = runner.pairs(experiment, run, config.hard_negatives)
    pairs = TextPairs(
        [split.collection.queries[query_id] for query_id in split.query_ids],
        [split.collection.documents[doc_id] for doc_id in split.doc_ids],
        found.pairs,
        found.hard_negatives,
    )
    head = None
    if method.head != "uncompressed":
        head = make_head(method, run.size, run.seed, split.documents)
    elif method.similarity == "fidelity":  # not normalised: the paper's fidelities have a gradient
        head = ReferenceHead(run.size, run.size)
    tests = runner.tests(experiment)
    validation = split.only(held) if held else None
    epochs = Epochs(folder, scored=experiment.each_epoch)

    def after_epoch(trained: TextModel) -> float:
        epoch = epochs.begin()
        if experiment.each_epoch:
            lines = [line for line in run.results if line["epoch"] == epoch]
            epochs.add(_score(trained, lines, tests, pairs.documents))
        if validation is None:
            return float(epoch)
        scores = _scores(trained, validation, experiment.measure).values()
        return sum(scores) / len(scores)

    result = finetune(
        runner.encoder.folder,
        head,
        pairs,
        config,
        folder,
        pooling="cls" if runner.encoder.pooling == "cls" else "mean",
        validation=after_epoch,
        resume=True,
        progress=runner.progress,
        device=runner.encoder.device,
    )
    scored = epochs.lines
    if not experiment.each_epoch:
        scored = list(_score(result.trained, run.results, tests, pairs.documents))
    yield from ({**line, "pairs": len(pairs)} for line in scored)


@torch.no_grad()
def _scores(trained: TextModel, split: Split, measure: str) -> dict[str, float]:
    zq = trained.compress([split.collection.queries[i] for i in split.query_ids])
    zd = trained.compress([split.collection.documents[i] for i in split.doc_ids])
    return split.scores(zq, zd, trained.head.similarity, measure)


def _score(
    trained: TextModel, lines: Sequence[Line], tests: dict[str, Split], documents: Sequence[str]
) -> Iterator[Line]:
    head: ProjectionHead = trained.head
    calibration = None
    for name in dict.fromkeys(line["test"] for line in lines):
        test = tests[name]
        zq = trained.compress([test.collection.queries[i] for i in test.query_ids])
        zd = trained.compress([test.collection.documents[i] for i in test.doc_ids])
        for line in (line for line in lines if line["test"] == name):
            coded = zd
            if line["bits"] < 32:
                if calibration is None:
                    calibration = trained.compress(documents[:_CALIBRATION])
                coded = code(head, zd, calibration, line["bits"])
            with torch.no_grad():
                scores = test.scores(zq, coded, head.similarity, line["measure"])
            yield {**line, "parameters": head.num_parameters, "scores": scores}
