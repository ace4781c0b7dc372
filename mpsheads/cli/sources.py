"""From the options to embeddings: what a collection's texts, or files of vectors, give."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mpsheads.cli.options import DataOptions
from mpsheads.cli.threads import ParallelEncoder
from mpsheads.retrieval import (
    Collection,
    Encoder,
    candidate_pool,
    encode_cached,
    load_collection,
    load_vectors,
)

Pool = Mapping[str, Sequence[str]] | None


@dataclass(frozen=True)
class Embedded:
    """The embeddings of a collection's queries and of the documents that are ranked.

    Attributes:
        query_ids: One for each row of `queries`.
        queries: `(n_queries, features)`, float32, on the CPU.
        doc_ids: One for each row of `documents`.
        documents: `(n_documents, features)`.
    """

    query_ids: list[str]
    queries: Tensor
    doc_ids: list[str]
    documents: Tensor


class Source:
    """A collection, its candidates, and where its embeddings come from.

    Args:
        options: What the command line says.
        device: Where an encoder runs.
        default_pool: The pool if the options name none.
        all_judged: Refuse a collection with queries that no split judges.

    Raises:
        ValueError, FileNotFoundError: If the collection or the pool cannot be read.
    """

    def __init__(
        self,
        options: DataOptions,
        device: str | None,
        *,
        default_pool: str = "all",
        all_judged: bool = False,
    ) -> None:
        if options.dataset is None:
            raise ValueError(
                "Give `dataset`: the folder of a BEIR collection or an ir_datasets id."
            )
        self.options = options
        self.device = device
        self.pool_name = options.pool or default_pool
        self.collection: Collection = load_collection(
            options.dataset, options.split, all_judged=all_judged
        )
        self.pool: Pool = candidate_pool(self.collection, self.pool_name)

    @property
    def encoder_name(self) -> str | None:
        """The encoder in use, `None` if both kinds of vectors come from files."""
        from_files = self.options.query_vectors and self.options.document_vectors
        return None if from_files else self.options.encoder

    @cached_property
    def features(self) -> int:
        """Width of the embeddings."""
        file = self.options.document_vectors
        return self._from_file(file, "documents")[0].shape[1] if file else self._encoder.features

    def embed(self, doc_ids: Sequence[str] | None = None) -> Embedded:
        """Encode, or read from the cache or the files.

        Args:
            doc_ids: Which documents; by default those of the pool.
        """
        query_ids = list(self.collection.queries)
        doc_ids = self.pool_ids if doc_ids is None else list(doc_ids)
        queries = self._vectors("queries", query_ids, self.collection.queries)
        documents = self._vectors("documents", doc_ids, self.collection.documents)
        if queries.shape[1] != documents.shape[1]:
            raise ValueError(
                f"Queries and documents must be of one width: those of the queries have "
                f"{queries.shape[1]} numbers, those of the documents {documents.shape[1]}."
            )
        return Embedded(query_ids, queries, doc_ids, documents)

    def embed_documents(self, doc_ids: Sequence[str] | None = None) -> Tensor:
        """The embeddings of documents alone: of `doc_ids`, or of the pool in its order."""
        chosen = self.pool_ids if doc_ids is None else list(doc_ids)
        return self._vectors("documents", chosen, self.collection.documents)

    @cached_property
    def pool_ids(self) -> list[str]:
        """The documents that some query ranks, each once."""
        if self.pool is None:
            return list(self.collection.documents)
        return sorted({doc_id for doc_ids in self.pool.values() for doc_id in doc_ids})

    def _vectors(self, name: str, ids: list[str], texts: Mapping[str, str]) -> Tensor:
        options = self.options
        file = options.query_vectors if name == "queries" else options.document_vectors
        if file is not None:
            return _choose(file, name, *self._from_file(file, name), ids, texts)
        return encode_cached(
            self._encoder,
            [texts[identifier] for identifier in ids],
            kind="query" if name == "queries" else "document",
            progress=show_progress(),
        )

    def _from_file(self, file: Path, name: str) -> tuple[Tensor, list[str] | None]:
        return load_vectors(file, name=name)

    @cached_property
    def _encoder(self) -> Encoder:
        return make_encoder(self.options, self.device)


def make_encoder(options: DataOptions, device: str | None) -> Encoder:
    """The encoder that the options describe."""
    return ParallelEncoder(
        options.encoder,
        pooling=options.pooling,  # pyright: ignore[reportArgumentType]  # checked there
        max_length=options.max_length,
        device=device,
        dtype=options.dtype,
        query_prefix=options.query_prefix,
        document_prefix=options.document_prefix,
    )


def pick_device(device: str | None) -> torch.device:
    """Where heads run: as asked, else CUDA if there is any, else the CPU.

    Raises:
        ValueError: If there is no such device.
    """
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


def _choose(
    file: Path,
    name: str,
    vectors: Tensor,
    file_ids: list[str] | None,
    ids: list[str],
    texts: Mapping[str, str],
) -> Tensor:
    """The rows of `ids`, in their order."""
    if file_ids is None:
        file_ids = list(texts)
        if len(vectors) != len(texts):
            raise ValueError(
                f"{file} holds {len(vectors)} rows, but the collection has {len(texts)} {name}. "
                f"A file without ids must hold one row for each, in the collection's order."
            )
    rows = {identifier: row for row, identifier in enumerate(file_ids)}
    missing = next((identifier for identifier in ids if identifier not in rows), None)
    if missing is not None:
        raise ValueError(f"{file} has no row with the id {missing!r}, which is one of the {name}.")
    return vectors[[rows[identifier] for identifier in ids]]
