"""Checks of the two sides that are compared, and the dtype in which that happens."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads.similarity.codes import Codes

Queries = TypeVar("Queries", bound=Tensor | Codes)
Documents = TypeVar("Documents", bound=Tensor | Codes)


def check_sides(
    what: str,
    zq: Queries,
    zd: Documents,
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> tuple[Queries, Documents]:
    """Both sides, vectors in the dtype of the comparison: the wider one, float32 at least.

    Args:
        what: What the columns are, for the message.
        zq: Vectors or codes of the queries.
        zd: Vectors or codes of the documents.
        pairwise: Whether row i is compared with row i alone.
        chunk: The user's number of documents handled at once.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If a side is no matrix, widths, devices, the sorts of codes or, pairwise,
            numbers of rows differ, or `chunk` is less than 1.
    """
    dtype = torch.float32
    for name, z in {"zq": zq, "zd": zd}.items():
        if isinstance(z, Codes):
            continue
        if not z.is_floating_point():
            raise TypeError(f"`{name}` must be a floating-point tensor, got {z.dtype}.")
        if z.ndim != 2:
            raise ValueError(f"`{name}` must have two axes, rows and {what}, got {z.ndim}.")
        dtype = torch.promote_types(dtype, z.dtype)
    check_equal(f"number of {what}", zq=zq.shape[1], zd=zd.shape[1])
    check_equal("device", zq=zq.device, zd=zd.device)
    if pairwise:
        check_equal("number of rows", zq=zq.shape[0], zd=zd.shape[0])
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 or None, got {chunk}.")
    if isinstance(zq, Codes) and isinstance(zd, Codes):
        for part in ("kind", "bond_dims", "span"):
            check_equal(f"{part} of codes", zq=getattr(zq, part), zd=getattr(zd, part))
        if zq.bits != zd.bits:
            raise ValueError(
                f"The bits of codes must agree: `zq` has {zq.bits}, `zd` has {zd.bits}. Compare "
                f"`zq.dequantize()` with `zd` instead."
            )
    wide: list[Any] = [z if isinstance(z, Codes) else z.to(dtype) for z in (zq, zd)]
    return wide[0], wide[1]


def as_numbers(z: Tensor | Codes, dtype: torch.dtype = torch.float32) -> Tensor:
    """What codes stand for, in `dtype`; vectors in that dtype or a wider one."""
    if isinstance(z, Codes):
        return z.dequantize(dtype)
    return z.to(torch.promote_types(z.dtype, dtype))
