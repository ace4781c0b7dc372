"""Hard negatives: documents that rank high by the uncompressed cosine but are not relevant."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from mpsheads._checks import check_positive
from mpsheads.training.data import TrainingData

_CHUNK_ELEMENTS = 1 << 24


def mine_hard_negatives(
    data: TrainingData, count: int = 5, *, margin: float = 0.05, chunk: int | None = None
) -> TrainingData:
    """For each pair, the documents nearest to the query by cosine that are safely not relevant.

    A document that scores nearly as high as the relevant one, or higher, is often relevant too
    and was merely not judged. So only those are taken whose cosine with the query is below that
    of the pair's document by more than `margin`.

    Args:
        data: Embeddings and pairs.
        count: Documents a pair, at most; the paper uses 5.
        margin: By how much cosine a negative must stay below the relevant document, in [0, 2).
        chunk: Pairs handled at once; by default as many as fit 64 MiB of similarities.

    Returns:
        The same data with `hard_negatives` `(n_pairs, count)`, nearest first. Where fewer documents
        qualify, the rest is -1.

    Raises:
        ValueError: If `count`, `margin` or `chunk` is out of range.

    Cost: O(n_pairs * n_documents * features), exact, in chunks.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    check_positive(count=count)
    if not 0 <= margin < 2:
        raise ValueError(f"`margin` must lie in [0, 2), got {margin}.")
    if chunk is not None:
        check_positive(chunk=chunk)
    chunk = chunk or max(1, _CHUNK_ELEMENTS // len(data.documents))
    documents = normalize(data.documents)
    with torch.no_grad():
        mined = [
            _nearest(data, documents, pairs, count, margin) for pairs in data.pairs.split(chunk)
        ]
    return replace(data, hard_negatives=torch.cat(mined))


def _nearest(
    data: TrainingData, documents: Tensor, pairs: Tensor, count: int, margin: float
) -> Tensor:
    """Rows of the hard negatives of some pairs, `(pairs, count)`."""
    query_rows, relevant_rows = pairs.unbind(1)
    cosines = normalize(data.queries[query_rows]) @ documents.T
    limit = cosines.gather(1, relevant_rows[:, None]) - margin
    excluded = (cosines >= limit) | data.is_copy
    excluded[data.relevant_documents(query_rows)] = True
    cosines.masked_fill_(excluded, -torch.inf)
    nearest, rows = cosines.topk(min(count, len(documents)), dim=1)
    rows = rows.masked_fill(nearest == -torch.inf, -1)
    return pad(rows, (0, count - rows.shape[1]), value=-1)
