"""Cosine of all pairs of vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_equal


def cosine(
    zq: Float[Tensor, "queries n"], zd: Float[Tensor, "documents _"], *, pairwise: bool = False
) -> Float[Tensor, "*pairs"]:
    """Cosine of all pairs of vectors, in [-1, 1]; 0 where a vector is zero.

    Args:
        zq: Vectors of the queries.
        zd: Vectors of the documents.
        pairwise: Compare each query with the document in the same row.

    Returns:
        `(queries, documents)`, or `(queries,)` if `pairwise`.

    Raises:
        ValueError: If widths differ, or numbers of rows if `pairwise`.
    """
    check_equal("number of features", zq=zq.shape[1], zd=zd.shape[1])
    if pairwise:
        check_equal("number of rows", zq=len(zq), zd=len(zd))
        return (torch.nn.functional.normalize(zq) * torch.nn.functional.normalize(zd)).sum(1)
    return torch.nn.functional.normalize(zq) @ torch.nn.functional.normalize(zd).T
