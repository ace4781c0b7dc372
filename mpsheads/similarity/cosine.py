"""Cosine of all pairs of vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_equal


def cosine(
    zq: Float[Tensor, "queries n"], zd: Float[Tensor, "documents _"]
) -> Float[Tensor, "queries documents"]:
    """Cosine of all pairs of vectors, in [-1, 1]; 0 where a vector is zero.

    Raises:
        ValueError: If widths differ.
    """
    check_equal("number of features", zq=zq.shape[1], zd=zd.shape[1])
    return torch.nn.functional.normalize(zq) @ torch.nn.functional.normalize(zd).T
