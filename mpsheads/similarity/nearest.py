"""Cosine of all pairs, and the closest documents of each query without the matrix of all pairs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._arrays import takes_arrays
from mpsheads._checks import check_positive, check_shape
from mpsheads.similarity.angles import log_fidelity
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.scan import FEW, MANY, can_scan, cosine_of_words
from mpsheads.similarity.sides import as_numbers, check_sides

_QUERIES, _DOCUMENTS = 256, 16384  # pairs scored at once
_DECODED = 1024  # codes, so that what they stand for stays in the cache


@takes_arrays
def cosine(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Cosine of all pairs of vectors, in [-1, 1]; 0 where a vector is zero.

    Args:
        zq: Vectors of the queries, or codes.
        zd: Vectors of the documents, or codes, which are decoded some thousand at a time.
        pairwise: Compare each query with the document in the same row.

    Returns:
        `(queries, documents)`, or `(queries,)` if `pairwise`; in the wider dtype of the two, and
        float32 at least.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If a number is not finite, or widths, devices or, pairwise, rows differ.
    """
    zq, zd = check_sides(zq, zd, pairwise=pairwise, angles=False)
    with torch.autocast(zq.device.type, enabled=False):
        return _cosine(zq, zd, pairwise)


def _cosine(zq: Any, zd: Any, pairwise: bool) -> Tensor:
    dtype = next((z.dtype for z in (zq, zd) if isinstance(z, Tensor)), torch.float32)
    queries = normalize(as_numbers(zq, dtype))
    if pairwise:
        return (queries * normalize(as_numbers(zd, dtype))).sum(1)
    if isinstance(zd, Tensor):
        return queries @ normalize(zd).T
    if can_scan(queries, zd):
        return cosine_of_words(queries, zd)
    parts = (zd[start : start + _DECODED] for start in range(0, max(1, len(zd)), _DECODED))
    return torch.cat([queries @ normalize(part.dequantize(dtype)).T for part in parts], dim=1)


@takes_arrays
@torch.no_grad()
def top_k(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    k: int,
    *,
    similarity: Callable[[Any, Any], Tensor] = log_fidelity,
    rows: Int[Tensor, " _"] | None = None,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k closest documents of each query, of all of them or of some.

    Args:
        zq: Vectors or codes of the queries.
        zd: Vectors or codes of the documents.
        k: How many documents of a query; all of them where there are fewer.
        similarity: From `(q, n)` and `(d, n)` to `(q, d)`, higher is closer.
        rows: The documents that are compared, ascending; by default all.

    Returns:
        Similarities and row numbers of the documents, `(queries, k)`, the closest first; of
        documents with the same similarity, the one of the smaller row number comes first.

    Raises:
        TypeError: If k or `rows` are no integers.
        ValueError: If k is less than 1, a row is not there, the sides do not fit each other, or a
            similarity is NaN.

    Cost: memory for 256 x 16,384 pairs, whatever the number of documents.
    """
    check_positive(k=k)
    for name, z in {"zq": zq, "zd": zd}.items():
        if not isinstance(z, Codes):
            check_shape(name, z)
    if rows is not None:
        _check_rows(rows, len(zd))
    count = len(zd) if rows is None else len(rows)
    parts = []
    for q in range(0, max(1, len(zq)), _QUERIES):
        block = zq[q : q + _QUERIES]
        values, places = torch.empty(0), torch.empty(0)
        scanned = len(block) <= FEW and isinstance(zd, Codes) and zd.kind == "trellis"
        step = 4 * MANY if scanned else _DOCUMENTS  # tables are made once for all
        for d in range(0, max(1, count), step):
            part = slice(d, d + step) if rows is None else rows[d : d + step]
            scores = similarity(block, _take(zd, part))
            columns = torch.arange(d, d + scores.shape[1], device=scores.device)
            if d >= k:  # earlier ones win ties, so only a higher score can come in
                better = (~(scores <= values[:, -1:])).any(0).nonzero()[:, 0]
                scores, columns = scores[:, better], columns[better]
            columns = columns.expand(len(block), -1)
            if d:
                scores, columns = torch.cat([values, scores], 1), torch.cat([places, columns], 1)
            values, places = _best(scores, columns, min(k, count))
            if torch.isnan(values).any():  # `topk` takes it for the largest
                raise ValueError("The similarity is NaN. Check the vectors for NaN or infinity.")
        parts.append((values, places))
    values, places = (torch.cat(column) for column in zip(*parts, strict=True))
    return values, places if rows is None else rows[places]


def _take(z: Tensor | Codes, rows: slice | Tensor) -> Tensor | Codes:
    """Rows that are there; of codes fifty times as fast as by their numbers in brackets."""
    if isinstance(rows, slice):
        return z[rows]
    if isinstance(z, Codes):
        return replace(z, packed=z.packed.index_select(0, rows))
    return z.index_select(0, rows)


def _check_rows(rows: Tensor, count: int) -> None:
    dtype = getattr(rows, "dtype", type(rows).__name__)
    if dtype not in (torch.int32, torch.int64) or rows.ndim != 1:
        raise TypeError(f"`rows` must be a tensor `(rows,)` of integers, got {dtype}.")
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ValueError(f"`rows` must lie in [0, {count}), got {rows.aminmax()}.")


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
    chosen, order = places.gather(1, columns).sort(1)
    values = scores.gather(1, columns).gather(1, order)
    values, by_value = values.sort(dim=1, descending=True, stable=True)
    return values, chosen.gather(1, by_value)
