"""`mpsheads train`: a head on the judgments of a collection."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import DataOptions, RunOptions, ShapeOptions
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.retrieval import Collection, EmbeddedCollection, Encoder, Pool
    from mpsheads.training import TrainingResult

_MEASURE = "nDCG@10"


@dataclass(frozen=True)
class TrainingOptions:
    """How to train, and what to validate on."""

    epochs: int = 3
    batch_size: int = 128
    learning_rate: float | None = None
    loss: str = "both"
    hard_negatives: int = 0
    triples: str | None = None
    max_triples: int | None = None
    output: Path = Path("trained-head")
    resume: bool = False
    validation_dataset: str | None = None
    validation_split: str | None = None
    validation_pool: str | None = None


def train(
    data: DataOptions,
    shape: ShapeOptions,
    training: TrainingOptions,
    run: RunOptions,
    head: str = "mps",
) -> None:
    """Train a head on pairs of queries and relevant documents, and save it.

    The head is new (mps, reference or dense) or a saved one, trained on. After each epoch nDCG@10
    of held-out queries is measured; the best epoch is kept, and a checkpoint is written.

    [bold]Example[/bold]

    [cyan]mpsheads train --dataset nfcorpus --split train --head mps --out-features 128
    --epochs 10 --output trained-head[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.training import TrainingConfig, hold_out, ranking_validation, training_data
    from mpsheads.training import train as train_model

    device = inputs.pick_device(run.device)
    names = ("epochs", "batch_size", "learning_rate", "loss", "hard_negatives")
    config = TrainingConfig(**{name: getattr(training, name) for name in names}, seed=run.seed)
    _check(data, training)
    data = inputs.with_training_split(data)
    collection, pool = inputs.read_collection(data, default_pool="judged")
    encoder = inputs.make_encoder(data, run.device)
    features = inputs.width(data, encoder)
    untrained = inputs.head_from(head, features, shape, run.seed, device)
    if not any(parameter.requires_grad for parameter in untrained.parameters()):
        raise ValueError(f"`head` {head} has nothing to train. Use mps, reference or dense.")
    validation = _validation_data(data, training)
    embedded = _embed(data, encoder, collection, pool, training)
    if validation is None:
        embedded, held_out = hold_out(embedded, seed=run.seed)
        name = f"{len(held_out.query_ids)} held-out queries"
    else:
        held_out = _embed_validation(validation, encoder)
        name = held_out.name
    pairs = training_data(embedded)
    result = train_model(
        inputs.head_from(head, features, shape, run.seed, device, embedded.documents),
        pairs,
        config,
        training.output,
        validation=ranking_validation(held_out, _MEASURE),
        resume=training.resume,
        progress=inputs.show_progress(),
        device=device,
    )
    uncompressed = held_out.scores(_MEASURE)
    validation = {"on": name, "measure": _MEASURE, "best": result.best_validation}
    validation["uncompressed"] = sum(uncompressed.values()) / len(uncompressed)
    report = {**_report(result, collection.name, len(pairs)), "validation": validation}
    print_json(report) if run.as_json else _print(report)


def _check(data: DataOptions, training: TrainingOptions) -> None:
    """Raise on what would fail only after everything is encoded."""
    from mpsheads._checks import check_positive
    from mpsheads.training import CHECKPOINT

    if (training.output / CHECKPOINT).exists() and not training.resume:
        raise ValueError(
            f"`output` {training.output} holds a run already. Continue it with `resume`, or give "
            f"another folder."
        )
    if training.validation_pool and not (training.validation_dataset or training.validation_split):
        raise ValueError("`validation_pool` needs `validation_split` or `validation_dataset`.")
    if training.triples is None:
        if training.max_triples is not None:
            raise ValueError("`max_triples` needs `triples`.")
        return
    if training.max_triples is not None:
        check_positive(max_triples=training.max_triples)
    if training.hard_negatives == 0:
        raise ValueError(
            "`triples` needs `hard_negatives`: how many negatives of each pair join, such as 5."
        )
    if data.query_vectors or data.document_vectors or data.pool:
        raise ValueError(
            "`triples` say which texts are embedded, by an encoder. Leave out `query_vectors`, "
            "`document_vectors` and `pool`."
        )


def _embed(
    data: DataOptions,
    encoder: "Encoder | None",
    collection: "Collection",
    pool: "Pool | None",
    training: TrainingOptions,
) -> "EmbeddedCollection":
    """What the triples name, or else the candidates and all relevant documents."""
    from mpsheads.cli.data import documents_to_train_on, embed_collection, show_progress
    from mpsheads.retrieval import embed_dataset

    if training.triples is None:
        documents = documents_to_train_on(collection, pool)
        return embed_collection(data, encoder, collection, document_ids=documents)
    assert encoder is not None
    return embed_dataset(
        f"{data.dataset}:{data.split}" if data.split else str(data.dataset),
        encoder,
        triples=training.triples,
        max_triples=training.max_triples,
        progress=show_progress(),
    )


def _validation_data(data: DataOptions, training: TrainingOptions) -> DataOptions | None:
    """What to validate on, which is there; `None` to hold out training queries."""
    from mpsheads.cli.data import read_collection
    from mpsheads.retrieval import has_split

    dataset, split = training.validation_dataset or data.dataset, training.validation_split
    if not (training.validation_dataset or split):
        from_files = data.query_vectors or data.document_vectors
        if from_files or data.split == "dev" or not has_split(str(dataset), "dev"):
            return None
        split = "dev"
    if training.validation_dataset:  # the files of vectors belong to the other collection
        data = replace(data, query_vectors=None, document_vectors=None)
    data = replace(data, dataset=dataset, split=split, pool=training.validation_pool)
    read_collection(data, default_pool="judged")
    return data


def _embed_validation(data: DataOptions, encoder: "Encoder | None") -> "EmbeddedCollection":
    """Without a pool of its own, every query ranks every document that is judged for some query."""
    from mpsheads.cli.data import embed_collection, make_encoder, read_collection

    collection, pool = read_collection(data, default_pool="judged")
    encoder = encoder or make_encoder(data, None)
    embedded = embed_collection(data, encoder, collection, pool)
    return embedded if data.pool else replace(embedded, pool=None)


def _report(result: "TrainingResult", dataset: str, pairs: int) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "pairs": pairs,
        "head": result.model.name,
        "config": result.model.config,
        "parameters": result.model.num_parameters,
        "bytes_per_vector": result.model.bytes_per_vector,
        "best_epoch": result.best_epoch,
        "history": result.history,
        "output": str(result.output_dir),
    }


def _print(report: dict[str, Any]) -> None:
    out = console()
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
    validation = report["validation"]
    out.print(
        f"{_MEASURE} on {validation['on']}: {validation['best']:.4f}, "
        f"uncompressed {validation['uncompressed']:.4f}"
    )
    out.print(f"saved in {report['output']}")
