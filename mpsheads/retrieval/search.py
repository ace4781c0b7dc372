"""Exact search: the closest documents of each query by any similarity of all pairs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_positive
from mpsheads.retrieval.runs import Run
from mpsheads.similarity import Codes

_QUERIES, _DOCUMENTS = 256, 16384  # pairs scored at once


@torch.no_grad()
def rank(
    zq: Tensor | Codes,
    query_ids: Sequence[str],
    zd: Tensor | Codes,
    document_ids: Sequence[str],
    similarity: Callable[[Any, Any], Tensor],
    *,
    pool: Mapping[str, Sequence[str]] | None = None,
    top_k: int = 1000,
) -> Run:
    """Rank documents for each query.

    Args:
        zq: Vectors of the queries, `(Q, n)`, or codes.
        query_ids: Their ids, in the order of the rows.
        zd: Vectors of the documents, `(D, n)`, or codes, on the device of `zq`.
        document_ids: Their ids, in the order of the rows.
        similarity: From `(q, n)` and `(d, n)` to `(q, d)`, higher is closer: `head.similarity`,
            `mpsheads.log_fidelity` for codes, or `mpsheads.cosine` for uncompressed embeddings.
        pool: The candidates of each query; `None` ranks every document. A query that is not in it
            is left out of the run.
        top_k: How many documents of a query are kept.

    Returns:
        The scores of the best documents of each query, highest first. Scores are compared in
        float32, equal ones ordered by doc_id.

    Raises:
        ValueError: If ids and rows differ in number, an id comes twice, the pool names a document
            that has no vector, or the similarity is NaN or of a wrong shape.

    Cost: one similarity per pair, in blocks of 256 queries and 16,384 documents, so memory does
    not grow with the collection.
    """
    check_positive(top_k=top_k)
    _check_ids("query_ids", query_ids, "zq", zq)
    _check_ids("document_ids", document_ids, "zd", zd)
    if pool is not None:
        return _rank_pools(zq, query_ids, zd, document_ids, similarity, pool, top_k)
    by_id = sorted(range(len(document_ids)), key=lambda i: document_ids[i])
    order = torch.tensor(by_id, dtype=torch.long, device=zd.device)
    sorted_ids = [document_ids[i] for i in by_id]
    run: Run = {}
    for start in range(0, len(zq), _QUERIES):
        block = zq[start : start + _QUERIES]
        best = torch.empty(len(block), 0, dtype=torch.long)
        for first in range(0, len(order), _DOCUMENTS):
            rows = order[first : first + _DOCUMENTS]
            best = best.to(keys := _sort_keys(_scores(similarity, block, zd[rows]), first))
            best = _largest(torch.cat([best, keys], dim=1), top_k)
        for query_id, keys in zip(query_ids[start : start + _QUERIES], best.cpu(), strict=True):
            run[query_id] = _read_keys(keys, sorted_ids)
    return run


def _rank_pools(
    zq: Tensor | Codes,
    query_ids: Sequence[str],
    zd: Tensor | Codes,
    document_ids: Sequence[str],
    similarity: Callable[[Any, Any], Tensor],
    pool: Mapping[str, Sequence[str]],
    top_k: int,
) -> Run:
    """`rank` where each query has candidates of its own."""
    row_of = {doc_id: row for row, doc_id in enumerate(document_ids)}
    run: Run = {}
    for i, query_id in enumerate(query_ids):
        if not (candidates := sorted(set(pool.get(query_id, ())))):
            continue
        unknown = next((doc_id for doc_id in candidates if doc_id not in row_of), None)
        if unknown is not None:
            raise ValueError(
                f"`pool` names document {unknown!r} for query {query_id!r}, "
                f"but `document_ids` does not hold it."
            )
        rows = torch.tensor([row_of[doc_id] for doc_id in candidates], device=zd.device)
        keys = _sort_keys(_scores(similarity, zq[i : i + 1], zd[rows]), 0)
        run[query_id] = _read_keys(_largest(keys, top_k)[0].cpu(), candidates)
    return run


def _scores(similarity: Callable[[Any, Any], Tensor], zq: Any, zd: Any) -> Tensor:
    scores = similarity(zq, zd)
    if scores.shape != (len(zq), len(zd)):
        raise ValueError(
            f"`similarity` must return shape ({len(zq)}, {len(zd)}) for that many queries and "
            f"documents, got {tuple(scores.shape)}."
        )
    if torch.isnan(scores).any():
        raise ValueError("`similarity` returned NaN. Check the vectors for NaN or infinity.")
    return scores


def _sort_keys(scores: Tensor, first: int) -> Tensor:
    """Integers in the order of the scores, equal scores by falling column: exact and repeatable.

    The upper 32 bits hold the float32 score, mapped to an integer of the same order; the lower
    ones the place of the column, `first` and on, counted down.
    """
    if scores.device.type == "mps":  # no 64-bit top-k there
        scores = scores.cpu()
    bits = (scores.float() + 0.0).contiguous().view(torch.int32).long()  # + 0.0: no minus zero
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    places = torch.arange(first, first + scores.shape[1], device=scores.device)
    return (ordered << 32) | (0xFFFFFFFF - places)


def _largest(keys: Tensor, k: int) -> Tensor:
    return keys.topk(min(k, keys.shape[1]), dim=1).values


def _read_keys(keys: Tensor, ids: Sequence[str]) -> dict[str, float]:
    """Undo `_sort_keys` for one query: doc_id -> score, highest first."""
    ordered = keys >> 32
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).int()
    places = 0xFFFFFFFF - (keys & 0xFFFFFFFF)
    scores = bits.view(torch.float32).tolist()
    return dict(zip([ids[int(place)] for place in places], scores, strict=True))


def _check_ids(name: str, ids: Sequence[str], rows_name: str, rows: Tensor | Codes) -> None:
    if len(ids) != len(rows):
        raise ValueError(
            f"`{name}` must have one id per row of `{rows_name}`: got {len(ids)} and {len(rows)}."
        )
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise ValueError(f"`{name}` must hold every id once, but {twice!r} comes twice.")
