"""Collections with their embeddings, named as in `trec-dl-mini:dl19@judged`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from mpsheads.retrieval import (
    Collection,
    Encoder,
    Triple,
    candidate_pool,
    encode_cached,
    evaluate,
    load_collection,
    load_triples,
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
        triples: Pairs and their hard negatives, where judgments do not make them.
    """

    name: str
    collection: Collection
    pool: Texts
    doc_ids: list[str]
    encoder: Encoder
    progress: bool = False
    triples: Sequence[Triple] | None = None

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

    @classmethod
    def of_triples(
        cls, reference: str, triples: str, limit: int, encoder: Encoder, *, progress: bool = False
    ) -> Self:
        """A collection to train on by triples: their queries, and the documents that they name.

        What is judged relevant for these queries joins the documents.

        Args:
            reference: The collection, with its split.
            triples: A file of triples, or an ir_datasets id.
            limit: Most triples, the first ones.
            encoder: What embeds texts.
            progress: Whether a bar is shown.

        Raises:
            ValueError, FileNotFoundError: If the collection or the triples cannot be read, or the
                collection lacks what they name.
        """
        source, split, _ = split_reference(reference)
        found = list(load_triples(triples, limit))
        collection = load_collection(source, split)
        named = {triple.query_id for triple in found}
        doc_ids = {doc_id for triple in found for doc_id in triple[1:]}
        for what, ids, held in (
            ("query", named, collection.queries),
            ("document", doc_ids, collection.documents),
        ):
            absent = next(
                (identifier for identifier in sorted(ids) if identifier not in held), None
            )
            if absent is not None:
                raise ValueError(
                    f"`triples` name the {what} {absent!r}, which {collection.name} does not hold."
                )
        queries = {q: text for q, text in collection.queries.items() if q in named}
        qrels = {q: collection.qrels[q] for q in queries}
        relevant = {d for grades in qrels.values() for d, grade in grades.items() if grade > 0}
        doc_ids |= {doc_id for doc_id in relevant if doc_id in collection.documents}
        chosen = replace(collection, queries=queries, qrels=qrels)
        return cls(name_of(reference), chosen, None, sorted(doc_ids), encoder, progress, found)

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
    ids = split.query_ids
    if split.triples is None:
        qrels, there = split.collection.qrels, set(split.doc_ids)
        ids = [q for q in ids if any(g > 0 and d in there for d, g in qrels[q].items())]
    if not ids:
        raise ValueError(f"{split.name} has no query with a relevant document to train on.")
    count = max(1, round(fraction * len(ids))) if fraction <= 1 else int(fraction)
    if count > len(ids):
        raise ValueError(
            f"`fractions` asks for {count} training queries; {split.name} has {len(ids)} with a "
            f"relevant document."
        )
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).tolist()
    return [ids[i] for i in order[:count]]


def pairs_of(split: Split, query_ids: Sequence[str], hard_negatives: int) -> TrainingData:
    """Training pairs of some queries, with hard negatives.

    Args:
        split: The training collection.
        query_ids: Which queries.
        hard_negatives: How many a pair: of the triples, or mined from all documents of the split.
    """
    there, chosen = set(split.doc_ids), set(query_ids)
    qrels = {
        q: {d: grade for d, grade in split.collection.qrels[q].items() if d in there}
        for q in query_ids
    }
    triples = split.triples
    data = training_data(
        replace(split.collection, qrels=qrels),
        split.queries,
        split.documents,
        query_ids=split.query_ids,
        document_ids=split.doc_ids,
        triples=None if triples is None else [t for t in triples if t.query_id in chosen],
    )
    if data.hard_negatives is None:
        return mine_hard_negatives(data, hard_negatives) if hard_negatives else data
    missing = max(0, hard_negatives - data.hard_negatives.shape[1])
    return replace(data, hard_negatives=pad(data.hard_negatives, (0, missing), value=-1))


def own_triples(reference: str) -> str:
    """The ir_datasets id whose triples a training collection has; "" if it has none."""
    source, split, _ = split_reference(reference)
    if Path(source).expanduser().exists():
        return ""
    name = source if split is None else f"{source}/{split}"
    try:
        load_triples(name, 1)
    except (ValueError, FileNotFoundError):  # loading the collection says what is wrong
        return ""
    return name


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
    path = Path(source).expanduser()
    if path.is_dir() or path.is_absolute() or source.startswith("."):  # perhaps gone by now
        source = path.resolve().name
    return source + (f"/{split}" if split else "") + ("" if pool == "judged" else f" ({pool})")
