"""What the paper's loss compares: each pair's document and the pair's own hard negatives."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from mpsheads.training.data import TrainingData


@dataclass(frozen=True, eq=False)
class Candidates:
    """The queries of some pairs and what each is compared with.

    Attributes:
        queries: Embeddings `(pairs, features)`.
        documents: Embeddings `(documents, features)`; no document occurs twice.
        place: Rows of `documents`, int64 `(pairs, 1 + negatives)`: the relevant one first.
        missing: True where there is no such negative, or it is relevant too; bool, the same shape.
    """

    queries: Tensor
    documents: Tensor
    place: Tensor
    missing: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The candidates on `device`, their embeddings in `dtype`."""
        return replace(
            self,
            queries=self.queries.to(device, dtype),
            documents=self.documents.to(device, dtype),
            place=self.place.to(device),
            missing=self.missing.to(device),
        )


def cut_candidates(data: TrainingData, rows: Tensor, hard_negatives: int) -> Candidates:
    """Cut the pairs `rows` out, each with its first `hard_negatives` negatives.

    Args:
        data: Embeddings and pairs, with mined negatives.
        rows: Rows of `data.pairs`, int64 `(n,)`.
        hard_negatives: How many columns of `data.hard_negatives` are taken.
    """
    assert data.hard_negatives is not None
    query_rows, own = data.pairs[rows].unbind(1)
    mined = data.hard_negatives[rows, :hard_negatives]
    found = torch.cat([own[:, None], mined.where(mined >= 0, own[:, None])], 1)
    columns, place = found.unique(return_inverse=True)
    missing = data.is_relevant(query_rows, columns).gather(1, place)  # so are those that were -1
    missing[:, 0] = False
    return Candidates(data.queries[query_rows], data.documents[columns], place, missing)


def rows_with_negatives(data: TrainingData, hard_negatives: int) -> Tensor:
    """The pairs with a negative among their first `hard_negatives`, int64 `(n,)`, ascending.

    Raises:
        ValueError: If there is none.
    """
    mined = data.hard_negatives
    found = [] if mined is None else (mined[:, :hard_negatives] >= 0).any(1).nonzero()[:, 0]
    if len(found) == 0:
        raise ValueError(
            '`data` has no hard negatives for loss="paper": documents that are near a query, and '
            "safely not relevant. Mine them from more documents, or give `hard_negatives`."
        )
    return torch.as_tensor(found)
