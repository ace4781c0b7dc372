"""Both sides of a comparison: vectors or codes of queries and of documents."""

from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_equal, check_vectors
from mpsheads.similarity.codes import Codes, check_alike


def check_sides(
    zq: Tensor | Codes, zd: Tensor | Codes, *, pairwise: bool = False, angles: bool = True
) -> tuple[Any, Any]:
    """Both sides, vectors in the dtype of the comparison: the wider one, float32 at least.

    With `angles`, codes must be of angles or states. Errors are those of `log_fidelity`.
    """
    dtype = torch.float32
    for name, z in {"zq": zq, "zd": zd}.items():
        if isinstance(z, Codes):
            continue
        check_vectors(name, z)
        dtype = torch.promote_types(dtype, z.dtype)
    check_equal("number of features", zq=zq.shape[1], zd=zd.shape[1])
    check_equal("device", zq=zq.device, zd=zd.device)
    if pairwise:
        check_equal("number of rows", zq=zq.shape[0], zd=zd.shape[0])
    if angles and any(isinstance(z, Codes) and z.kind == "trellis" for z in (zq, zd)):
        raise TypeError("Codes on a trellis stand for amplitudes: compare them by `cosine`.")
    if angles and isinstance(zq, Codes) and isinstance(zd, Codes):
        check_alike(zq=zq, zd=zd)
    first, second = (z if isinstance(z, Codes) else z.to(dtype) for z in (zq, zd))
    return first, second


def as_numbers(z: Tensor | Codes, dtype: torch.dtype) -> Tensor:
    """What codes stand for, in `dtype`; vectors as they are."""
    return z.dequantize(dtype) if isinstance(z, Codes) else z
