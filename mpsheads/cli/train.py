"""`mpsheads train`: a head on the judgments of a collection."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import Model, Texts, option
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.cli.data import Source
    from mpsheads.retrieval import EmbeddedCollection, Encoder
    from mpsheads.training import TrainingResult

_MEASURE = "nDCG@10"
_HEAD = (
    "mps, reference or dense, also with its size, as in mps:128; codes:64 for 64 bytes a vector, "
    "trained through its codes; or the folder of a saved head."
)
_RATE = (
    "Peak rate of Adam; by default mps 0.003 if fitted, else 0.01; reference 0.01; dense 0.001; "
    "loss paper 4e-5."
)
_READOUTS = "direction|probability|state|amplitude"
_MIXING = "Layers of rotations that mix the features of a new mps head; 0 for none."
_LOSS = "What is minimised; paper wants --hard-negatives 5."
_TRIPLES = (
    "Train on the pairs and negatives of this file, which mpsheads mine wrote, or of an "
    "ir_datasets id; --hard-negatives says how many of each pair's."
)
_VALIDATION = (
    "What to measure on after each epoch, every judged document for each query unless there is a "
    "pool; by default the split dev, else a tenth of the training queries, held out."
)


@dataclass(frozen=True)
class NewHead:
    """What a new mps head is."""

    bond_dim: Annotated[int | None, option("Largest bond dimension of a new mps head.", "Head")] = (
        None
    )
    depth: Annotated[int | None, option("Layers of a new mps head.", "Head")] = None
    ansatz: Annotated[
        str | None, option("Circuit of a new mps head.", "Head", "staircase|brickwork")
    ] = None
    readout: Annotated[str | None, option("What a new mps head returns.", "Head", _READOUTS)] = None
    mixing: Annotated[int | None, option(_MIXING, "Head")] = None


def train(
    texts: Texts,
    model: Model,
    new: NewHead,
    head: Annotated[str, option(_HEAD, "Head", "KIND|FOLDER")] = "mps",
    epochs: Annotated[int, option("Passes over the pairs.", "Training")] = 3,
    batch_size: Annotated[int, option("Pairs a step; the others are negatives.", "Training")] = 128,
    learning_rate: Annotated[float | None, option(_RATE, "Training")] = None,
    loss: Annotated[str, option(_LOSS, "Training", "contrastive|both|paper")] = "both",
    hard_negatives: Annotated[int, option("Mined negatives a pair.", "Training")] = 0,
    triples: Annotated[str | None, option(_TRIPLES, "Training", "FILE|ID")] = None,
    max_triples: Annotated[
        int | None, option("Most of them, the first ones; all by default.", "Training")
    ] = None,
    validation: Annotated[
        str | None, option(_VALIDATION, "Training", "FOLDER|ID[:SPLIT][@POOL]")
    ] = None,
    output: Annotated[
        Path, option("Folder of the head, its checkpoint and metrics.", metavar="FOLDER")
    ] = Path("trained-head"),
    resume: Annotated[bool, option("Continue the run in the folder.", flag="--resume")] = False,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Train a head on pairs of queries and relevant documents, and save it.

    The head is new (mps, reference or dense) or a saved one, trained on. After each epoch nDCG@10
    of held-out queries is measured; the best epoch is kept, and a checkpoint is written.

    [bold]Example[/bold]

    [cyan]mpsheads train --dataset nfcorpus:train --head mps:128 --epochs 10
    --output trained-head[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.heads import make_head
    from mpsheads.training import TrainingConfig, ranking_validation, training_data
    from mpsheads.training import train as train_model
    from mpsheads.training.checkpoint import check_folder

    where = inputs.pick_device(model.device)
    more: dict[str, Any] = {"loss": loss, "hard_negatives": hard_negatives, "seed": seed}
    config = TrainingConfig(epochs, batch_size, learning_rate, **more)
    check_folder(output, resume=resume)
    source = inputs.read_source(texts, default_split="train", default_pool="judged")
    if triples is not None:
        _check_triples(source, hard_negatives)
    other = _validation(source, validation)
    encoder = inputs.make_encoder(model, other.texts if other else texts)
    made: dict[str, Any] = {**asdict(new), "seed": seed, "device": where}
    made["in_features"] = source.width(encoder)
    if not any(each.requires_grad for each in make_head(head, **made).parameters()):
        raise ValueError(f"`head` {head} has nothing to train. Use mps, reference or dense.")
    embedded = source.embed(encoder, triples=triples, max_triples=max_triples)
    embedded, held_out, name = _hold_out(embedded, other, encoder, seed)
    pairs = training_data(embedded)
    result = train_model(
        make_head(head, **pairs.paired(), **made),
        pairs,
        config,
        output,
        validation=ranking_validation(held_out, _MEASURE),
        resume=resume,
        progress=inputs.show_progress(),
        device=where,
    )
    dataset = source.collection.name
    report = {"dataset": dataset, "pairs": len(pairs), **_report(result, name, held_out)}
    print_json(report) if as_json else _print(report)


def _check_triples(source: "Source", hard_negatives: int) -> None:
    """Raise on what would fail only after everything is encoded."""
    if hard_negatives == 0:
        raise ValueError(
            "`triples` needs `hard_negatives`: how many negatives of each pair join, such as 5."
        )
    if source.texts.query_vectors or source.texts.document_vectors or source.named_pool:
        raise ValueError(
            "`triples` say which texts are embedded, by an encoder. Leave out `query_vectors`, "
            "`document_vectors` and the pool of `dataset`."
        )


def _validation(source: "Source", named: str | None) -> "Source | None":
    """What to validate on; `None` to hold out training queries."""
    from mpsheads.cli.data import read_source
    from mpsheads.retrieval import parse_dataset, with_split

    own, split, _ = parse_dataset(str(source.texts.dataset))
    if named is None:
        from_files = source.texts.query_vectors or source.texts.document_vectors
        named = with_split(own, "dev")
        if from_files or split == "dev" or named == own:
            return None
    texts = Texts(named)
    if parse_dataset(named)[0] == own:  # the files of vectors hold those of all splits
        texts = replace(source.texts, dataset=named)
    return read_source(texts, default_pool="judged")


def _hold_out(
    embedded: "EmbeddedCollection", other: "Source | None", encoder: "Encoder | None", seed: int
) -> "tuple[EmbeddedCollection, EmbeddedCollection, str]":
    """What is trained on, what is validated on, and what that is called."""
    from mpsheads.training import hold_out

    if other is None:
        rest, held_out = hold_out(embedded, seed=seed)
        return rest, held_out, f"{len(held_out.query_ids)} held-out queries"
    held_out = other.embed(encoder)
    return embedded, held_out if other.named_pool else replace(held_out, pool=None), held_out.name


def _report(result: "TrainingResult", name: str, held_out: "EmbeddedCollection") -> dict[str, Any]:
    measured = {"on": name, "measure": _MEASURE, "best": result.best_validation}
    measured["uncompressed"] = fmean(held_out.scores(_MEASURE).values())
    return {
        "validation": measured,
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
