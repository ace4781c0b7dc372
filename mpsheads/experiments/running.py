"""Running experiments: every trial once, each result written as soon as it is known."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mpsheads._checks import as_device
from mpsheads._files import as_path, locked
from mpsheads._progress import progress_bar
from mpsheads._typing import PathLike
from mpsheads.experiments.measuring import angle_fidelity, measure
from mpsheads.experiments.quantise import check_documents, fit_quantiser
from mpsheads.experiments.results import Key, Line, append_result, key_of, read_results
from mpsheads.experiments.spec import UNCOMPRESSED, Experiment
from mpsheads.experiments.trials import Trial, check_heads, encoder_labels, name_of, trials_of
from mpsheads.heads import ProjectionHead, ReferenceHead, TruncationHead, make_head
from mpsheads.retrieval import (
    EmbeddedCollection,
    Encoder,
    embed_dataset,
    load_triples,
    parse_dataset,
)
from mpsheads.training import (
    CHECKPOINT,
    TrainingConfig,
    TrainingData,
    hold_out,
    mine_hard_negatives,
    ranking_validation,
    read_checkpoint,
    train,
    training_data,
)


class Runner:
    """Runs experiments on one encoder; embeddings and mined negatives are made once."""

    def __init__(
        self,
        encoder: Encoder,
        name: str,
        file: PathLike,
        *,
        device: torch.device | str | None = None,
        progress: bool = False,
    ) -> None:
        own = encoder.device if encoder.device.type == "cuda" else "cpu"
        self.encoder, self.name, self.file = encoder, name, as_path(file)
        self.device, self.progress = as_device(own if device is None else device), progress
        self._embedded: dict[tuple, EmbeddedCollection] = {}
        self._pairs: dict[tuple, tuple[TrainingData, EmbeddedCollection | None]] = {}

    def missing(self, experiment: Experiment) -> list[Trial]:
        """The trials of which some result is not in the file."""
        written = self._written()
        return [
            trial
            for trial in trials_of(experiment, self.name, self.encoder.features)
            if any(key_of(line) not in written for line in trial.results)
        ]

    def embedded(self, dataset: str, **triples: Any) -> EmbeddedCollection:
        """A collection with its embeddings, made once; without a pool it is "judged"."""
        key = (dataset, *triples.values())
        if key not in self._embedded:
            self._embedded[key] = embed_dataset(
                dataset, self.encoder, default_pool="judged", progress=self.progress, **triples
            )
        return self._embedded[key]

    def training(self, experiment: Experiment) -> EmbeddedCollection:
        """The collection that an experiment trains on, with its triples if it has some."""
        triples = experiment.triples or _own_triples(experiment.train)
        more = {"triples": triples, "max_triples": experiment.max_triples} if triples else {}
        return self.embedded(experiment.train, **more)

    def run(self, experiments: Sequence[Experiment]) -> None:
        """Do what is missing of some experiments, once all that it needs is embedded."""
        todo = [(each, trial) for each in experiments for trial in self.missing(each)]
        for experiment, trial in todo:
            if trial.method.trained == "layers" and self.encoder.pooling is None:
                raise ValueError(
                    f"`trained` layers are those of a bare transformer; {self.encoder.folder} has "
                    f"modules of its own. Take another model, or train nothing or the head."
                )
            if trial.needs_training_collection:
                training = self.training(experiment)
                if trial.method.needs_pairs:
                    choose_queries(training, trial.fraction, 0)
                method = trial.method
                if method.is_quantiser:
                    check_documents(method.head, training.documents)
                elif "pca" in (method.head, method.settings.get("start")):
                    check_documents(method.label, training.documents, trial.size + 1)
            for test in experiment.tests:
                self.embedded(test)
        title = f"{self.name}: {', '.join(experiment.name for experiment in experiments)}"
        with progress_bar(title, len(todo), enabled=self.progress) as advance:
            for experiment, trial in todo:
                folder = self._folder(trial)
                self._add(self._measure(experiment, trial, folder))
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # other trials may be in it
                    folder.parent.rmdir()
                advance(1)

    def _written(self) -> set[Key]:
        return {key_of(line) for line in read_results(self.file)} if self.file.exists() else set()

    def _add(self, lines: Iterator[Line]) -> None:
        """Write those results that are not there yet."""
        written = self._written()
        versions = {name: version(name) for name in ("mpsheads", "torch")}
        for line in lines:
            if key_of(line) not in written:
                append_result(self.file, {**line, "versions": versions})

    def _measure(self, experiment: Experiment, trial: Trial, folder: Path) -> Iterator[Line]:
        method = trial.method
        tests = {name_of(test): self.embedded(test) for test in experiment.tests}
        training = self.training(experiment) if trial.needs_training_collection else None
        head = self._head(experiment, trial, training)
        if method.is_trained:
            assert training is not None
            yield from self._trained(experiment, trial, head, tests, training, folder)
        elif method.is_quantiser:
            assert training is not None
            documents = training.documents
            decoded, count = fit_quantiser(method.head, trial.size, trial.seed, documents)
            for line in measure(head, trial.results, tests, training, decoded=decoded):
                yield {**line, "fitted": len(documents), "parameters": count}
        else:
            similarity = angle_fidelity if method.similarity == "fidelity" else None
            yield from measure(head, trial.results, tests, training, similarity=similarity)

    def _head(
        self, experiment: Experiment, trial: Trial, training: EmbeddedCollection | None
    ) -> ProjectionHead:
        """The head of a trial, fitted or waiting for training, or both."""
        method, features = trial.method, self.encoder.features
        if method.head == UNCOMPRESSED and method.is_trained and method.similarity == "fidelity":
            return ReferenceHead(features, features)  # not normalised: fidelities have a gradient
        if method.is_quantiser or method.head == UNCOMPRESSED:
            return TruncationHead(features, features)  # truncation to all of them is none
        documents = training.documents if training and method.needs_training_documents else None
        settings = {"documents": documents, "seed": trial.seed, **method.settings}
        if method.fit == "pairs":
            assert training is not None
            settings |= training_data(_part(experiment, trial, training)[0]).paired()
        return make_head(method.head, features, trial.size, **settings)

    def _trained(
        self,
        experiment: Experiment,
        trial: Trial,
        head: ProjectionHead,
        tests: dict[str, EmbeddedCollection],
        training: EmbeddedCollection,
        folder: Path,
    ) -> Iterator[Line]:
        """Train a head on embeddings, or with the encoder's last layers on texts; and measure."""
        config = experiment.config(trial.method, trial.seed)
        data, held = self._data(experiment, trial, training, config)
        model, is_text = head, trial.method.trained == "layers"
        if is_text:
            from mpsheads.transformers import MPSHeadModel

            model = MPSHeadModel.from_encoder(
                self.encoder.folder,
                head,
                pooling=self.encoder.pooling or "mean",
                trainable_layers=trial.method.layers,
                max_length=trial.method.tokens,
            )
        validate = ranking_validation(held, experiment.measure) if held else None
        saved = (folder / CHECKPOINT).exists()
        epochs = itertools.count(1 + (len(read_checkpoint(folder)["history"]) if saved else 0))

        def score(model: Any, results: Sequence[Line]) -> Iterator[Line]:
            for line in measure(model, results, tests, training):
                yield {**line, "pairs": len(data)}

        def after_epoch(model: Any) -> float:
            epoch = next(epochs)
            if experiment.each_epoch:  # before its checkpoint is written
                self._add(score(model, [line for line in trial.results if line["epoch"] == epoch]))
            return float(epoch) if validate is None else validate(model)

        result = train(
            model,
            data,
            config,
            folder,
            validation=after_epoch,
            resume=True,
            progress=self.progress and is_text,
            device=self.encoder.device if is_text else self.device,
        )
        if not experiment.each_epoch:
            yield from score(result.model, trial.results)

    def _data(
        self,
        experiment: Experiment,
        trial: Trial,
        training: EmbeddedCollection,
        config: TrainingConfig,
    ) -> tuple[TrainingData, EmbeddedCollection | None]:
        """Pairs with hard negatives, found by embeddings, and what is held out for validation."""
        count = config.hard_negatives
        choice = (id(training), trial.fraction, _seed_of_choice(experiment, trial), count)
        choice += (experiment.select, trial.method.trained)
        if choice not in self._pairs:
            part, held = _part(experiment, trial, training)
            data = training_data(part)
            if data.hard_negatives is None and count:
                mined = mine_hard_negatives(data, count)
                data = mined if len(mined.with_negatives(count)) else data
            if trial.method.trained == "layers":
                texts = training_data(part, texts=True)
                data = replace(texts, hard_negatives=data.hard_negatives)
            self._pairs.clear()  # one at a time: mined negatives of a large collection are large
            self._pairs[choice] = data, held
        return self._pairs[choice]

    def _folder(self, trial: Trial) -> Path:
        """Where the checkpoint of a trial lies while it is not done."""
        name = json.dumps([list(key_of(line)) for line in trial.results])
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.file.with_name(f"{self.file.name}.running") / digest


def run_experiments(
    experiments: Sequence[Experiment],
    file: PathLike,
    *,
    device: str | None = None,
    progress: bool = False,
) -> None:
    """Run what is missing of some experiments, on all their encoders.

    Heads and sizes are checked before anything is embedded. Each result is written as soon as it
    is known, and what is in the file is not run again: a killed call that is made again goes on
    where it stopped, in the middle of a training too, and ends with the same results.

    Args:
        experiments: Which.
        file: Where results go, one JSON object a line.
        device: As `Encoder` takes it.
        progress: Whether bars are shown.

    Raises:
        BlockingIOError: If another process writes to that file.
        ValueError: If there are too few training queries, or too few documents for PCA or a
            quantiser; before anything is trained.
    """
    jobs = []
    encoders = dict.fromkeys(name for each in experiments for name in each.encoders)
    for encoder, label in encoder_labels(encoders).items():
        chosen = [experiment for experiment in experiments if encoder in experiment.encoders]
        model = Encoder(encoder, device=device)
        runner = Runner(model, label, file, device=device, progress=progress)
        for experiment in chosen:
            check_heads(runner.missing(experiment), model.features)
        jobs.append((runner, chosen))
    with locked(file, is_file=True):
        for runner, chosen in jobs:
            runner.run(chosen)


def _seed_of_choice(experiment: Experiment, trial: Trial) -> int:
    """The seed that chooses queries; the same for every trial where all of them are taken."""
    return 0 if trial.fraction == 1 and experiment.select == "last" else trial.seed


def _part(
    experiment: Experiment, trial: Trial, training: EmbeddedCollection
) -> tuple[EmbeddedCollection, EmbeddedCollection | None]:
    """What a trial is fitted to and trained on, and what is held out for validation."""
    seed = _seed_of_choice(experiment, trial)
    part = training.only(choose_queries(training, trial.fraction, seed))
    return hold_out(part, seed=seed) if experiment.select == "best" else (part, None)


def choose_queries(embedded: EmbeddedCollection, fraction: float, seed: int) -> list[str]:
    """A random part of the queries with a relevant document; larger parts hold smaller ones."""
    ids = embedded.query_ids
    if embedded.triples is None:
        ids = with_relevant(embedded.qrels, embedded.document_ids)
    if not ids:
        raise ValueError(f"{embedded.name} has no query with a relevant document to train on.")
    count = max(1, round(fraction * len(ids))) if fraction <= 1 else int(fraction)
    if count > len(ids):
        raise ValueError(
            f"`fractions` asks for {count} training queries; {embedded.name} has {len(ids)} with a "
            f"relevant document."
        )
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).tolist()
    return [ids[i] for i in order[:count]]


def with_relevant(qrels: Mapping[str, Mapping[str, int]], document_ids: Iterable[str]) -> list[str]:
    """The queries with a relevant document among some."""
    documents = set(document_ids)
    return [q for q, row in qrels.items() if any(g > 0 and d in documents for d, g in row.items())]


def _own_triples(dataset: str) -> str:
    """The ir_datasets id whose triples a training collection has; "" if it has none."""
    source, split, _ = parse_dataset(dataset)
    if as_path(source).exists():
        return ""
    name = source if split is None else f"{source}/{split}"
    try:
        load_triples(name, 1)
    except (ValueError, FileNotFoundError):  # loading the collection says what is wrong
        return ""
    return name
