"""Pairs of queries and relevant documents, as rows of embeddings, and the batches cut from them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from mpsheads._checks import check_equal, check_finite, check_vectors
from mpsheads.retrieval.collections import Collection


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's queries and the documents that they share.

    Attributes:
        queries: Embeddings `(queries, features)`.
        documents: Embeddings `(documents, features)`; no document occurs twice.
        target: For each query the row of its relevant document, int64 `(queries,)`.
        ignored: True where a document must not count as a negative of a query: it is relevant too
            but not the target; bool `(queries, documents)`.
    """

    queries: Tensor
    documents: Tensor
    target: Tensor
    ignored: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The batch on `device`, its embeddings in `dtype`."""
        return replace(
            self,
            queries=self.queries.to(device, dtype),
            documents=self.documents.to(device, dtype),
            target=self.target.to(device),
            ignored=self.ignored.to(device),
        )


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Embeddings and which pairs of them are relevant.

    Rows with equal embeddings are one query or one document: what is relevant for one copy is
    relevant for all.

    Attributes:
        queries: Embeddings `(n_queries, features)`, floating, finite.
        documents: Embeddings `(n_documents, features)`, the same dtype and device.
        pairs: Rows of a query and of a document relevant for it, int64 `(n_pairs, 2)`.
        hard_negatives: Rows of documents that look relevant but are not, for each pair, int64
            `(n_pairs, k)`, nearest first; -1 where there are fewer than k. Training uses as many
            as `TrainingConfig.hard_negatives` says.

    Raises:
        TypeError: If a tensor has the wrong dtype.
        ValueError: If there are no pairs, a row does not exist, shapes do not fit, or embeddings
            hold NaN or infinity.
    """

    queries: Tensor
    documents: Tensor
    pairs: Tensor
    hard_negatives: Tensor | None = None
    _query_group: Tensor = field(init=False, repr=False)
    _document_group: Tensor = field(init=False, repr=False)
    _relevant: Tensor = field(
        init=False, repr=False
    )  # sorted query_group * n_documents + document_group

    def __post_init__(self) -> None:
        check_vectors("documents", self.documents, self.documents.shape[-1])
        check_vectors("queries", self.queries, self.documents.shape[1])
        check_equal("dtype", queries=self.queries.dtype, documents=self.documents.dtype)
        check_finite("queries", self.queries)
        check_finite("documents", self.documents)
        _check_rows(self)
        device = self.pairs.device
        object.__setattr__(self, "_query_group", _first_copies(self.queries).to(device))
        object.__setattr__(self, "_document_group", _first_copies(self.documents).to(device))
        keys = self._query_group[self.pairs[:, 0]] * len(self.documents)
        keys = keys + self._document_group[self.pairs[:, 1]]
        object.__setattr__(self, "_relevant", keys.unique())

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def features(self) -> int:
        """Width of the embeddings."""
        return self.documents.shape[1]

    def is_relevant(self, query_rows: Tensor, document_rows: Tensor) -> Tensor:
        """Whether each document is relevant for each query, copies included.

        Args:
            query_rows: Rows of queries, int64 `(n,)`.
            document_rows: Rows of documents, int64 `(m,)`.

        Returns:
            bool `(n, m)`. Cost: O(n * m * log(n_pairs)).
        """
        keys = self._query_group[query_rows, None] * len(self.documents)
        keys = keys + self._document_group[document_rows]
        place = torch.searchsorted(self._relevant, keys).clamp_max(len(self._relevant) - 1)
        return self._relevant[place] == keys

    def relevant_documents(self, query_rows: Tensor) -> tuple[Tensor, Tensor]:
        """Every relevant document of some queries, copies of a document once.

        Args:
            query_rows: Rows of queries, int64 `(n,)`.

        Returns:
            Two int64 `(m,)` tensors: positions in `query_rows`, and rows of documents.
        """
        first_key = self._query_group[query_rows] * len(self.documents)
        start = torch.searchsorted(self._relevant, first_key)
        stop = torch.searchsorted(self._relevant, first_key + len(self.documents))
        position = torch.arange(len(start), device=start.device).repeat_interleave(stop - start)
        before = (stop - start).cumsum(0) - (stop - start)
        within = torch.arange(len(position), device=start.device) - before[position]
        return position, self._relevant[start[position] + within] % len(self.documents)

    @property
    def is_copy(self) -> Tensor:
        """Whether an earlier row holds the same document, bool `(n_documents,)`."""
        group = self._document_group
        return group != torch.arange(len(group), device=group.device)

    def batch(self, rows: Tensor, hard_negatives: int = 0) -> Batch:
        """Cut the pairs `rows` out, with `hard_negatives` mined documents for each.

        Args:
            rows: Rows of `pairs`, int64 `(n,)`.
            hard_negatives: How many columns of `hard_negatives` join.
        """
        query_rows, document_rows = self.pairs[rows].unbind(1)
        candidates = document_rows
        if hard_negatives:
            assert self.hard_negatives is not None
            mined = self.hard_negatives[rows, :hard_negatives].flatten()
            candidates = torch.cat([document_rows, mined[mined >= 0]])
        columns, place = self._document_group[candidates].unique(return_inverse=True)
        target = place[: len(rows)]
        ignored = self.is_relevant(query_rows, columns)
        ignored[torch.arange(len(rows), device=ignored.device), target] = False
        return Batch(self.queries[query_rows], self.documents[columns], target, ignored)

    def fingerprint(self) -> dict[str, str]:
        """A hash of each part, to tell whether a run continues on the data that it began with."""
        parts = {"queries": self.queries, "documents": self.documents, "pairs": self.pairs}
        if self.hard_negatives is not None:
            parts["hard_negatives"] = self.hard_negatives
        return {name: _hash(part) for name, part in parts.items()}

    def to(self, device: torch.device | str) -> Self:
        """The same data with every tensor on `device`."""
        mined = None if self.hard_negatives is None else self.hard_negatives.to(device)
        return replace(
            self,
            queries=self.queries.to(device),
            documents=self.documents.to(device),
            pairs=self.pairs.to(device),
            hard_negatives=mined,
        )


def training_data(
    collection: Collection,
    query_vectors: Tensor,
    document_vectors: Tensor,
    *,
    query_ids: Sequence[str] | None = None,
    document_ids: Sequence[str] | None = None,
    min_grade: int = 1,
    triples: Iterable[tuple[str, str, str]] | None = None,
) -> TrainingData:
    """Pair the embeddings of a collection by its relevance judgments, or by triples.

    Args:
        collection: Queries, documents and judgments, as `load_collection` returns.
        query_vectors: One row for each query `(n_queries, features)`.
        document_vectors: One row for each document `(n_documents, features)`.
        query_ids: Identifier of each row of `query_vectors`; the collection's order if `None`.
        document_ids: The same for documents.
        min_grade: Judgments of at least this grade make a pair, unless the collection lacks the
            document.
        triples: Ids of a query, a positive and a negative, as `read_triples` gives. The pairs are
            then those of the triples, in the order in which they first come, with their negatives
            as `hard_negatives`. Documents that the judgments call relevant for the same queries
            make pairs too, without negatives, so that none of them counts as a negative; those
            without a row are passed over.

    Raises:
        ValueError: If rows and identifiers do not match, a judged query or document, or one of a
            triple, has no row, no judgment reaches `min_grade`, there are no triples, or a
            negative is relevant for its query.
    """
    query_row = rows_of_ids("query", query_vectors, query_ids, collection.queries)
    document_row = rows_of_ids("document", document_vectors, document_ids, collection.documents)
    if triples is None:
        pairs = judged_pairs(collection, query_row, document_row, min_grade)
        return TrainingData(query_vectors, document_vectors, torch.tensor(pairs))
    pairs, hard_negatives = _from_triples(triples, collection, query_row, document_row, min_grade)
    return TrainingData(query_vectors, document_vectors, pairs, hard_negatives)


def judged_pairs(
    collection: Collection,
    query_row: Mapping[str, int],
    document_row: Mapping[str, int],
    min_grade: int = 1,
) -> list[tuple[int, int]]:
    """Rows of each query and each document that is judged relevant for it, as `training_data`."""
    pairs = []
    for query_id, judged in collection.qrels.items():
        relevant = [
            doc_id
            for doc_id, grade in judged.items()
            if grade >= min_grade and doc_id in collection.documents
        ]
        if relevant and query_id not in query_row:
            raise ValueError(f"`query_vectors` has no row for the judged query {query_id!r}.")
        for doc_id in relevant:
            if doc_id not in document_row:
                raise ValueError(
                    f"`document_vectors` has no row for the document {doc_id!r}, "
                    f"which is judged relevant for the query {query_id!r}."
                )
            pairs.append((query_row[query_id], document_row[doc_id]))
    if not pairs:
        raise ValueError(
            f"The collection has no judgment of grade {min_grade} or more, so no pairs to train on."
        )
    return pairs


def _from_triples(
    triples: Iterable[tuple[str, str, str]],
    collection: Collection,
    query_row: Mapping[str, int],
    document_row: Mapping[str, int],
    min_grade: int,
) -> tuple[Tensor, Tensor]:
    """Pairs `(n_pairs, 2)` and hard negatives `(n_pairs, k)` of triples; see `training_data`."""
    negatives: dict[tuple[str, str], dict[str, None]] = {}
    for query_id, positive_id, negative_id in triples:
        negatives.setdefault((query_id, positive_id), {})[negative_id] = None
    if not negatives:
        raise ValueError("`triples` must hold at least one triple, got none.")
    for query_id in dict.fromkeys(query_id for query_id, _ in negatives):
        for doc_id, grade in collection.qrels.get(query_id, {}).items():
            if grade >= min_grade and doc_id in document_row:
                negatives.setdefault((query_id, doc_id), {})
    pairs = [
        (_row(query_id, query_row, "query"), _row(doc_id, document_row, "document"))
        for query_id, doc_id in negatives
    ]
    hard = torch.full((len(pairs), max(map(len, negatives.values()))), -1)
    for place, ((query_id, _), doc_ids) in enumerate(negatives.items()):
        both = next((doc_id for doc_id in doc_ids if (query_id, doc_id) in negatives), None)
        if both is not None:
            raise ValueError(
                f"`triples` hold document {both!r} as a negative of query {query_id!r}, for which "
                f"it is relevant too."
            )
        rows = [_row(doc_id, document_row, "document") for doc_id in doc_ids]
        hard[place, : len(rows)] = torch.tensor(rows, dtype=torch.int64)
    return torch.tensor(pairs), hard


def _row(identifier: str, rows: Mapping[str, int], what: str) -> int:
    """The row of a query or document that a triple names."""
    if identifier not in rows:
        raise ValueError(
            f"`{what}_vectors` has no row for the {what} {identifier!r}, which `triples` name."
        )
    return rows[identifier]


def rows_of_ids(
    what: str, vectors: Sized, ids: Sequence[str] | None, texts: Mapping[str, str]
) -> dict[str, int]:
    """The row of each identifier."""
    ids = list(texts) if ids is None else ids
    if len(ids) != len(vectors):
        raise ValueError(
            f"`{what}_vectors` must hold one row for each {what}: "
            f"{len(vectors)} rows came for {len(ids)}."
        )
    rows = {identifier: row for row, identifier in enumerate(ids)}
    if len(rows) < len(ids):
        twice = next(identifier for row, identifier in enumerate(ids) if rows[identifier] != row)
        raise ValueError(f"`{what}_ids` must not repeat, but {twice!r} occurs twice.")
    return rows


def _check_rows(data: TrainingData) -> None:
    """Raise unless `pairs` and `hard_negatives` name existing rows."""
    for name, rows in {"pairs": data.pairs, "hard_negatives": data.hard_negatives}.items():
        if rows is None:
            continue
        if rows.dtype != torch.int64:
            raise TypeError(f"`{name}` must be an int64 tensor, got {rows.dtype}.")
        if rows.ndim != 2 or (name == "pairs" and rows.shape[1] != 2):
            shape = "(n_pairs, 2)" if name == "pairs" else "(n_pairs, k)"
            raise ValueError(f"`{name}` must have shape {shape}, got {tuple(rows.shape)}.")
    if len(data.pairs) == 0:
        raise ValueError("`pairs` must hold at least one pair of a query and a document, got none.")
    _check_range("pairs[:, 0]", data.pairs[:, 0], 0, len(data.queries))
    _check_range("pairs[:, 1]", data.pairs[:, 1], 0, len(data.documents))
    if data.hard_negatives is not None:
        mined = data.hard_negatives
        check_equal("number of pairs", pairs=len(data.pairs), hard_negatives=len(mined))
        _check_range("hard_negatives", mined, -1, len(data.documents))


def _check_range(name: str, rows: Tensor, low: int, high: int) -> None:
    if rows.numel() and (rows.min() < low or rows.max() >= high):
        raise ValueError(
            f"`{name}` must lie in [{low}, {high}), got {int(rows.min())} to {int(rows.max())}."
        )


def _bytes(x: Tensor) -> Tensor:
    return x.detach().cpu().contiguous().view(torch.uint8)


def _first_copies(vectors: Tensor) -> Tensor:
    """For each row the first row with the same bytes, int64 `(rows,)`."""
    first: dict[bytes, int] = {}
    return torch.tensor(
        [
            first.setdefault(hashlib.blake2b(row, digest_size=16).digest(), number)
            for number, row in enumerate(_bytes(vectors).numpy())
        ]
    )


def _hash(x: Tensor) -> str:
    digest = hashlib.sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    digest.update(_bytes(x).numpy().data)
    return digest.hexdigest()
