"""From the options to a device, an encoder and an embedded collection."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from mpsheads.cli.options import Model, Texts

if TYPE_CHECKING:
    import torch

    from mpsheads.retrieval import Collection, EmbeddedCollection, Encoder, Pool


def pick_device(device: str | None) -> "torch.device":
    """Where heads run: as asked, else CUDA if there is any, else the CPU.

    Raises:
        ValueError: If there is no such device.
    """
    import torch

    from mpsheads._checks import as_device

    return as_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def show_progress() -> bool:
    """Whether somebody watches the progress bars."""
    return sys.stderr.isatty()


def read_collection(
    texts: Texts, *, default_pool: str = "all", ignore_identical_ids: bool | None = None
) -> "tuple[Collection, Pool | None]":
    """The collection that the options name, and the candidates of each query.

    Raises:
        ValueError, FileNotFoundError: If the collection or the pool cannot be read.
    """
    from mpsheads.retrieval import candidate_pool, load_collection

    if texts.dataset is None:
        raise ValueError("Give `dataset`: the folder of a BEIR collection or an ir_datasets id.")
    collection = load_collection(
        texts.dataset, texts.split, ignore_identical_ids=ignore_identical_ids
    )
    return collection, candidate_pool(collection, texts.pool or default_pool)


def make_encoder(model: Model, texts: Texts | None = None) -> "Encoder | None":
    """The encoder that the options describe; `None` if both kinds of vectors come from files."""
    from mpsheads.retrieval import Encoder

    if texts and texts.query_vectors and texts.document_vectors:
        return None
    return Encoder(
        model.encoder,
        pooling=model.pooling,  # pyright: ignore[reportArgumentType]  # checked there
        max_length=model.max_length,
        device=model.device,
        query_prefix=model.query_prefix,
        document_prefix=model.document_prefix,
    )


def width(texts: Texts, encoder: "Encoder | None") -> int:
    """How many numbers an embedding has, before anything is encoded."""
    from mpsheads.retrieval import load_vectors

    if texts.document_vectors is not None:
        return load_vectors(texts.document_vectors, name="documents")[0].shape[1]
    assert encoder is not None
    return encoder.features


def embed_texts(
    texts: Texts,
    encoder: "Encoder | None",
    collection: "Collection",
    pool: "Pool | None" = None,
) -> "EmbeddedCollection":
    """Encode, or read from the cache or the files of vectors."""
    from mpsheads.retrieval import embed

    return embed(
        collection,
        encoder,
        pool=pool,
        query_vectors=texts.query_vectors,
        document_vectors=texts.document_vectors,
        progress=show_progress(),
    )


def with_training_split(texts: Texts) -> Texts:
    """The options with the split train, if they name none and the collection has it."""
    from mpsheads.retrieval import has_split

    if texts.dataset and texts.split is None and has_split(texts.dataset, "train"):
        return replace(texts, split="train")
    return texts
