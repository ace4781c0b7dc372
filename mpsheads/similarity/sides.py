"""Both sides of a comparison: vectors or codes of queries and of documents."""

from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads.similarity.codes import Codes, check_alike


def check_sides(
    what: str, zq: Tensor | Codes, zd: Tensor | Codes, *, pairwise: bool = False
) -> tuple[Any, Any]:
    """Both sides, vectors in the dtype of the comparison: the wider one, float32 at least.

    Args:
        what: What the columns are, for the message.
        zq: Vectors or codes of the queries.
        zd: Vectors or codes of the documents.
        pairwise: Whether row i is compared with row i alone.

    Raises:
        TypeError, ValueError: See `log_fidelity`.
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
    if any(isinstance(z, Codes) and z.kind == "trellis" for z in (zq, zd)):
        raise TypeError("Codes on a trellis stand for amplitudes: compare them by `cosine`.")
    if isinstance(zq, Codes) and isinstance(zd, Codes):
        check_alike(zq=zq, zd=zd)
    first, second = (z if isinstance(z, Codes) else z.to(dtype) for z in (zq, zd))
    return first, second


def as_numbers(z: Tensor | Codes, dtype: torch.dtype) -> Tensor:
    """What codes stand for, in `dtype`; vectors as they are."""
    return z.dequantize(dtype) if isinstance(z, Codes) else z
