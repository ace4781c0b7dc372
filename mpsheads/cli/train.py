"""`mpsheads train`: a head on the judgments of a collection."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from mpsheads._checks import check_positive
from mpsheads._threads import torch_threads
from mpsheads.cli.heads import fit, make_head
from mpsheads.cli.options import DataOptions, HeadToTrain, RunOptions, ShapeOptions, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.scores import rank_compressed
from mpsheads.cli.sources import Embedded, Pool, Source, pick_device, show_progress
from mpsheads.heads import ProjectionHead
from mpsheads.retrieval import Collection, Triple, load_collection, load_triples
from mpsheads.retrieval import evaluate as evaluate_run
from mpsheads.training import TrainingConfig, TrainingResult, train_head, training_data
from mpsheads.training.checkpoint import CHECKPOINT
from mpsheads.training.validation import ranking_validation

_MEASURE = "nDCG@10"
_HELD_OUT, _MOST_HELD_OUT = 0.1, 1000
_TRAINING, _VALIDATION = "Training", "Validation"
_DEFAULT = TrainingConfig()


@dataclass(frozen=True)
class TrainingOptions:
    """How to train, and what to validate on."""

    epochs: Annotated[int, option(_TRAINING, "Passes over the pairs.")] = _DEFAULT.epochs
    batch_size: Annotated[int, option(_TRAINING, "Pairs a step; the others are negatives.")] = (
        _DEFAULT.batch_size
    )
    learning_rate: Annotated[
        float | None,
        option(
            _TRAINING,
            "Peak rate of Adam.  [dim]\\[default: mps 0.03, reference 0.01, dense 0.001; loss "
            "paper 4e-5][/dim]",
        ),
    ] = None
    loss: Annotated[
        str,
        option(
            _TRAINING,
            "What is minimised; paper wants --hard-negatives 5.",
            "contrastive|distillation|both|paper",
        ),
    ] = _DEFAULT.loss
    hard_negatives: Annotated[int, option(_TRAINING, "Mined negatives a pair.")] = (
        _DEFAULT.hard_negatives
    )
    triples: Annotated[
        str | None,
        option(
            _TRAINING,
            "Train on the pairs and negatives of this file, which mpsheads mine wrote, or of an "
            "ir_datasets id; --hard-negatives says how many of each pair's.",
            "FILE|ID",
        ),
    ] = None
    max_triples: Annotated[
        int | None, option(_TRAINING, "Most of them, the first ones.  [dim]\\[default: all][/dim]")
    ] = None
    output: Annotated[
        Path, option(_TRAINING, "Folder of the head, its checkpoint and metrics.", "FOLDER")
    ] = Path("trained-head")
    resume: Annotated[
        bool, option(_TRAINING, "Continue the run in the folder.", flag="--resume")
    ] = False
    validation_dataset: Annotated[
        str | None, option(_VALIDATION, "Another collection.", "FOLDER|ID")
    ] = None
    validation_split: Annotated[
        str | None,
        option(
            _VALIDATION,
            "Its judgments.  [dim]\\[default: dev if there is such a split; else a tenth of the "
            "training queries is held out][/dim]",
            "NAME",
        ),
    ] = None
    validation_pool: Annotated[
        str | None,
        option(
            _VALIDATION,
            "What each query ranks.  [dim]\\[default: every judged document][/dim]",
            "all|judged|FILE",
        ),
    ] = None


@dataclass(frozen=True)
class _Validation:
    """Held-out queries, the documents that they rank, and where they came from."""

    collection: Collection
    embedded: Embedded
    pool: Pool
    name: str

    def scorer(self) -> Callable[[ProjectionHead], float]:
        return ranking_validation(
            self.collection,
            self.embedded.queries,
            self.embedded.documents,
            query_ids=self.embedded.query_ids,
            document_ids=self.embedded.doc_ids,
            pool=self.pool,
            measure=_MEASURE,
        )

    def uncompressed(self) -> float:
        run = rank_compressed(None, self.embedded, self.pool)
        return evaluate_run(run, self.collection.qrels, (_MEASURE,)).mean[_MEASURE]


def train(
    data: DataOptions,
    shape: ShapeOptions,
    training: TrainingOptions,
    run: RunOptions,
    head: HeadToTrain = "mps",
) -> None:
    """Train a head on pairs of queries and relevant documents, and save it.

    The head is new (mps, reference or dense) or a saved one, trained on. After each epoch nDCG@10
    of held-out queries is measured; the best epoch is kept, and a checkpoint is written.

    [bold]Example[/bold]

    [cyan]mpsheads train --dataset nfcorpus --split train --head mps --out-features 128
    --epochs 10 --output trained-head[/cyan]
    """
    device = pick_device(run.device)
    config = _config(training, run.seed)
    _check_output(training)
    triples = _read_triples(training)
    if data.dataset and data.split is None and has_split(data.dataset, "train"):
        data = replace(data, split="train")
    source = Source(data, run.device, default_pool="judged", all_judged=True)
    if triples is not None:
        _keep_queries(source, triples)
    made = make_head(head, source.features, shape, run.seed, device)
    if not any(parameter.requires_grad for parameter in made.parameters()):
        raise ValueError(f"`head` {head} has nothing to train. Use mps, reference or dense.")
    validation_source = _validation_source(data, training, run.device)
    qrels = _known_judgments(source)
    relevant = {d for grades in qrels.values() for d, grade in grades.items() if grade > 0}
    negatives = {triple.negative_id for triple in triples or ()}
    positives = {triple.positive_id for triple in triples or ()}
    embedded = source.embed(sorted(relevant.union(source.pool_ids, negatives, positives)))
    fit(made, head, embedded.documents)
    if validation_source is None:
        qrels, validation = _hold_out(source.collection, qrels, embedded, run.seed)
    else:
        validation = _embed_validation(validation_source, training)
    pairs = training_data(
        replace(source.collection, qrels=qrels),
        embedded.queries,
        embedded.documents,
        query_ids=embedded.query_ids,
        document_ids=embedded.doc_ids,
        triples=None if triples is None else [t for t in triples if t.query_id in qrels],
    )
    with torch_threads(1):
        result = train_head(
            made,
            pairs,
            config,
            training.output,
            validation=validation.scorer(),
            resume=training.resume,
            progress=show_progress(),
            device=device,
        )
    report = _report(result, source, validation, len(pairs))
    if run.as_json:
        print_json(report)
    else:
        _print(report)


def _check_output(training: TrainingOptions) -> None:
    """Raise before anything is encoded if the folder holds a run that is not to be continued."""
    if (training.output / CHECKPOINT).exists() and not training.resume:
        raise ValueError(
            f"`output` {training.output} holds a run already. Continue it with `resume`, or give "
            f"another folder."
        )


def _config(training: TrainingOptions, seed: int) -> TrainingConfig:
    return TrainingConfig(
        epochs=training.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        loss=training.loss,
        hard_negatives=training.hard_negatives,
        seed=seed,
    )


def _read_triples(training: TrainingOptions) -> list[Triple] | None:
    """The triples to train on, if any are asked for."""
    if training.triples is None:
        if training.max_triples is not None:
            raise ValueError("`max_triples` needs `triples`.")
        return None
    if training.max_triples is not None:
        check_positive(max_triples=training.max_triples)
    if training.hard_negatives == 0:
        raise ValueError(
            "`triples` needs `hard_negatives`: how many negatives of each pair join, such as 5."
        )
    return list(load_triples(training.triples, training.max_triples))


def _keep_queries(source: Source, triples: list[Triple]) -> None:
    """Leave the queries of the triples alone in a collection, which must hold what they name."""
    collection, kept = source.collection, {triple.query_id for triple in triples}
    named = {triple.positive_id for triple in triples}
    named.update(triple.negative_id for triple in triples)
    for what, ids, held in (
        ("query", kept, collection.queries),
        ("document", named, collection.documents),
    ):
        unknown = next((identifier for identifier in sorted(ids) if identifier not in held), None)
        if unknown is not None:
            raise ValueError(
                f"`triples` name the {what} {unknown!r}, which {collection.name} does not hold."
            )
    source.collection = replace(
        collection,
        queries={q: text for q, text in collection.queries.items() if q in kept},
        qrels={q: grades for q, grades in collection.qrels.items() if q in kept},
    )
    if source.pool is not None:
        source.pool = {q: doc_ids for q, doc_ids in source.pool.items() if q in kept}


def has_split(dataset: str, split: str) -> bool:
    """Whether a collection has a split of this name."""
    folder = Path(dataset).expanduser()
    if folder.is_dir():
        return any((folder / "qrels" / f"{split}.tsv{end}").is_file() for end in ("", ".gz"))
    try:
        load_collection(dataset, split)
    except ValueError:
        return False
    return True


def _validation_source(
    data: DataOptions, training: TrainingOptions, device: str | None
) -> Source | None:
    """The collection to validate on, or `None` to hold out training queries."""
    asked = training.validation_dataset or training.validation_split
    if training.validation_pool and not asked:
        raise ValueError("`validation_pool` needs `validation_split` or `validation_dataset`.")
    dataset = training.validation_dataset or data.dataset
    split = training.validation_split
    if not asked:
        from_files = data.query_vectors or data.document_vectors
        if from_files or data.split == "dev" or not has_split(str(dataset), "dev"):
            return None
        split = "dev"
    if training.validation_dataset:  # the files of vectors belong to the other collection
        data = replace(data, query_vectors=None, document_vectors=None)
    data = replace(data, dataset=dataset, split=split, pool=training.validation_pool)
    return Source(data, device, default_pool="judged")


def _embed_validation(source: Source, training: TrainingOptions) -> _Validation:
    """Without a pool of its own, every query ranks every document that is judged for some query."""
    pool = source.pool if training.validation_pool else None
    return _Validation(source.collection, source.embed(), pool, source.collection.name)


def _known_judgments(source: Source) -> dict[str, dict[str, int]]:
    """The judgments of documents that the collection holds."""
    documents = source.collection.documents
    return {
        query_id: {doc_id: grade for doc_id, grade in grades.items() if doc_id in documents}
        for query_id, grades in source.collection.qrels.items()
    }


def _hold_out(
    collection: Collection, qrels: dict[str, dict[str, int]], embedded: Embedded, seed: int
) -> tuple[dict[str, dict[str, int]], _Validation]:
    """Judgments left for training, and a tenth of the queries, at most 1,000, to validate on."""
    usable = sorted(q for q, grades in qrels.items() if any(g > 0 for g in grades.values()))
    count = min(_MOST_HELD_OUT, round(_HELD_OUT * len(usable)))
    if count < 1:
        raise ValueError(
            f"{collection.name} has only {len(usable)} queries with relevant documents, too few to "
            f"hold some out. Give `validation_split` or `validation_dataset`."
        )
    chosen = set(random.Random(seed).sample(usable, count))
    rows = [row for row, query_id in enumerate(embedded.query_ids) if query_id in chosen]
    held_out = replace(
        embedded, query_ids=[embedded.query_ids[i] for i in rows], queries=embedded.queries[rows]
    )
    judged = replace(
        collection, qrels={query_id: qrels[query_id] for query_id in held_out.query_ids}
    )
    left = {query_id: grades for query_id, grades in qrels.items() if query_id not in chosen}
    return left, _Validation(judged, held_out, None, f"{count} held-out queries")


def _report(
    result: TrainingResult, source: Source, validation: _Validation, pairs: int
) -> dict[str, Any]:
    return {
        "dataset": source.collection.name,
        "pairs": pairs,
        "head": result.head.name,
        "config": result.head.config,
        "parameters": result.head.num_parameters,
        "bytes_per_vector": result.head.bytes_per_vector,
        "validation": {
            "on": validation.name,
            "measure": _MEASURE,
            "uncompressed": validation.uncompressed(),
            "best": result.best_validation,
        },
        "best_epoch": result.best_epoch,
        "history": result.history,
        "output": str(result.output_dir),
    }


def _print(report: dict[str, Any]) -> None:
    out = console()
    validation = report["validation"]
    rows = [
        [
            f"{line['epoch']}{' *' if line['epoch'] == report['best_epoch'] else ''}",
            f"{line['loss']:.4f}",
            f"{line['validation']:.4f}",
            f"{line['seconds']:.1f}",
        ]
        for line in report["history"]
    ]
    out.print(table(["epoch", "loss", _MEASURE, "seconds"], rows))
    out.print(
        f"{report['head']} head, {report['parameters']:,} parameters, "
        f"{report['bytes_per_vector']:,} bytes a vector, trained on {report['pairs']:,} pairs of "
        f"{report['dataset']}"
    )
    out.print(
        f"{_MEASURE} on {validation['on']}: {validation['best']:.4f}, "
        f"uncompressed {validation['uncompressed']:.4f}"
    )
    out.print(f"saved in {report['output']}")
