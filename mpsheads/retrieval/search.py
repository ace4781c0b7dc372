"""Exact search: the closest documents of each query by any similarity of all pairs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_positive
from mpsheads.retrieval.runs import Run
from mpsheads.similarity import Codes
from mpsheads.similarity import top_k as closest_rows


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
        The scores of the best documents of each query, highest first, equal ones ordered by doc_id.

    Raises:
        ValueError: If ids and rows differ in number, an id comes twice, the pool names a document
            that has no vector, or the similarity is NaN or of a wrong shape.

    Cost: one similarity per pair, in blocks of 256 queries and 16,384 documents, so memory does
    not grow with the collection.
    """
    check_positive(top_k=top_k)
    _check_ids("query_ids", query_ids, "zq", zq)
    _check_ids("document_ids", document_ids, "zd", zd)

    def compare(queries: Any, rows: Tensor) -> Tensor:
        documents = zd[rows[:, 0].long()]
        scores = similarity(queries, documents)
        if scores.shape != (len(queries), len(documents)):
            raise ValueError(
                f"`similarity` must return shape ({len(queries)}, {len(documents)}) for that many "
                f"queries and documents, got {tuple(scores.shape)}."
            )
        return scores

    def ranked(queries: Any, doc_ids: list[str]) -> list[dict[str, float]]:
        if not doc_ids:
            return [{} for _ in range(len(queries))]
        # the numbers of the rows are searched, in the order of ids, and no document is copied
        rows = torch.tensor([row_of[d] for d in doc_ids], dtype=torch.float64, device=zd.device)
        scores, places = closest_rows(queries, rows[:, None], top_k, similarity=compare)
        pairs = zip(scores.float().tolist(), places.tolist(), strict=True)
        return [{doc_ids[i]: s for s, i in zip(*pair, strict=True)} for pair in pairs]

    row_of = {doc_id: row for row, doc_id in enumerate(document_ids)}
    if pool is None:
        return dict(zip(query_ids, ranked(zq, sorted(row_of)), strict=True))
    run: Run = {}
    for i, query_id in enumerate(query_ids):
        candidates = sorted(set(pool.get(query_id, ())))
        absent = next((doc_id for doc_id in candidates if doc_id not in row_of), None)
        if absent is not None:
            raise ValueError(
                f"`pool` names document {absent!r} for query {query_id!r}, "
                f"but `document_ids` does not hold it."
            )
        if candidates:
            run[query_id] = ranked(zq[i : i + 1], candidates)[0]
    return run


def _check_ids(name: str, ids: Sequence[str], rows_name: str, rows: Tensor | Codes) -> None:
    if len(ids) != len(rows):
        raise ValueError(
            f"`{name}` must have one id per row of `{rows_name}`: got {len(ids)} and {len(rows)}."
        )
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise ValueError(f"`{name}` must hold every id once, but {twice!r} comes twice.")
