"""Running an experiment: every combination once, each result written as soon as it is known."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.experiments.data import (
    Split,
    choose_queries,
    hold_out,
    name_of,
    own_triples,
    pairs_of,
)
from mpsheads.experiments.epochs import Epochs
from mpsheads.experiments.methods import make_head, product_quantiser, uncompressed_similarity
from mpsheads.experiments.planning import Run, runs_of
from mpsheads.experiments.results import Line, append_result, key_of, read_results
from mpsheads.experiments.scoring import score_head
from mpsheads.experiments.spec import Experiment
from mpsheads.heads import ProjectionHead, TruncationHead
from mpsheads.retrieval import Encoder
from mpsheads.training import TrainingConfig, TrainingData, ranking_validation, train_head
from mpsheads.training.candidates import rows_with_negatives

__all__ = ["Run", "Runner", "runs_of"]


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
        self._triples: dict[tuple[str, str, int], Split] = {}
        self._pairs: dict[tuple, tuple[TrainingData, list[str]]] = {}

    def missing(self, experiment: Experiment) -> list[Run]:
        """The runs of which some result is not in the file."""
        known = self._known()
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
        added, known = 0, self._known()
        for run in self.missing(experiment):
            began = time.perf_counter()
            for line in self._measure(experiment, run):
                seconds = round(time.perf_counter() - began, 2)
                if key_of(line) not in known:
                    append_result(self.file, {**line, "seconds": seconds, "versions": _versions()})
                    added += 1
            shutil.rmtree(self._folder(run), ignore_errors=True)
            with suppress(OSError):  # other runs may be in it
                self._folder(run).parent.rmdir()
            advance(1)
        return added

    def _known(self) -> set[tuple]:
        return {key_of(line) for line in read_results(self.file)} if self.file.exists() else set()

    def prepare(self, experiment: Experiment) -> None:
        """Make the embeddings that are not in the cache yet, on all threads that torch has.

        Raises:
            ValueError: If there are too few training queries for what is missing; before anything
                is embedded.
        """
        missing = self.missing(experiment)
        tests = self.tests(experiment) if missing else {}
        if any(run.method.needs_training_documents or _is_coded(run) for run in missing):
            split = self.training(experiment)
            for fraction in {run.fraction for run in missing if run.method.is_trained}:
                queries = choose_queries(split, fraction, 0)
                if experiment.select == "best":
                    hold_out(queries)
            _ = split.queries, split.documents
        if any(run.method.trained != "layers" for run in missing):
            for split in tests.values():
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

    def training(self, experiment: Experiment) -> Split:
        """The collection that an experiment trains on, with its triples if it has some."""
        triples = experiment.triples or own_triples(experiment.train)
        if not triples:
            return self.split(experiment.train)
        key = (experiment.train, triples, experiment.max_triples)
        if key not in self._triples:
            self._triples[key] = Split.of_triples(*key, self.encoder, progress=self.progress)
        return self._triples[key]

    def _measure(self, experiment: Experiment, run: Run) -> Iterator[Line]:
        method, tests = run.method, self.tests(experiment)
        if method.trained == "layers":
            from mpsheads.experiments.layers import measure_layers

            yield from measure_layers(self, experiment, run, self._folder(run))
            return
        known = None
        if method.needs_training_documents or _is_coded(run):
            known = self.training(experiment).documents
        if method.is_quantiser:
            assert known is not None
            yield from _score_quantiser(run, tests, known)
            return
        if method.head in ("uncompressed", "truncation"):  # truncation to all of them is none
            head: ProjectionHead = TruncationHead(self.encoder.features, run.size)
        else:
            assert known is not None
            head = make_head(method, run.size, run.seed, known)
        if method.is_trained:
            yield from self._trained(experiment, run, head, tests, known)
            return
        similarity = None if method.similarity == "cosine" else uncompressed_similarity(method)
        yield from score_head(head, run.results, tests, known, similarity)

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
        usable = len(data)
        if config.loss == "paper":
            usable = len(rows_with_negatives(data, config.hard_negatives))
        validate = None
        if held:
            kept = self.training(experiment).only(held)
            validate = ranking_validation(
                kept.collection,
                kept.queries,
                kept.documents,
                query_ids=kept.query_ids,
                document_ids=kept.doc_ids,
                measure=experiment.measure,
            )
        folder = self._folder(run)
        epochs = Epochs(folder, scored=experiment.each_epoch)

        def after_epoch(trained: ProjectionHead) -> float:
            epoch = epochs.begin()
            if experiment.each_epoch:
                lines = [line for line in run.results if line["epoch"] == epoch]
                epochs.add(score_head(trained, lines, tests, known))
            return float(epoch) if validate is None else validate(trained)

        result = train_head(
            head,
            data,
            replace(config, batch_size=min(config.batch_size, usable)),
            folder,
            validation=after_epoch,
            resume=True,
            progress=False,
            device=self.device,
        )
        scored = epochs.lines
        if not experiment.each_epoch:
            scored = list(score_head(result.head, run.results, tests, known))
        yield from ({**line, "pairs": len(data)} for line in scored)

    def pairs(
        self, experiment: Experiment, run: Run, hard_negatives: int
    ) -> tuple[TrainingData, list[str]]:
        """Training pairs of a run, and the queries held out for validation."""
        whole = run.fraction == 1 and experiment.select == "last"  # the same for every seed
        seed = 0 if whole else run.seed
        choice = (experiment.train, experiment.triples, experiment.max_triples)
        choice += (run.fraction, seed, hard_negatives, experiment.select)
        if choice not in self._pairs:
            split = self.training(experiment)
            queries, held = choose_queries(split, run.fraction, seed), []
            if experiment.select == "best":
                queries, held = hold_out(queries)
            self._pairs.clear()  # one at a time: mined negatives of a large collection are large
            self._pairs[choice] = pairs_of(split, queries, hard_negatives), held
        return self._pairs[choice]

    def _folder(self, run: Run) -> Path:
        name = json.dumps([list(key_of(line)) for line in run.results])
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.file.with_name(f"{self.file.name}.running") / digest


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("mpsheads", "torch")}


def _is_coded(run: Run) -> bool:
    """Whether some vectors are brought to few bits, in cells of the training documents."""
    return any(line["bits"] < 32 for line in run.results)


def _score_quantiser(run: Run, tests: dict[str, Split], known: Tensor) -> Iterator[Line]:
    reconstruct, parameters = product_quantiser(run.method, run.size, run.seed, known)
    similarity = uncompressed_similarity(run.method)
    for line in run.results:
        test = tests[line["test"]]
        decoded = reconstruct(test.documents)
        scores = test.scores(test.queries, decoded, similarity, line["measure"])
        yield {**line, "fitted": len(known), "parameters": parameters, "scores": scores}
