"""The trials of an experiment, what each result of them will say, and which are asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mpsheads._arrays import door
from mpsheads._typing import Positive
from mpsheads.experiments.quantise import quantiser_sizes, rabitq_bytes
from mpsheads.experiments.results import Line
from mpsheads.experiments.spec import LEARNED, MAX_TRIPLES, UNCOMPRESSED, Experiment, Method
from mpsheads.heads import make_head
from mpsheads.retrieval import dataset_name, parse_dataset


@dataclass(frozen=True)
class Trial:
    """One model: what is made or trained once, and measured in several ways."""

    method: Method
    size: int  # numbers a vector, or bytes
    seed: int  # of parameters, order of pairs and choice of queries
    fraction: float
    results: tuple[Line, ...]  # what each result will say besides its scores

    @property
    def needs_training_collection(self) -> bool:
        """Whether it is trained or fitted, or coded in cells of training documents."""
        coded = any(line["bits"] < 32 for line in self.results) and not self.method.in_bytes
        return self.method.needs_training_documents or coded


def trials_of(experiment: Experiment, encoder: str, features: int) -> list[Trial]:
    """All trials of an experiment on an encoder.

    Raises:
        ValueError: If a size does not fit its width, or results would call two tests the same.
    """
    _check_distinct("test", {test: name_of(test) for test in experiment.tests})
    trials = []
    for method in experiment.methods:
        for fraction in experiment.fractions if method.needs_pairs else (1.0,):
            for size in _sizes(experiment, method, features):
                for seed in experiment.seeds if method.is_random else (0,):
                    trial = Trial(method, size, seed, fraction, ())
                    lines = tuple(_results(experiment, trial, encoder, features))
                    trials.append(replace(trial, results=lines))
    return trials


def _sizes(experiment: Experiment, method: Method, features: int) -> Sequence[int]:
    if method.head == UNCOMPRESSED:
        return [features]
    sizes = experiment.sizes_of(method, features)
    if max(sizes) > features and not method.in_bytes:
        raise ValueError(f"`sizes` holds {max(sizes)}, but the embeddings have {features} numbers.")
    if not method.in_bytes or method.sizes:
        return sizes
    codes = {-(-size * bits // 8) for size in sizes for bits in experiment.bits}
    if method.head == "rabitq":
        return [rabitq_bytes(features)]
    if method.is_quantiser:
        return sorted(quantiser_sizes(method.head, features, codes), reverse=True)
    return sorted((size for size in codes if 8 <= size <= features // 2), reverse=True)


def _results(experiment: Experiment, trial: Trial, encoder: str, features: int) -> Iterator[Line]:
    method, size = trial.method, trial.size
    config = experiment.config(method, trial.seed)
    all_bits = (32,) if method.trained == "layers" and experiment.each_epoch else experiment.bits
    if method.head == UNCOMPRESSED:  # what others keep is a part of its float32 vectors
        all_bits = tuple(dict.fromkeys([32, *all_bits]))
    epochs = range(1, config.epochs + 1) if experiment.each_epoch else [config.epochs]
    for epoch in epochs if method.is_trained else [0]:
        for bits in (8,) if method.in_bytes else all_bits:
            n_bytes = size if method.in_bytes else -(-size * bits // 8)
            for test in experiment.tests:
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
                    "fraction": trial.fraction,
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
    if method.fit == "pairs" and method.head != "codes":
        settings["fit"] = method.fit
    if method.is_trained:
        settings |= {**experiment.training, **method.training}
        changed = {"layers": method.layers, "tokens": method.tokens}
        settings |= {name: n for name, n in changed.items() if n != getattr(Method, name)}
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
    """Raise before anything runs if a head cannot be made; the error names method and size."""
    for trial in {(trial.method.label, trial.size): trial for trial in trials}.values():
        method = trial.method
        try:
            if method.head in LEARNED:
                settings = dict(method.settings)
                if settings.get("start") == "pca":  # the documents come later
                    del settings["start"]
                make_head(method.head, features, trial.size, **settings)
        except (TypeError, ValueError) as error:
            place = f"The method {method.label!r} at size {trial.size}"
            raise type(error)(f"{place}: {error}") from error


@door
def select(
    experiments: Sequence[Experiment],
    *,
    methods: Sequence[str] = (),
    trained: Literal["nothing", "head", "layers"] | None = None,
    seeds: Positive | None = None,
    **changes: Any,
) -> list[Experiment]:
    """Experiments as somebody asks for them, without those of which nothing is left.

    Args:
        experiments: As `find_experiments` returns them.
        methods: Only those with these labels; all if empty.
        trained: Only methods of which this is trained, "head" or "layers", or nothing is.
        seeds: How many seeds, from 0 on.
        changes: Fields of `Experiment` with other values; `None` and empty ones change nothing.

    Raises:
        ValueError: If a label or a value is wrong, or nothing is left to run.
    """
    labels = dict.fromkeys(method.label for each in experiments for method in each.methods)
    if unknown := [label for label in methods if label not in labels]:
        raise ValueError(f"`method` {unknown[0]!r} is unknown; there are {'; '.join(labels)}.")
    chosen = []
    for experiment in experiments:
        rows = [
            method
            for method in experiment.methods
            if (not methods or method.label in methods)
            and (trained is None or method.trained in ("nothing", trained))
        ]
        if rows:
            values = {**changes, "methods": rows, "seeds": seeds and range(seeds)}
            chosen.append(experiment.changed(**values))
    if not chosen:
        raise ValueError("`method` and `trained` leave nothing to run.")
    return chosen


def encoder_labels(encoders: Iterable[str]) -> dict[str, str]:
    """Each encoder and what results call it: the last part of a path or a hub name.

    Raises:
        ValueError: If two would be called the same.
    """
    labels = {name: Path(name).name if "/" in name else name for name in encoders}
    _check_distinct("encoder", labels)
    return labels


def _check_distinct(kind: str, labels: Mapping[str, str]) -> None:
    by_label: dict[str, str] = {}
    for name, label in labels.items():
        if by_label.setdefault(label, name) != name:
            raise ValueError(
                f"`{kind}` {by_label[label]} and {name} are both called {label!r} in results. "
                f"Run them into different folders, with `output`."
            )
