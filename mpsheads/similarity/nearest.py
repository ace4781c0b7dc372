"""The closest documents of each query, without the matrix of all pairs."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mpsheads._checks import check_positive
from mpsheads.similarity.angles import angle_rows
from mpsheads.similarity.arguments import as_numbers, check_sides
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.fidelity import log_fidelity
from mpsheads.similarity.series import approximate_log_fidelity

_QUERIES, _DOCUMENTS = 256, 16384  # pairs scored at once
_RESCORED = 1 << 22  # numbers of documents that are gathered at once
_ROUNDING = 1e-5  # of a sum of factors, relative


@torch.no_grad()
def top_k(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    k: int,
    *,
    candidates: int | None = None,
    similarity: Callable[[Any, Any], Tensor] = log_fidelity,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k closest documents of each query.

    Args:
        zq: Vectors or codes of the queries.
        zd: Vectors or codes of the documents.
        k: How many documents of a query; all of them where there are fewer.
        candidates: At least k. That many documents of each query are chosen by an upper bound on
            the log-fidelity, `approximate_log_fidelity` with two terms, and only they are compared
            exactly, unless the bound leaves open that another document is closer: then all are, so
            the result is the same up to rounding. For angles alone. By default all are compared.
        similarity: From `(q, n)` and `(d, n)` to `(q, d)`, higher is closer.

    Returns:
        Similarities and row numbers of the documents, `(queries, k)`, the closest first; of
        documents with the same similarity, the one of the smaller row number comes first.

    Raises:
        ValueError: If a number is out of its range, the sides do not fit each other, a similarity
            is NaN, or `candidates` comes with another similarity than `log_fidelity` of angles.

    Cost: memory for 256 x 16,384 pairs, whatever the number of documents.
    """
    check_positive(k=k)
    k = min(k, len(zd))
    if not len(zq):
        return torch.empty(0, k, device=zq.device), torch.empty(
            0, k, dtype=torch.long, device=zq.device
        )
    if candidates is None:
        return _all(zq, zd, k, similarity)
    kinds = {z.kind for z in (zq, zd) if isinstance(z, Codes)}
    if similarity is not log_fidelity or not kinds <= {"angle"}:
        raise ValueError("`candidates` is for the `log_fidelity` of angles; leave it out.")
    if candidates < k:
        raise ValueError(f"`candidates` must be at least `k`, {k}, got {candidates}.")
    if candidates >= len(zd):
        return _all(zq, zd, k, similarity)
    return _filtered(zq, zd, k, candidates)


def _all(
    zq: Any, zd: Any, k: int, similarity: Callable[[Any, Any], Tensor]
) -> tuple[Tensor, Tensor]:
    """The best of all documents by any similarity."""
    parts = []
    for q in range(0, len(zq), _QUERIES):
        block = zq[q : q + _QUERIES]
        values, places = torch.empty(0), torch.empty(0)
        for d in range(0, len(zd), _DOCUMENTS):
            scores = similarity(block, zd[d : d + _DOCUMENTS])
            if torch.isnan(scores).any():
                raise ValueError("The similarity is NaN. Check the vectors for NaN or infinity.")
            columns = torch.arange(d, d + scores.shape[1], device=scores.device)
            columns = columns.expand(len(block), -1)
            if d:
                scores, columns = torch.cat([values, scores], 1), torch.cat([places, columns], 1)
            values, places = _best(scores, columns, k)
        parts.append((values, places))
    values, places = (torch.cat(column) for column in zip(*parts, strict=True))
    return values, places


def _best(scores: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, the largest first; equal ones by place, the smallest first."""
    k = min(k, scores.shape[1])
    values, columns = scores.topk(k, dim=1)
    last = values[:, -1:]
    open_ties = (scores == last).sum(1) > (values == last).sum(1)
    if open_ties.any():
        rows = open_ties.nonzero()[:, 0]
        by_place = places[rows].argsort(1)
        order = scores[rows].gather(1, by_place).argsort(dim=1, descending=True, stable=True)
        columns[rows] = by_place.gather(1, order[:, :k])
    found = places.gather(1, columns)
    found, order = found.sort(1)
    values = scores.gather(1, columns).gather(1, order)
    values, by_value = values.sort(dim=1, descending=True, stable=True)
    return values, found.gather(1, by_value)


def _filtered(zq: Any, zd: Any, k: int, candidates: int) -> tuple[Tensor, Tensor]:
    """The best of the documents of the highest bounds; of all, for queries without a proof."""
    check_sides("numbers", zq, zd)
    parts = []
    for q in range(0, len(zq), _QUERIES):
        queries = as_numbers(zq[q : q + _QUERIES])
        bounds, places = _all(queries, zd, candidates + 1, _bound)
        scores = _rescored(queries, zd, places[:, :-1])
        values, places = _best(scores, places[:, :-1], k)
        rounding = 8 * torch.finfo(scores.dtype).eps * queries.shape[1]
        rounding = rounding + _ROUNDING * values[:, -1].abs()
        unproven = (values[:, -1] <= bounds[:, -1] + rounding).nonzero()[:, 0]
        if len(unproven):
            block = zq[q : q + _QUERIES][unproven]
            values[unproven], places[unproven] = _all(block, zd, k, log_fidelity)
        parts.append((values, places))
    values, places = (torch.cat(column) for column in zip(*parts, strict=True))
    return values, places


def _bound(queries: Tensor, documents: Any) -> Tensor:
    return approximate_log_fidelity(queries, as_numbers(documents, queries.dtype))


def _rescored(queries: Tensor, zd: Any, places: Tensor) -> Tensor:
    """Log-fidelity of each query with its own documents."""
    step = max(1, _RESCORED // (places.shape[1] * max(1, queries.shape[1])))
    parts = []
    for rows, columns in zip(queries.split(step), places.split(step), strict=True):
        documents = as_numbers(zd[columns.flatten()], rows.dtype).unflatten(0, columns.shape)
        parts.append(angle_rows(rows[:, None], documents))
    return torch.cat(parts)
