"""From the options to a device, an encoder and an embedded collection."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from mpsheads.cli.options import DataOptions, ShapeOptions

if TYPE_CHECKING:
    import torch

    from mpsheads.heads import ProjectionHead
    from mpsheads.retrieval import Collection, EmbeddedCollection, Encoder, Pool


def pick_device(device: str | None) -> "torch.device":
    """Where heads run: as asked, else CUDA if there is any, else the CPU.

    Raises:
        ValueError: If there is no such device.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"`device` {device!r} is not to be had here. Use cpu.") from error
    return chosen


def show_progress() -> bool:
    """Whether somebody watches the progress bars."""
    return sys.stderr.isatty()


def read_collection(
    data: DataOptions, *, default_pool: str = "all"
) -> "tuple[Collection, Pool | None]":
    """The collection that the options name, and the candidates of each query.

    Raises:
        ValueError, FileNotFoundError: If the collection or the pool cannot be read.
    """
    from mpsheads.retrieval import candidate_pool, load_collection

    if data.dataset is None:
        raise ValueError("Give `dataset`: the folder of a BEIR collection or an ir_datasets id.")
    collection = load_collection(data.dataset, data.split)
    return collection, candidate_pool(collection, data.pool or default_pool)


def make_encoder(data: DataOptions, device: str | None) -> "Encoder | None":
    """The encoder that the options describe; `None` if both kinds of vectors come from files."""
    from mpsheads.retrieval import Encoder

    if data.query_vectors and data.document_vectors:
        return None
    return Encoder(
        data.encoder,
        pooling=data.pooling,  # pyright: ignore[reportArgumentType]  # checked there
        max_length=data.max_length,
        device=device,
        dtype=data.dtype,
        query_prefix=data.query_prefix,
        document_prefix=data.document_prefix,
    )


def width(data: DataOptions, encoder: "Encoder | None") -> int:
    """How many numbers an embedding has, before anything is encoded."""
    from mpsheads.retrieval import load_vectors

    if data.document_vectors is not None:
        return load_vectors(data.document_vectors, name="documents")[0].shape[1]
    assert encoder is not None
    return encoder.features


def embed_collection(
    data: DataOptions,
    encoder: "Encoder | None",
    collection: "Collection",
    pool: "Pool | None" = None,
    document_ids: "list[str] | None" = None,
) -> "EmbeddedCollection":
    """Encode, or read from the cache or the files of vectors."""
    from mpsheads.retrieval import embed

    return embed(
        collection,
        encoder,
        pool=pool,
        document_ids=document_ids,
        query_vectors=data.query_vectors,
        document_vectors=data.document_vectors,
        progress=show_progress(),
    )


def with_training_split(data: DataOptions) -> DataOptions:
    """The options with the split train, if they name none and the collection has it."""
    from mpsheads.retrieval import has_split

    if data.dataset and data.split is None and has_split(data.dataset, "train"):
        return replace(data, split="train")
    return data


def documents_to_train_on(collection: "Collection", pool: "Pool | None") -> list[str]:
    """The ids of the candidates, and of all relevant documents, which no pool need hold."""
    if pool is None:
        return list(collection.documents)
    relevant = (d for grades in collection.qrels.values() for d, g in grades.items() if g > 0)
    ids = {doc_id for doc_id in relevant if doc_id in collection.documents}
    return sorted(ids.union(*pool.values()))


def head_from(
    named: str,
    features: int,
    shape: ShapeOptions,
    seed: int,
    device: "torch.device",
    documents: "torch.Tensor | None" = None,
) -> "ProjectionHead":
    """The head that `--head` names; without documents to fit it, to see that it can be made."""
    from mpsheads.heads import make_head

    settings = {name: value for name, value in vars(shape).items() if value is not None}
    return make_head(named, features, documents=documents, seed=seed, device=device, **settings)
