"""The trials of an experiment, what each result of them will say, and which are asked for."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mpsheads._checks import check_choice, check_positive
from mpsheads.experiments.results import Key, Line, key_of
from mpsheads.experiments.spec import LEARNED, MAX_TRIPLES, UNCOMPRESSED, Experiment, Method
from mpsheads.heads import make_head
from mpsheads.retrieval import dataset_name, parse_dataset


@dataclass(frozen=True)
class Trial:
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


def trials_of(experiment: Experiment, encoder: str, features: int) -> list[Trial]:
    """All trials of an experiment on one encoder.

    Args:
        experiment: The experiment.
        encoder: What results call the encoder.
        features: Width of its embeddings.

    Raises:
        ValueError: If a size does not fit the width.
    """
    trials = []
    for method in experiment.methods:
        for fraction in experiment.fractions if method.is_trained else experiment.fractions[-1:]:
            for size in _sizes(experiment, method, features):
                for seed in experiment.seeds if method.is_random else (0,):
                    trial = Trial(method, size, seed, fraction, ())
                    lines = tuple(_results(experiment, trial, encoder, features))
                    if lines:
                        trials.append(Trial(method, size, seed, fraction, lines))
    return trials


def _sizes(experiment: Experiment, method: Method, features: int) -> Sequence[int]:
    if method.head == UNCOMPRESSED:
        return [features]
    sizes = experiment.sizes_of(features)
    if max(sizes) > features:
        raise ValueError(f"`sizes` holds {max(sizes)}, but the embeddings have {features} numbers.")
    if not method.is_quantiser:
        return sizes
    codes = sorted({size * bits // 8 for size in sizes for bits in experiment.bits}, reverse=True)
    return [size for size in codes if size and features % size == 0]


def _results(experiment: Experiment, trial: Trial, encoder: str, features: int) -> Iterator[Line]:
    method, size = trial.method, trial.size
    config = experiment.config(method, trial.seed)
    all_bits = (32,) if method.trained == "layers" and experiment.each_epoch else experiment.bits
    low, high = experiment.bytes or (0, math.inf)
    epochs = range(1, config.epochs + 1) if experiment.each_epoch else [config.epochs]
    for epoch in epochs if method.is_trained else [0]:
        for bits in (8,) if method.is_quantiser else all_bits:
            n_bytes = size if method.is_quantiser else -(-size * bits // 8)
            is_plain = method.head == UNCOMPRESSED and bits == 32
            for test in experiment.tests if low <= n_bytes <= high or is_plain else ():
                yield {
                    "experiment": experiment.name,
                    "encoder": encoder,
                    "train": name_of(experiment.train),
                    "trained": method.trained,
                    "method": method.label,
                    "settings": _settings(experiment, method),
                    "size": size,
                    "bits": bits,
                    "seed": trial.seed,
                    "fraction": trial.fraction if method.is_trained else 1.0,
                    "epoch": epoch,
                    "test": name_of(test),
                    "measure": experiment.measure,
                    "features": features,
                    "bytes": n_bytes,
                }


def _settings(experiment: Experiment, method: Method) -> dict[str, Any]:
    """What tells models apart beyond method, size, seed and training collection."""
    settings = dict(method.settings)
    if method.similarity != "cosine":
        settings["similarity"] = method.similarity
    if method.is_trained:
        settings |= {**experiment.training, **method.training}
        if method.layers != 4:
            settings["layers"] = method.layers
        if experiment.select != "last":
            settings["select"] = experiment.select
    if method.needs_training_documents:
        if experiment.triples:
            settings["triples"] = Path(experiment.triples).name
        if experiment.max_triples != MAX_TRIPLES:
            settings["max_triples"] = experiment.max_triples
    return settings


def name_of(dataset: str) -> str:
    """What results call `COLLECTION[:SPLIT][@POOL]`; without a pool it is "judged"."""
    return dataset_name(dataset if parse_dataset(dataset)[2] else f"{dataset}@judged")


def check_heads(trials: Iterable[Trial], features: int) -> None:
    """Make each head once, to learn before anything runs that it can be made.

    Raises:
        ValueError: If a size or a setting does not fit; the message names method and size.
        TypeError: If a setting is not of the type that its head takes.
    """
    for trial in trials:
        method = trial.method
        if method.head in LEARNED:
            settings = json.dumps(dict(method.settings), sort_keys=True)
            try:
                _try_head(method.head, features, trial.size, settings)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                place = f"The method {method.label!r} at size {trial.size}"
                raise kind(f"{place}: {error}") from error


@cache
def _try_head(kind: str, features: int, size: int, settings: str) -> None:
    make_head(kind, features, size, **json.loads(settings))


def select(
    experiments: Sequence[Experiment],
    *,
    methods: Sequence[str] = (),
    trained: Sequence[str] = (),
    seeds: int | None = None,
    epochs: int | None = None,
    **changes: Any,
) -> list[Experiment]:
    """Experiments as somebody asks for them, without those of which nothing is left.

    Args:
        experiments: As `find_experiments` returns them.
        methods: Only those with these labels; all if empty.
        trained: Only methods of which this is trained, "head" or "layers", or nothing is.
        seeds: How many seeds, from 0 on.
        epochs: Epochs of training, unless a method has its own.
        changes: Fields of `Experiment` with other values; `None` and empty ones change nothing.

    Raises:
        ValueError: If a label or a value is wrong, or nothing is left to run.
    """
    for name in trained:
        check_choice("trained", name, ("nothing", "head", "layers"))
    check_positive(**{n: v for n, v in (("seeds", seeds), ("epochs", epochs)) if v is not None})
    labels = dict.fromkeys(method.label for each in experiments for method in each.methods)
    for label in methods:
        if label not in labels:
            raise ValueError(f"`method` {label!r} is unknown; there are {'; '.join(labels)}.")
    chosen = []
    for experiment in experiments:
        rows = tuple(
            method
            for method in experiment.methods
            if (not methods or method.label in methods)
            and (not trained or method.trained in ("nothing", *trained))
        )
        if rows:
            training = dict(experiment.training) | ({"epochs": epochs} if epochs else {})
            values = {**changes, "seeds": range(seeds) if seeds else None, "training": training}
            chosen.append(experiment.changed(methods=rows, **values))
    if not chosen:
        raise ValueError("`method` and `trained` leave nothing to run.")
    return chosen


def encoder_label(encoder: str) -> str:
    """What results call an encoder: the last part of a path or a hub name."""
    return Path(encoder).name if "/" in encoder else encoder


def encoder_labels(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Each encoder and what results call it.

    Raises:
        ValueError: If two would be called the same.
    """
    names = dict.fromkeys(name for each in experiments for name in each.encoders)
    by_label: dict[str, str] = {}
    for name in names:
        label = encoder_label(name)
        if by_label.setdefault(label, name) != name:
            raise ValueError(
                f"`encoder` {by_label[label]} and {name} are both called {label!r} in results. "
                f"Run them into different folders, with `output`."
            )
    return {name: label for label, name in by_label.items()}


def expected_keys(experiments: Sequence[Experiment], lines: Sequence[Line]) -> list[Key]:
    """The keys of all results that the experiments which wrote these lines are to have.

    An experiment without any line was run with other options, of which nothing is known.
    """
    written = {key_of(line) for line in lines}
    features = {line["encoder"]: line["features"] for line in lines if "features" in line}
    expected: list[Key] = []
    for encoder, label in encoder_labels(experiments).items():
        for experiment in experiments:
            if encoder in experiment.encoders and label in features:
                trials = trials_of(experiment, label, features[label])
                keys = [key_of(line) for trial in trials for line in trial.results]
                expected += keys if written.intersection(keys) else []
    return expected
