"""Collections with their embeddings, named as in `trec-dl-mini:dl19@judged`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mpsheads.retrieval import (
    Collection,
    Encoder,
    candidate_pool,
    encode_cached,
    evaluate,
    load_collection,
    rank,
)
from mpsheads.training import TrainingData, mine_hard_negatives, training_data

Texts = Mapping[str, Sequence[str]] | None
_MOST_HELD_OUT = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """A collection with embeddings of its queries and of the documents that they rank.

    Attributes:
        name: Collection and split, with the pool where it is not the judged documents.
        collection: Texts and judgments.
        pool: The candidates of each query; `None` for every document.
        doc_ids: Of the documents that are embedded.
        encoder: What embeds them.
        progress: Whether a bar is shown.
    """

    name: str
    collection: Collection
    pool: Texts
    doc_ids: list[str]
    encoder: Encoder
    progress: bool = False

    @classmethod
    def load(cls, reference: str, encoder: Encoder, *, progress: bool = False) -> Self:
        """Read `COLLECTION[:SPLIT][@POOL]`; embeddings are made, or found, when they are used.

        Raises:
            ValueError, FileNotFoundError: If the collection, the split or the pool is not there, or
                no judged document is in the collection.
        """
        source, split, pool = split_reference(reference)
        collection = load_collection(source, split)
        candidates = candidate_pool(collection, pool)
        if candidates is None:
            doc_ids = list(collection.documents)
        else:
            doc_ids = sorted({doc_id for ids in candidates.values() for doc_id in ids})
        if not doc_ids:
            raise ValueError(f"The qrels of {collection.name} name no passage that it holds.")
        return cls(name_of(reference), collection, candidates, doc_ids, encoder, progress)

    @property
    def query_ids(self) -> list[str]:
        """The queries with judgments."""
        return list(self.collection.queries)

    @cached_property
    def queries(self) -> Tensor:
        """Embeddings `(n_queries, features)`."""
        texts = [self.collection.queries[query_id] for query_id in self.query_ids]
        return encode_cached(self.encoder, texts, kind="query", progress=self.progress)

    @cached_property
    def documents(self) -> Tensor:
        """Embeddings `(n_documents, features)`."""
        texts = [self.collection.documents[doc_id] for doc_id in self.doc_ids]
        return encode_cached(self.encoder, texts, kind="document", progress=self.progress)

    def scores(self, zq: Tensor, zd: Any, similarity: Any, measure: str) -> dict[str, float]:
        """The measure of each query when its candidates are ranked by a similarity.

        Args:
            zq: Vectors of the queries.
            zd: Vectors or codes of the documents.
            similarity: Of all pairs.
            measure: Such as "nDCG@10".
        """
        run = rank(zq, self.query_ids, zd, self.doc_ids, similarity, pool=self.pool)
        found = evaluate(run, self.collection.qrels, (measure,))
        return {query_id: values[measure] for query_id, values in found.per_query.items()}

    def only(self, query_ids: Sequence[str]) -> "Split":
        """The same with some of the queries, ranking all embedded documents."""
        qrels = {query_id: self.collection.qrels[query_id] for query_id in query_ids}
        queries = {query_id: self.collection.queries[query_id] for query_id in query_ids}
        chosen = replace(self.collection, queries=queries, qrels=qrels)
        split = replace(self, collection=chosen, pool=None)
        rows = {query_id: row for row, query_id in enumerate(self.query_ids)}
        index = torch.tensor([rows[query_id] for query_id in query_ids])
        vars(split)["queries"], vars(split)["documents"] = self.queries[index], self.documents
        return split


def split_reference(reference: str) -> tuple[str, str | None, str]:
    """`"FOLDER:dl19@all"` to `("FOLDER", "dl19", "all")`; the pool is "judged" by default."""
    source, _, pool = reference.partition("@")
    head, colon, tail = source.rpartition(":")
    if colon and "/" not in tail and "\\" not in tail and len(head) > 1:
        return head, tail, pool or "judged"
    return source, None, pool or "judged"


def choose_queries(split: Split, fraction: float, seed: int) -> list[str]:
    """A random part of the queries that have a relevant document.

    Args:
        split: The training collection.
        fraction: Part of its queries in (0, 1], or a whole number of them above 1.
        seed: Of the choice; the queries of a smaller part are among those of a larger one.

    Raises:
        ValueError: If no query has a relevant document, or fewer than the number asked for.
    """
    qrels, documents = split.collection.qrels, set(split.doc_ids)
    ids = [q for q in split.query_ids if any(qrels[q][d] > 0 for d in documents & qrels[q].keys())]
    if not ids:
        raise ValueError(f"{split.name} has no query with a relevant document to train on.")
    count = max(1, round(fraction * len(ids))) if fraction <= 1 else int(fraction)
    if count > len(ids):
        raise ValueError(
            f"`fractions` asks for {count} training queries; {split.name} has {len(ids)}."
        )
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).tolist()
    return [ids[i] for i in order[:count]]


def pairs_of(split: Split, query_ids: Sequence[str], hard_negatives: int) -> TrainingData:
    """Training pairs of some queries, with hard negatives from all documents of the split.

    Args:
        split: The training collection.
        query_ids: Which queries, each with a relevant document.
        hard_negatives: How many to mine a pair.
    """
    data = training_data(
        replace(split.collection, qrels={q: split.collection.qrels[q] for q in query_ids}),
        split.queries,
        split.documents,
        query_ids=split.query_ids,
        document_ids=split.doc_ids,
    )
    return mine_hard_negatives(data, hard_negatives) if hard_negatives else data


def hold_out(query_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is left to train on, and the last tenth, at most 1,000, to validate on."""
    count = min(_MOST_HELD_OUT, len(query_ids) // 10)
    if not count:
        raise ValueError(
            f'`select = "best"` holds out a tenth of the training queries, but there are only '
            f'{len(query_ids)}. Take "last".'
        )
    return list(query_ids[:-count]), list(query_ids[-count:])


def name_of(reference: str) -> str:
    """A reference without the path to it: `data/trec-dl-mini:dl19` is `trec-dl-mini/dl19`."""
    source, split, pool = split_reference(reference)
    name = (
        Path(source).expanduser().resolve().name if Path(source).expanduser().is_dir() else source
    )
    return name + (f"/{split}" if split else "") + ("" if pool == "judged" else f" ({pool})")
