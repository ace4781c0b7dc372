"""Pairs of queries and relevant documents, and the batches cut from them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from mpsheads._checks import check_equal, check_type, check_vectors, list_of_texts
from mpsheads._hashes import hash_of
from mpsheads.retrieval import EmbeddedCollection

Rows = Tensor | Sequence[str]
"""Embeddings `(n, features)`, or n texts."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's queries and the documents that they share.

    Attributes:
        queries: Embeddings `(queries, features)`, or texts.
        documents: Embeddings `(documents, features)`, or texts; no document occurs twice.
        target: For each query the row of its relevant document, int64 `(queries,)`.
        ignored: True where a document must not count as a negative of a query, for example as it
            is relevant too but not the target; bool `(queries, documents)`.
    """

    queries: Rows
    documents: Rows
    target: Tensor
    ignored: Tensor


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Embeddings or texts, and which pairs of them are relevant.

    Rows with equal embeddings, or with equal words between white space, are one query or one
    document: what is relevant for one copy is relevant for all.

    Attributes:
        queries: Embeddings `(n_queries, features)`, floating, finite; or texts.
        documents: Embeddings `(n_documents, features)`, the same dtype and device; or texts.
        pairs: Rows of a query and of a document relevant for it, int64 `(n_pairs, 2)`.
        hard_negatives: Rows of documents that look relevant but are not, for each pair, int64
            `(n_pairs, k)`, nearest first; -1 where there are fewer than k. Training uses as many
            as `TrainingConfig.hard_negatives` says.
        identical: Rows of a query and of the document that is that query, int64 `(n, 2)`, or
            `None`: never its negative.

    Raises:
        TypeError: If a tensor has the wrong dtype, or a text is not a string.
        ValueError: If there are no pairs, a row does not exist, shapes do not fit, or embeddings
            hold NaN or infinity.
    """

    queries: Rows
    documents: Rows
    pairs: Int64[Tensor, "pairs 2"]
    hard_negatives: Int64[Tensor, "pairs k"] | None = None
    identical: Int64[Tensor, "n 2"] | None = None
    _query_group: Tensor = field(init=False, repr=False)  # the first copy of each
    _document_group: Tensor = field(init=False, repr=False)
    # of pairs that are relevant or identical: query_group * n + document_group, sorted
    _relevant: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.queries, Tensor) and isinstance(self.documents, Tensor)):
            for name in ("queries", "documents"):
                object.__setattr__(self, name, list_of_texts(name, getattr(self, name)))
        else:
            check_vectors("documents", self.documents)
            check_vectors("queries", self.queries, self.documents.shape[1])
            check_equal("dtype", queries=self.queries.dtype, documents=self.documents.dtype)
        _check_rows(self)
        device = self.pairs.device
        queries, documents = _first_copies(self.queries), _first_copies(self.documents)
        object.__setattr__(self, "_query_group", queries.to(device))
        object.__setattr__(self, "_document_group", documents.to(device))
        pairs = self.pairs if self.identical is None else torch.cat([self.pairs, self.identical])
        keys = self._query_group[pairs[:, 0]] * len(self.documents)
        keys = keys + self._document_group[pairs[:, 1]]
        object.__setattr__(self, "_relevant", keys.unique())

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def is_copy(self) -> Tensor:
        """Whether an earlier row holds the same document, bool `(n_documents,)`."""
        group = self._document_group
        return group != torch.arange(len(group), device=group.device)

    def is_relevant(self, query_rows: Tensor, document_rows: Tensor) -> Tensor:
        """Whether each document is relevant for each query or the query itself, copies included.

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

    def excluded(self, query_rows: Tensor) -> Tensor:
        """Which documents can be no negatives of some queries: relevant ones, and later copies.

        Args:
            query_rows: Rows of queries, int64 `(n,)`.

        Returns:
            bool `(n, n_documents)`.
        """
        mask = self.is_copy.repeat(len(query_rows), 1)
        first_key = self._query_group[query_rows] * len(self.documents)
        start = torch.searchsorted(self._relevant, first_key).tolist()
        stop = torch.searchsorted(self._relevant, first_key + len(self.documents)).tolist()
        for row, (first, last) in enumerate(zip(start, stop, strict=True)):
            mask[row, self._relevant[first:last] % len(self.documents)] = True
        return mask

    def paired(self) -> dict[str, Tensor]:
        """Embeddings of the "documents" and of the "queries" of all pairs, row by row."""
        if not isinstance(self.queries, Tensor) or not isinstance(self.documents, Tensor):
            raise TypeError("`queries` must be embeddings, got texts.")
        query_rows, document_rows = self.pairs.unbind(1)
        return {"documents": self.documents[document_rows], "queries": self.queries[query_rows]}

    def with_negatives(self, hard_negatives: int) -> Tensor:
        """The pairs with a negative among their first `hard_negatives`, int64 `(n,)`, ascending."""
        if self.hard_negatives is None:
            return self.pairs.new_empty(0)
        return (self.hard_negatives[:, :hard_negatives] >= 0).any(1).nonzero()[:, 0]

    def batch(self, rows: Tensor, hard_negatives: int = 0, *, only_own: bool = False) -> Batch:
        """Cut the pairs `rows` out, with `hard_negatives` mined documents for each.

        Args:
            rows: Rows of `pairs`, int64 `(n,)`.
            hard_negatives: How many columns of `hard_negatives` join.
            only_own: Compare each query with the document and the negatives of its own pair, and
                with no others of the batch.
        """
        query_rows, own = self.pairs[rows].unbind(1)
        named = own[:, None]
        if hard_negatives:
            check_type("hard_negatives", self.hard_negatives, Tensor)
            assert self.hard_negatives is not None
            mined = self.hard_negatives[rows, :hard_negatives]
            named = torch.cat([named, mined.where(mined >= 0, named)], 1)
        columns, place = self._document_group[named].unique(return_inverse=True)
        target = place[:, 0]
        ignored = self.is_relevant(query_rows, columns)
        if only_own:
            ignored |= torch.ones_like(ignored).scatter(1, place, False)
        ignored[torch.arange(len(rows), device=ignored.device), target] = False
        return Batch(
            _take(self.queries, query_rows), _take(self.documents, columns), target, ignored
        )

    def fingerprint(self) -> dict[str, str]:
        """A hash of each part, to tell whether a run continues on the data that it began with."""
        parts = {"queries": self.queries, "documents": self.documents, "pairs": self.pairs}
        parts |= {"hard_negatives": self.hard_negatives, "identical": self.identical}
        return {name: hash_of([part]) for name, part in parts.items() if part is not None}


def training_data(embedded: EmbeddedCollection, *, texts: bool = False) -> TrainingData:
    """Make pairs of the judgments of a collection, or of its triples with their hard negatives.

    Of triples those of the same query and positive are one pair, with as many hard negatives as
    there are triples. What the judgments call relevant for their queries becomes a pair too: never
    a negative.

    Args:
        embedded: The collection with its embeddings.
        texts: Pair the texts and not the embeddings, to train an encoder.

    Raises:
        ValueError: If there is no pair, a triple names a document that is not embedded, or a
            negative is relevant for its query.
    """
    query_row = {query_id: row for row, query_id in enumerate(embedded.query_ids)}
    document_row = {doc_id: row for row, doc_id in enumerate(embedded.document_ids)}
    negatives = {pair: {} for pair in embedded.relevant_pairs()}
    if embedded.triples is not None:
        chosen = [triple for triple in embedded.triples if triple[0] in query_row]
        negatives = _negatives_of(chosen, negatives)
    if not negatives:
        raise ValueError(
            f"`embedded`: {embedded.name} has no pair of a query and a relevant document to train "
            f"on: neither a judgment above 0, nor a triple."
        )
    named = {doc_id for (_, positive), own in negatives.items() for doc_id in (positive, *own)}
    if absent := sorted(named - document_row.keys()):
        raise ValueError(f"`triples` name the document {absent[0]!r}, which is not embedded.")
    pairs = torch.tensor([(query_row[q], document_row[d]) for q, d in negatives])
    hard = None
    if embedded.triples is not None:
        rows = [[document_row[doc_id] for doc_id in own] for own in negatives.values()]
        columns = zip_longest(*rows, fillvalue=-1)
        hard = torch.tensor(list(columns), dtype=torch.int64).reshape(-1, len(pairs)).T
    own = [(query_row[name], document_row[name]) for name in embedded.identical_ids]
    same = torch.tensor(own) if own else None
    if texts:
        sides = embedded.texts("queries"), embedded.texts("documents")
    else:
        sides = embedded.queries, embedded.documents
    return TrainingData(*sides, pairs, hard, same)


def _negatives_of(
    triples: Iterable[tuple[str, str, str]], judged: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, None]]:
    """The negatives of each pair; pairs of judgments have none."""
    negatives: dict[tuple[str, str], dict[str, None]] = {}
    for query_id, positive_id, negative_id in triples:
        negatives.setdefault((query_id, positive_id), {})[negative_id] = None
    named = {query_id for query_id, _ in negatives}
    for query_id, doc_id in judged:
        if query_id in named:
            negatives.setdefault((query_id, doc_id), {})
    for (query_id, _), doc_ids in negatives.items():
        for doc_id in doc_ids:
            if (query_id, doc_id) in negatives:
                raise ValueError(
                    f"`triples` hold document {doc_id!r} as a negative of query {query_id!r}, for "
                    f"which it is relevant too."
                )
    return negatives


def _check_rows(data: TrainingData) -> None:
    """Raise unless `pairs` and `hard_negatives` name existing rows."""
    for name, rows in {"pairs": data.pairs, "identical": data.identical}.items():
        if rows is None:
            continue
        _check_range(f"{name}[:, 0]", rows[:, 0], 0, len(data.queries))
        _check_range(f"{name}[:, 1]", rows[:, 1], 0, len(data.documents))
    if len(data.pairs) == 0:
        raise ValueError("`pairs` must hold at least one pair of a query and a document, got none.")
    if (mined := data.hard_negatives) is not None:
        check_equal("number of pairs", pairs=len(data.pairs), hard_negatives=len(mined))
        _check_range("hard_negatives", mined, -1, len(data.documents))


def _check_range(name: str, rows: Tensor, low: int, high: int) -> None:
    if rows.numel() and (rows.min() < low or rows.max() >= high):
        raise ValueError(
            f"`{name}` must lie in [{low}, {high}), got {int(rows.min())} to {int(rows.max())}."
        )


def _take(rows: Rows, places: Tensor) -> Any:
    return rows[places] if isinstance(rows, Tensor) else [rows[i] for i in places.tolist()]


def _first_copies(rows: Rows) -> Tensor:
    """For each row the first that holds the same, int64 `(n,)`."""
    first: dict[Any, int] = {}
    if isinstance(rows, Tensor):
        raw = rows.cpu().contiguous().view(torch.uint8).numpy()
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in raw]
    else:
        keys = [" ".join(text.split()) for text in rows]
    return torch.tensor([first.setdefault(key, row) for row, key in enumerate(keys)])
