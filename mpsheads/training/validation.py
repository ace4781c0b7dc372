"""Scoring a head on held-out queries while it trains."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mpsheads.heads import ProjectionHead, compress
from mpsheads.retrieval.collections import Collection
from mpsheads.retrieval.evaluation import evaluate
from mpsheads.retrieval.search import rank

_TOP_K = 1000


def ranking_validation(
    collection: Collection,
    query_vectors: Tensor,
    document_vectors: Tensor,
    *,
    query_ids: Sequence[str] | None = None,
    document_ids: Sequence[str] | None = None,
    pool: Mapping[str, Sequence[str]] | None = None,
    measure: str = "nDCG@10",
) -> Callable[[ProjectionHead], float]:
    """A function for `train_head(validation=...)`: the mean of a ranking measure.

    Args:
        collection: Held-out queries and their judgments.
        query_vectors: Uncompressed embeddings `(n_queries, features)`.
        document_vectors: Uncompressed embeddings `(n_documents, features)`.
        query_ids: Identifier of each row of `query_vectors`; the collection's order if `None`.
        document_ids: The same for documents.
        pool: The candidates of each query; `None` ranks every document.
        measure: What `evaluate` computes, for example "nDCG@10" or "RR@10".

    Returns:
        A function of a head. Both sets of vectors are compressed and ranked at each call, so a
        few hundred queries are enough.
    """
    query_ids = list(collection.queries) if query_ids is None else query_ids
    document_ids = list(collection.documents) if document_ids is None else document_ids

    def validate(head: ProjectionHead) -> float:
        zq, zd = (compress(head, vectors) for vectors in (query_vectors, document_vectors))
        run = rank(zq, query_ids, zd, document_ids, head.similarity, pool=pool, top_k=_TOP_K)
        return evaluate(run, collection.qrels, (measure,)).mean[measure]

    return validate
