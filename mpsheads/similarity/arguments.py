"""Checks of the two sides that are compared, and the dtype in which that happens."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_equal


def check_sides(
    what: str,
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> tuple[Float[Tensor, "queries _"], Float[Tensor, "documents _"]]:
    """Both sides in the dtype in which they are compared: the wider of theirs, float32 at least.

    Args:
        what: What the columns are, for the message.
        zq: Vectors of the queries.
        zd: Vectors of the documents.
        pairwise: Whether row i is compared with row i alone.
        chunk: The user's number of documents handled at once.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If a side is no matrix, widths, devices or, pairwise, numbers of rows differ,
            or `chunk` is less than 1.
    """
    for name, z in {"zq": zq, "zd": zd}.items():
        if not z.is_floating_point():
            raise TypeError(f"`{name}` must be a floating-point tensor, got {z.dtype}.")
        if z.ndim != 2:
            raise ValueError(f"`{name}` must have two axes, rows and {what}, got {z.ndim}.")
    check_equal(f"number of {what}", zq=zq.shape[1], zd=zd.shape[1])
    check_equal("device", zq=zq.device, zd=zd.device)
    check_rows(zq.shape[0], zd.shape[0], pairwise=pairwise, chunk=chunk)
    dtype = torch.promote_types(torch.promote_types(zq.dtype, zd.dtype), torch.float32)
    return zq.to(dtype), zd.to(dtype)


def check_rows(queries: int, documents: int, *, pairwise: bool, chunk: int | None) -> None:
    """Raise `ValueError` unless numbers of rows fit, and `chunk` is at least 1 or None."""
    if pairwise:
        check_equal("number of rows", zq=queries, zd=documents)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 or None, got {chunk}.")
