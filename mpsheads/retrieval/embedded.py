"""A collection with its embeddings: what commands and studies pass on, and measure heads on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_equal, check_held, list_of_texts
from mpsheads._typing import PathLike, Positive
from mpsheads.heads import ProjectionHead, compress_vectors
from mpsheads.retrieval.cache import encode_cached
from mpsheads.retrieval.collections import (
    Collection,
    candidate_pool,
    dataset_name,
    load_collection,
    parse_dataset,
)
from mpsheads.retrieval.encoder import Encoder, TextKind
from mpsheads.retrieval.evaluation import evaluate
from mpsheads.retrieval.runs import Run
from mpsheads.retrieval.triples import Triple, load_triples
from mpsheads.retrieval.vectors import load_vectors
from mpsheads.similarity import Codes, cosine
from mpsheads.similarity import top_k as closest

_RELEVANT = 10  # neighbours of a passage that asks
Pool = Mapping[str, Sequence[str]]
"""query_id -> doc_ids: the candidates of each query."""


@dataclass(frozen=True, eq=False)
class EmbeddedCollection:
    """A collection with embeddings of its queries and of the documents that they rank.

    Attributes:
        name: For tables, such as `trec-dl-mini/dl19`.
        collection: Texts and judgments.
        query_ids: One for each row of `queries`.
        queries: `(n_queries, features)`, float32, on the CPU.
        document_ids: One for each row of `documents`.
        documents: `(n_documents, features)`, float32, on the CPU.
        pool: The candidates of each query; `None` for every embedded document.
        triples: Pairs and their hard negatives to train on, in place of the judgments.
    """

    name: str
    collection: Collection
    query_ids: list[str]
    queries: Tensor
    document_ids: list[str]
    documents: Tensor
    pool: Pool | None = None
    triples: Sequence[Triple] | None = None

    def __post_init__(self) -> None:
        for name, rows in (("query_ids", self.queries), ("document_ids", self.documents)):
            check_equal("number of rows", ids=len(getattr(self, name)), vectors=len(rows))

    @property
    def features(self) -> int:
        """Width of the embeddings."""
        return self.documents.shape[1]

    @property
    def qrels(self) -> Mapping[str, Mapping[str, int]]:
        """query_id -> doc_id -> grade."""
        return self.collection.qrels

    @property
    def identical_ids(self) -> list[str]:
        """The queries that are documents themselves, which are not ranked for them, as in BEIR."""
        ignored = self.collection.ignore_identical_ids
        held = set(self.document_ids if ignored else ())
        pool = self.pool
        return [q for q in self.query_ids if q in held and (pool is None or q in pool.get(q, ()))]

    def texts(self, name: str) -> list[str]:
        """The texts of the rows of `queries` or `documents`."""
        ids = self.query_ids if name == "queries" else self.document_ids
        return [getattr(self.collection, name)[identifier] for identifier in ids]

    def relevant_pairs(self) -> list[tuple[str, str]]:
        """Each query, and each document judged relevant for it, if both are embedded.

        Raises:
            ValueError: If nothing was judged, of passages alone.
        """
        self.collection.check_judged()
        queries, documents = set(self.query_ids), set(self.document_ids)
        return [
            (query_id, doc_id)
            for query_id, grades in self.qrels.items()
            for doc_id, grade in grades.items()
            if grade > 0 and query_id in queries and doc_id in documents
        ]

    def only(self, query_ids: Sequence[str]) -> "EmbeddedCollection":
        """The same with some queries, in the order given, which rank all embedded documents."""
        rows = {query_id: row for row, query_id in enumerate(self.query_ids)}
        check_held("`query_ids`", query_ids, rows, f"{self.name}'s queries")
        chosen = set(query_ids)
        collection = replace(
            self.collection,
            queries={q: self.collection.queries[q] for q in query_ids},
            qrels={q: self.qrels[q] for q in query_ids},
        )
        triples = None if self.triples is None else [t for t in self.triples if t[0] in chosen]
        return replace(
            self,
            collection=collection,
            query_ids=list(query_ids),
            queries=self.queries[[rows[query_id] for query_id in query_ids]],
            pool=None,
            triples=triples,
        )

    @torch.no_grad()
    def rank(
        self,
        head: ProjectionHead | None = None,
        *,
        documents: Tensor | Codes | None = None,
        queries: Tensor | Codes | None = None,
        similarity: Callable[[Any, Any], Tensor] | None = None,
        top_k: Positive = 1000,
    ) -> Run:
        """Rank the candidates of each query.

        Args:
            head: Compresses and compares; `None` for the cosine of the embeddings as they are.
            documents: Vectors or codes in place of the compressed documents.
            queries: Vectors or codes in place of the compressed queries.
            similarity: From `(q, n)` and `(d, n)` to `(q, d)`, higher is closer, in place of the
                head's.
            top_k: How many documents of a query are kept.

        Returns:
            The scores of the best documents of each query, in the order of `ranking`. A query
            without candidates is left out, and so is, for a query in `identical_ids`, itself.

        Raises:
            ValueError: If the pool names a document that is not embedded, or a score is NaN.

        Cost: one similarity per pair, in blocks, so memory does not grow with the collection.
        """
        if documents is None:
            documents = self.documents if head is None else head.code(self.documents)
        zd = documents
        zq = compress_vectors(head, self.queries) if queries is None else queries
        zq = zq.to(zd.device)
        compare: Any = similarity or (cosine if head is None else head.similarity)
        row_of = {doc_id: row for row, doc_id in enumerate(self.document_ids)}

        own = set(self.identical_ids)

        def best(vectors: Any, query_ids: list[str], doc_ids: list[str]) -> Run:
            # the numbers of the rows are searched, in the order of ids, so no document is copied
            rows = torch.tensor([row_of[d] for d in doc_ids], device=zd.device).double()[:, None]
            compared = lambda q, block: compare(q, zd[block[:, 0].long()])  # noqa: E731
            scores, places = closest(vectors, rows, top_k + bool(own), similarity=compared)
            run: Run = {}
            for q, *pair in zip(query_ids, scores.float().tolist(), places.tolist(), strict=True):
                ranked = {doc_ids[i]: score for score, i in zip(*pair, strict=True)}
                if q in own:
                    ranked.pop(q, None)
                run[q] = dict(islice(ranked.items(), top_k))
            return run

        if self.pool is None:
            return best(zq, self.query_ids, sorted(row_of, reverse=True))
        run: Run = {}
        for row, query_id in enumerate(self.query_ids):
            candidates = sorted(set(self.pool.get(query_id, ())), reverse=True)
            check_held("`pool`", candidates, row_of, f"{self.name}'s embedded documents")
            if candidates:
                run |= best(zq[row : row + 1], [query_id], candidates)
        return run

    def scores(
        self, measure: str, head: ProjectionHead | None = None, **as_rank: Any
    ) -> dict[str, float]:
        """The measure of each query, such as "nDCG@10", when ranked as by `rank`."""
        per_query = evaluate(self.rank(head, **as_rank), self.qrels, [measure]).per_query
        return {query_id: values[measure] for query_id, values in per_query.items()}


def embed(
    collection: Collection,
    encoder: Encoder | None,
    *,
    pool: Pool | None = None,
    document_ids: Sequence[str] | None = None,
    triples: Sequence[Triple] | None = None,
    name: str | None = None,
    query_vectors: PathLike | None = None,
    document_vectors: PathLike | None = None,
    progress: bool = False,
) -> EmbeddedCollection:
    """Embed a collection: encode its texts, or read embeddings from the cache or from files.

    Of a collection judged `by_neighbours` the ten documents closest to a query are relevant, grade
    1, by the cosine of these vectors.

    Args:
        collection: Texts and judgments.
        encoder: What embeds; `None` where both kinds of vectors come from files.
        pool: The candidates of each query; `None` for every document.
        document_ids: Which documents are embedded; by default those of the pool.
        triples: What to train on, in place of the judgments.
        name: Name for tables; that of the collection if `None`.
        query_vectors: A file as `load_vectors` reads, with the ids of its rows. One without ids
            must hold one row for each query, in the collection's order.
        document_vectors: The same for documents.
        progress: Show a bar on stderr for what is encoded.

    Raises:
        FileNotFoundError: If a file of vectors or the model is not there.
        TypeError: As `encode_cached` does.
        ValueError: If there is nothing to rank, a file lacks a row, widths differ, or there is
            neither an encoder nor a file.
    """
    for query_id, candidates in (pool or {}).items():
        list_of_texts(f"pool[{query_id!r}]", candidates)
    if document_ids is None and pool is not None:
        document_ids = sorted({doc_id for candidates in pool.values() for doc_id in candidates})
    doc_ids = list(collection.documents if document_ids is None else document_ids)
    query_ids = list(collection.queries)
    if not doc_ids:
        raise ValueError(f"The qrels of {collection.name} name no document that it holds.")

    def vectors(
        kind: TextKind, ids: list[str], texts: Mapping[str, str], file: PathLike | None
    ) -> Tensor:
        if file is not None:
            return _rows_of(file, kind, ids, texts)
        if encoder is None:
            raise ValueError(f"`encoder` is None, and there is no file of {kind} vectors.")
        wanted = [texts[identifier] for identifier in ids]
        return encode_cached(encoder, wanted, kind=kind, progress=progress)

    queries = vectors("query", query_ids, collection.queries, query_vectors)
    documents = vectors("document", doc_ids, collection.documents, document_vectors)
    check_equal("width", queries=queries.shape[1], documents=documents.shape[1])
    if collection.by_neighbours:
        _, rows = closest(queries, documents, _RELEVANT, similarity=cosine)
        near = [{doc_ids[row]: 1 for row in each} for each in rows.tolist()]
        collection = replace(collection, qrels=dict(zip(query_ids, near, strict=True)))
    parts = (query_ids, queries, doc_ids, documents, pool, triples)
    return EmbeddedCollection(name or collection.name, collection, *parts)


def embed_dataset(
    dataset: str,
    encoder: Encoder,
    *,
    default_pool: str = "all",
    triples: PathLike | None = None,
    max_triples: Positive | None = None,
    progress: bool = False,
) -> EmbeddedCollection:
    """Load and embed `FOLDER|ID[:SPLIT][@POOL]`, such as `data/trec-dl-mini:dl19@judged`.

    Args:
        dataset: A collection as `load_collection` takes it, with its split and pool.
        encoder: What embeds.
        default_pool: The pool where `dataset` names none; see `candidate_pool`.
        triples: A file of triples, or an ir_datasets id: what to train on. Then only their queries
            are embedded, with the documents that they name and those judged relevant for the
            queries; there is no pool.
        max_triples: Most triples, the first ones.
        progress: Show a bar on stderr for what is encoded.

    Raises:
        FileNotFoundError: If the collection, its pool or the triples are not there.
        ValueError: If one of them is malformed, or the collection lacks what the triples name.
    """
    source, split, pool = parse_dataset(dataset)
    collection = load_collection(source, split)
    candidates, doc_ids, rows = None, None, None
    if triples is None:
        candidates = candidate_pool(collection, pool or default_pool)
    else:
        rows = list(load_triples(triples, max_triples))
        collection, doc_ids = _named_by(rows, collection)
    return embed(
        collection,
        encoder,
        pool=candidates,
        document_ids=doc_ids,
        triples=rows,
        name=dataset_name(dataset),
        progress=progress,
    )


def _named_by(triples: Sequence[Triple], collection: Collection) -> tuple[Collection, list[str]]:
    """The collection with the triples' queries, and the documents that are to be embedded."""
    query_ids = {triple.query_id for triple in triples}
    document_ids = {doc_id for triple in triples for doc_id in triple[1:]}
    check_held("`triples`", query_ids, collection.queries, f"{collection.name}'s queries")
    check_held("`triples`", document_ids, collection.documents, f"{collection.name}'s documents")
    queries = {q: text for q, text in collection.queries.items() if q in query_ids}
    qrels = {q: collection.qrels[q] for q in queries}
    relevant = {d for grades in qrels.values() for d, grade in grades.items() if grade > 0}
    document_ids |= {doc_id for doc_id in relevant if doc_id in collection.documents}
    return replace(collection, queries=queries, qrels=qrels), sorted(document_ids)


def _rows_of(file: PathLike, kind: TextKind, ids: list[str], texts: Mapping[str, str]) -> Tensor:
    """The rows of `ids` in a file of vectors."""
    vectors, file_ids = load_vectors(file, name="queries" if kind == "query" else "documents")
    if file_ids is None:
        file_ids = list(texts)
        if len(vectors) != len(texts):
            raise ValueError(
                f"{file} holds {len(vectors)} rows, but the collection has {len(texts)} texts of "
                f"this kind. A file without ids must hold one row for each, in their order."
            )
    rows = {identifier: row for row, identifier in enumerate(file_ids)}
    check_held(f"The {kind} vectors", ids, rows, f"the ids in {file}")
    return vectors[[rows[identifier] for identifier in ids]]
