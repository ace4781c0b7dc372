"""Matrix product states as vectors of real numbers, and their log-fidelity."""

from collections.abc import Sequence
from itertools import pairwise as neighbours

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._arrays import takes_arrays
from mpsheads._checks import check_type, check_vectors, is_concrete
from mpsheads.mps import MPS
from mpsheads.mps.contract import log_fidelity as _log_fidelity
from mpsheads.mps.contract import log_fidelity_matrix
from mpsheads.similarity.codes import check_state_width
from mpsheads.similarity.products import Product, Side, log_products
from mpsheads.similarity.sides import check_sides


@takes_arrays
def state_log_fidelity(
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    bond_dims: Sequence[int],
    *,
    pairwise: bool = False,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity `log(|<a|b>|^2 / (<a|a> <b|b>))` of packed matrix product states.

    Args:
        zq: States of the queries, as `pack_state` writes them; any scale of a site will do.
        zd: States of the documents.
        bond_dims: The inner bonds of all of them, one fewer than qubits.
        pairwise: Compare row i with row i, instead of all pairs.

    Returns:
        Natural logarithms, at most 0 up to rounding, `(queries, documents)`, or `(queries,)` if
        pairwise; finite for orthogonal states. The dtype is the wider one of the two, and float32
        at least.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If a width does not fit the bonds, devices or, pairwise, numbers of rows
            differ, or a state has norm 0.

    Cost: O(qubits * bond**3) a pair, see `mpsheads.mps.log_fidelity_matrix`. Where all bonds are 1,
    the states are products and a factor is an inner product of Bloch vectors: 4 multiply-adds.
    """
    zq, zd = check_sides(zq, zd, pairwise=pairwise)
    bond_dims = check_state_width("zq", zq.shape[1], bond_dims)
    if max(bond_dims, default=1) == 1 and not pairwise:
        for name, z in {"zq": zq, "zd": zd}.items():
            empty = (z.detach().unflatten(1, (-1, 4)) == 0).all(-1).any(1)
            if is_concrete(z) and empty.any():
                row = int(empty.nonzero()[0])
                raise ValueError(f"`{name}` must have norms above 0, but state {row} has norm 0.")
        sides = Side(zq, _qubit_features), Side(zd, _qubit_features)
        product = Product(1, torch.finfo(zq.dtype).eps, held_run=4)
        return log_products(product, *sides)
    with torch.autocast(zq.device.type, enabled=False):
        queries, documents = (unpack_state(z, bond_dims) for z in (zq, zd))
        if pairwise:
            return _log_fidelity(queries, documents)
        return log_fidelity_matrix(queries, documents)


def pack_state(state: MPS) -> Float[Tensor, "batch numbers"]:
    """States of qubits as vectors of real numbers, one a row.

    Site after site, each tensor `(left, 2, right)` in row-major order, real and imaginary part of
    every entry, scaled to norm 1. So numbers lie in [-1, 1]. The norm and phase of the whole state
    are given up: `log_norm` is left out.

    Args:
        state: The states; real ones get imaginary parts of 0.

    Raises:
        ValueError: If a site is no qubit.
    """
    check_type("state", state, MPS, "an MPS")
    if set(state.phys_dims) != {2}:
        raise ValueError(f"`state` must be of qubits, got physical dimensions {state.phys_dims}.")
    vectors = []
    for site in state.sites:
        site = site if site.is_complex() else torch.complex(site, torch.zeros_like(site))
        vector = torch.view_as_real(site).flatten(1)
        square = (vector * vector).sum(1, keepdim=True)
        vectors.append(vector * square.clamp_min(torch.finfo(vector.dtype).tiny).rsqrt())
    return torch.cat(vectors, dim=1)


def unpack_state(vector: Float[Tensor, "batch _"], bond_dims: Sequence[int]) -> MPS:
    """The states that `pack_state` wrote.

    Args:
        vector: One state a row, in float32 or float64.
        bond_dims: The inner bonds, one fewer than qubits.

    Raises:
        ValueError: If the width does not fit the bonds.
    """
    check_vectors("vector", vector)
    bond_dims = check_state_width("vector", vector.shape[1], bond_dims)
    shapes = [(left, 2, right) for left, right in neighbours([1, *bond_dims, 1])]
    parts = vector.split([2 * left * two * right for left, two, right in shapes], dim=1)
    sites = [
        torch.view_as_complex(part.reshape(vector.shape[0], *shape, 2))
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return MPS.unchecked(sites, vector.new_zeros(vector.shape[0]))


def _qubit_features(z: Float[Tensor, "rows n"]) -> Float[Tensor, "qubits 4 rows"]:
    """1 and the Bloch vector of each pure qubit, scaled so that inner products are fidelities."""
    a, b, c, d = z.T.unflatten(0, (-1, 4)).unbind(1)  # (a + bi)|0> + (c + di)|1>, qubit rows
    zero, one = a * a + b * b, c * c + d * d
    vectors = torch.stack([zero + one, 2 * (a * c + b * d), 2 * (a * d - b * c), zero - one], dim=1)
    scale = (zero + one).clamp_min(torch.finfo(z.dtype).tiny).reciprocal() * 0.5**0.5
    return vectors * scale[:, None]
