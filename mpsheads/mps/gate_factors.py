"""A gate on a few qubits as a matrix product operator: one tensor `(left, out, in, right)` a site.

No function here uses an SVD: the first three are exact rearrangements, differentiable in the gate,
and constant gates are factored to their exact rank by elimination.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Complex, Inexact
from torch import Tensor

Rows = tuple[tuple[int | float | complex, ...], ...]
"""A constant matrix that can be hashed."""


def complex_of(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision."""
    return torch.promote_types(dtype, torch.complex32)


def split(
    matrix: Inexact[Tensor, "*b _d _d"], dims: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """Any gate on one, two or three sites as an MPO.

    The ends that are not needed to hold the gate are all matrices with a single 1.

    Args:
        matrix: `(*b, levels, levels)`, the first site most significant.
        dims: Dimension of each of its k sites; qubits by default.

    Returns:
        k tensors `(*b, left, out, in, right)` with outer bonds 1 and inner ones the square of a
        dimension: 4 for qubits.
    """
    batch, dims = matrix.shape[:-2], _dims(matrix, dims)
    k = len(dims)
    if k == 1:
        return (matrix[..., None, :, :, None],)
    pairs = [axis - 2 * k for site in range(k) for axis in (site, k + site)]
    legs = matrix.reshape(*batch, *dims, *dims).movedim(pairs, list(range(-2 * k, 0)))
    first = _units(dims[0], matrix).reshape(1, dims[0], dims[0], -1).expand(*batch, -1, -1, -1, -1)
    rest = legs.reshape(*batch, dims[0] ** 2, dims[1], dims[1], -1)  # out1 in1, out2, in2, others
    if k == 2:
        return first, rest
    last = _units(dims[2], matrix).reshape(-1, dims[2], dims[2], 1)
    return first, rest, last.expand(*batch, -1, -1, -1, -1)


def _units(dim: int, like: Tensor) -> Tensor:
    return torch.eye(dim * dim, dtype=like.dtype, device=like.device)


def reorder(
    matrix: Inexact[Tensor, "*b _d _d"], order: Sequence[int], dims: Sequence[int] | None = None
) -> Tensor:
    """The same gate with its sites named in another order: entry j is the old site `order[j]`."""
    dims, k = _dims(matrix, dims), len(order)
    legs = matrix.reshape(*matrix.shape[:-2], *dims, *dims)
    sources = [i - 2 * k for i in order] + [i - k for i in order]
    return legs.movedim(sources, list(range(-2 * k, 0))).reshape(matrix.shape)


def _dims(matrix: Tensor, dims: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(dims) if dims is not None else (2,) * (matrix.shape[-1].bit_length() - 1)


def mirror(factors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same operator with its sites in the opposite order."""
    return tuple(factor.transpose(-4, -1) for factor in reversed(factors))


def adjoint(factors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The adjoint operator."""
    return tuple(factor.transpose(-3, -2).conj() for factor in factors)


def contract(factors: tuple[Tensor, ...]) -> Complex[Tensor, "*b _d _d"]:
    """The matrix of an MPO, first site most significant; its outer bonds are 1."""
    matrix = factors[0][..., 0, :, :, :]  # out in right
    for factor in factors[1:]:
        matrix = torch.einsum("...oir,...rpjs->...opijs", matrix, factor)
        *batch, o, p, i, j, s = matrix.shape
        matrix = matrix.reshape(*batch, o * p, i * j, s)
    return matrix[..., 0]


@lru_cache(maxsize=4096)
def constant_factors(rows: Rows) -> tuple[np.ndarray, ...]:
    """A constant gate as an MPO of its exact operator-Schmidt ranks, complex128.

    Elimination with full pivoting, which keeps zeros and ones exact; remainders below 1e-12 count
    as zero.
    """
    matrix = np.array(rows, dtype=np.complex128)
    k = len(matrix).bit_length() - 1
    axes = [axis for site in range(k) for axis in (site, k + site)]
    rest = matrix.reshape([2] * (2 * k)).transpose(axes).reshape(1, -1)  # out1 in1 out2 in2 ...
    factors, left = [], 1
    for _ in range(k - 1):
        columns, rest = _eliminate(rest.reshape(4 * left, -1))
        factors.append(columns.reshape(left, 2, 2, -1))
        left = columns.shape[1]
    return (*factors, rest.reshape(left, 2, 2, 1))


def _eliminate(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`matrix` as a product (m, rank) x (rank, n)."""
    columns, rows = [], []
    while np.abs(matrix).max() > 1e-12:
        i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
        columns.append(matrix[:, j].copy())
        rows.append(matrix[i] / matrix[i, j])
        matrix = matrix - np.outer(columns[-1], rows[-1])
        matrix[i], matrix[:, j] = 0, 0
    return np.stack(columns, 1), np.stack(rows)
