"""Running an experiment: every combination once, each result written as soon as it is known."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.experiments.data import Split, choose_queries, hold_out, name_of, pairs_of
from mpsheads.experiments.methods import (
    code,
    make_head,
    product_quantiser,
    uncompressed_similarity,
)
from mpsheads.experiments.results import Line, append_result, key_of, read_results
from mpsheads.experiments.spec import Experiment, Method
from mpsheads.heads import ProjectionHead, TruncationHead
from mpsheads.retrieval import Encoder
from mpsheads.training import TrainingConfig, TrainingData, ranking_validation, train_head

_BATCH = 8192


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
        for fraction in experiment.fractions if method.is_random else experiment.fractions[-1:]:
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
    settings = dict(method.settings)
    if method.similarity != "cosine":
        settings["similarity"] = method.similarity
    if method.is_random:
        settings |= {**experiment.training, **method.training}
    for epoch in epochs if method.is_random else [0]:
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
                    "fraction": fraction if method.is_random else 1.0,
                    "epoch": epoch,
                    "test": name_of(test),
                    "measure": experiment.measure,
                    "features": features,
                    "bytes": size if method.is_quantiser else -(-size * bits // 8),
                }


class Runner:
    """Runs experiments on one encoder; embeddings and mined negatives are made once.

    Args:
        encoder: Makes embeddings, or finds them in the cache.
        name: What results call it.
        file: Where results go, one JSON object a line.
        device: Where heads are trained.
        progress: Whether bars are shown.
    """

    def __init__(
        self,
        encoder: Encoder,
        name: str,
        file: PathLike,
        *,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        self.encoder, self.name, self.file = encoder, name, Path(file)
        self.device, self.progress = torch.device(device), progress
        self._splits: dict[str, Split] = {}
        self._pairs: dict[tuple[str, float, int, int, str], tuple[TrainingData, list[str]]] = {}

    def missing(self, experiment: Experiment) -> list[Run]:
        """The runs of which some result is not in the file."""
        known = {key_of(line) for line in read_results(self.file)} if self.file.exists() else set()
        return [
            run
            for run in runs_of(experiment, self.name, self.encoder.features)
            if any(key_of(line) not in known for line in run.results)
        ]

    def run(self, experiment: Experiment, advance: Callable[[int], None] = lambda _: None) -> int:
        """Do what is missing, and write each result as soon as its model is done.

        A killed call that is made again goes on where it stopped, in the middle of a training too,
        and ends with the same results.

        Args:
            experiment: What to run.
            advance: Called after each run with 1.

        Returns:
            How many results were added.
        """
        added = 0
        known = {key_of(line) for line in read_results(self.file)} if self.file.exists() else set()
        for run in self.missing(experiment):
            began = time.perf_counter()
            for line in self._measure(experiment, run):
                seconds = round(time.perf_counter() - began, 2)
                if key_of(line) not in known:
                    append_result(self.file, {**line, "seconds": seconds, "versions": _versions()})
                    added += 1
            shutil.rmtree(self._folder(experiment, run), ignore_errors=True)
            advance(1)
        return added

    def prepare(self, experiment: Experiment) -> None:
        """Make the embeddings that are not in the cache yet, on all threads that torch has."""
        missing = self.missing(experiment)
        if missing:
            split = self.split(experiment.train)
            _ = split.queries, split.documents
        if any(run.method.trained != "layers" for run in missing):
            for split in self.tests(experiment).values():
                _ = split.queries, split.documents

    def tests(self, experiment: Experiment) -> dict[str, Split]:
        """The collections that an experiment measures on, by the names in its results."""
        return {name_of(test): self.split(test) for test in experiment.tests}

    def split(self, reference: str) -> Split:
        """A collection with its embeddings, read once."""
        if reference not in self._splits:
            loaded = Split.load(reference, self.encoder, progress=self.progress)
            self._splits[reference] = loaded
        return self._splits[reference]

    def _measure(self, experiment: Experiment, run: Run) -> Iterator[Line]:
        method, lines = run.method, list(run.results)
        tests = self.tests(experiment)
        if method.trained == "layers":
            from mpsheads.experiments.layers import measure_layers

            yield from measure_layers(self, experiment, run, self._folder(experiment, run))
            return
        if method.head == "uncompressed" and method.similarity == "fidelity":
            similarity = uncompressed_similarity(method)
            for line in lines:
                test = tests[line["test"]]
                scores = test.scores(test.queries, test.documents, similarity, line["measure"])
                yield {**line, "parameters": 0, "scores": scores}
            return
        known = None
        if method.head not in ("uncompressed", "truncation") or min(experiment.bits) < 32:
            known = self.split(experiment.train).documents
        if method.is_quantiser:
            assert known is not None
            reconstruct, parameters = product_quantiser(method, run.size, run.seed, known)
            for line in lines:
                test = tests[line["test"]]
                scores = test.scores(
                    test.queries,
                    reconstruct(test.documents),
                    uncompressed_similarity(method),
                    line["measure"],
                )
                fitted = {"fitted": len(known), "parameters": parameters}
                yield {**line, **fitted, "scores": scores}
            return
        if method.head in ("uncompressed", "truncation"):  # truncation to all of them is none
            head: ProjectionHead = TruncationHead(self.encoder.features, run.size)
        else:
            assert known is not None
            head = make_head(method, run.size, run.seed, known)
        if not method.is_random:
            yield from score_head(head, lines, tests, known)
            return
        yield from self._trained(experiment, run, head, tests, known)

    def _trained(
        self,
        experiment: Experiment,
        run: Run,
        head: ProjectionHead,
        tests: dict[str, Split],
        known: Tensor | None,
    ) -> Iterator[Line]:
        config = experiment.config(run.method, run.seed)
        assert isinstance(config, TrainingConfig)
        data, held = self.pairs(experiment, run, config.hard_negatives)
        by_epoch: dict[int, list[Line]] = {}
        for line in run.results:
            by_epoch.setdefault(line["epoch"], []).append(line)
        scored: list[Line] = []
        validate = None
        if experiment.select == "best":
            kept = self.split(experiment.train).only(held)
            validate = ranking_validation(
                kept.collection,
                kept.queries,
                kept.documents,
                query_ids=kept.query_ids,
                document_ids=kept.doc_ids,
                measure=experiment.measure,
            )
        epoch = 0

        def after_epoch(trained: ProjectionHead) -> float:
            nonlocal epoch
            epoch += 1
            if experiment.each_epoch:
                scored.extend(score_head(trained, by_epoch[epoch], tests, known))
            return float(epoch) if validate is None else validate(trained)

        result = train_head(
            head,
            data,
            replace(config, batch_size=min(config.batch_size, len(data))),
            self._folder(experiment, run),
            validation=after_epoch,
            resume=not experiment.each_epoch,
            progress=False,
            device=self.device,
        )
        if not experiment.each_epoch:
            scored.extend(score_head(result.head, list(run.results), tests, known))
        yield from ({**line, "pairs": len(data)} for line in scored)

    def pairs(
        self, experiment: Experiment, run: Run, hard_negatives: int
    ) -> tuple[TrainingData, list[str]]:
        """Training pairs of a run, and the queries held out for validation."""
        choice = (experiment.train, run.fraction, run.seed, hard_negatives, experiment.select)
        if run.fraction == 1 and experiment.select == "last":
            choice = (*choice[:2], 0, *choice[3:])  # the same for every seed
        if choice not in self._pairs:
            split = self.split(experiment.train)
            queries, held = choose_queries(split, run.fraction, choice[2]), []
            if experiment.select == "best":
                queries, held = hold_out(queries)
            self._pairs.clear()  # one at a time: mined negatives of a large collection are large
            self._pairs[choice] = pairs_of(split, queries, hard_negatives), held
        return self._pairs[choice]

    def _folder(self, experiment: Experiment, run: Run) -> Path:
        name = json.dumps([list(key_of(line)) for line in run.results])
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.file.with_name(f"{self.file.name}.running") / digest


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("mpsheads", "torch")}


def score_head(
    head: ProjectionHead, lines: Sequence[Line], tests: dict[str, Split], known: Tensor | None
) -> Iterator[Line]:
    """The results of a head that is ready, for each test and number of bits.

    Args:
        head: The head.
        lines: What each result says besides its scores.
        tests: Where to measure.
        known: Training documents, which codes of unbounded numbers are calibrated on.
    """
    compressed = {}
    calibration = None
    for line in lines:
        test = tests[line["test"]]
        if line["test"] not in compressed:
            compressed[line["test"]] = (
                compress(head, test.queries),
                compress(head, test.documents),
            )
        zq, zd = compressed[line["test"]]
        if line["bits"] < 32:
            assert known is not None
            calibration = compress(head, known) if calibration is None else calibration
            zd = code(head, zd, calibration, line["bits"])
        scores = test.scores(zq, zd, head.similarity, line["measure"])
        yield {**line, "parameters": head.num_parameters, "scores": scores}


@torch.no_grad()
def compress(head: ProjectionHead, x: Tensor) -> Tensor:
    """Embeddings compressed on the head's device, some thousand at a time, brought to the CPU."""
    like = next(iter([*head.parameters(), *head.buffers()]), x)
    return torch.cat([head(part.to(like.device, like.dtype)).cpu() for part in x.split(_BATCH)])
