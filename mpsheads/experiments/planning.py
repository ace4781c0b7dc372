"""The runs of an experiment, and what each result of them will say."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mpsheads.experiments.data import name_of
from mpsheads.experiments.methods import new_head
from mpsheads.experiments.results import Line
from mpsheads.experiments.spec import MAX_TRIPLES, Experiment, Method


@dataclass(frozen=True)
class Run:
    """One model: what is made or trained once, and measured in several ways.

    Attributes:
        method: Which.
        size: Numbers a vector; bytes for a product quantiser.
        seed: Of parameters, order of pairs and choice of queries.
        fraction: Of the training queries.
        results: What each result will say besides its scores, all of this model.
    """

    method: Method
    size: int
    seed: int
    fraction: float
    results: tuple[Line, ...]


def runs_of(experiment: Experiment, encoder: str, features: int) -> list[Run]:
    """All runs of an experiment on one encoder.

    Args:
        experiment: The experiment.
        encoder: Name of the encoder.
        features: Width of its embeddings.

    Raises:
        ValueError: If a size does not fit the width.
    """
    runs = []
    for method in experiment.methods:
        for fraction in experiment.fractions if method.is_trained else experiment.fractions[-1:]:
            for size in _sizes(experiment, method, features):
                for seed in experiment.seeds if method.is_random else (0,):
                    lines = _results(experiment, encoder, features, method, size, seed, fraction)
                    runs.append(Run(method, size, seed, fraction, tuple(lines)))
    return runs


def _sizes(experiment: Experiment, method: Method, features: int) -> Sequence[int]:
    if method.head == "uncompressed":
        return [features]
    sizes = experiment.sizes_of(features)
    too_large = next((size for size in sizes if size > features), None)
    if too_large is not None:
        raise ValueError(f"`sizes` holds {too_large}, but the embeddings have {features} numbers.")
    if method.is_quantiser:
        sizes = sorted(
            {size * bits // 8 for size in sizes for bits in experiment.bits}, reverse=True
        )
        return [size for size in sizes if size and features % size == 0]
    return sizes


def check_heads(runs: Sequence[Run], features: int) -> None:
    """Make each head once, to know before anything runs that it can be made.

    Raises:
        ValueError: If a size or a setting does not fit; the message names method and size.
        TypeError: If a setting is not of the type that its head takes.
    """
    for run in runs:
        method = run.method
        if not method.is_trained_head:
            continue
        settings = json.dumps(dict(method.settings), sort_keys=True)
        try:
            _try_head(method.head, settings, features, run.size)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"The method {method.label!r} at size {run.size}: {error}") from error


@cache
def _try_head(head: str, settings: str, features: int, size: int) -> None:
    new_head(Method(head, head, settings=json.loads(settings)), features, size, 0)


def _results(
    experiment: Experiment,
    encoder: str,
    features: int,
    method: Method,
    size: int,
    seed: int,
    fraction: float,
) -> Iterator[Line]:
    config = experiment.config(method, seed)
    bits_of = (32,) if method.trained == "layers" and experiment.each_epoch else experiment.bits
    epochs = range(1, config.epochs + 1) if experiment.each_epoch else [config.epochs]
    settings = _settings(experiment, method)
    for epoch in epochs if method.is_trained else [0]:
        for bits in (8,) if method.is_quantiser else bits_of:
            for test in experiment.tests:
                yield {
                    "experiment": experiment.name,
                    "encoder": encoder,
                    "train": name_of(experiment.train),
                    "trained": method.trained,
                    "method": method.label,
                    "settings": settings,
                    "size": size,
                    "bits": bits,
                    "seed": seed,
                    "fraction": fraction if method.is_trained else 1.0,
                    "epoch": epoch,
                    "test": name_of(test),
                    "measure": experiment.measure,
                    "features": features,
                    "bytes": size if method.is_quantiser else -(-size * bits // 8),
                }


def _settings(experiment: Experiment, method: Method) -> dict:
    """What tells models apart beyond method, size, seed and training collection."""
    settings = dict(method.settings)
    if method.similarity != "cosine":
        settings["similarity"] = method.similarity
    if method.is_trained:
        settings |= {**experiment.training, **method.training}
        if experiment.select != "last":
            settings["select"] = experiment.select
    if method.needs_training_documents:
        if experiment.triples:
            settings["triples"] = Path(experiment.triples).name
        if experiment.max_triples != MAX_TRIPLES:
            settings["max_triples"] = experiment.max_triples
    return settings
