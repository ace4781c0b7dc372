"""Expectation values of batches of MPS."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads.mps.density import one_site_density_matrices, reduced_density_matrix
from mpsheads.mps.state import MPS


def expectation(
    state: MPS, operator: Inexact[Tensor, "phys phys"], site: int
) -> Inexact[Tensor, " batch"]:
    """Expectation value of a one-site operator, norms divided out.

    Args:
        state: The states.
        operator: `(out, in)`.
        site: Which site.

    Returns:
        One number per state, in the states' dtype; its imaginary part vanishes for a Hermitian
        operator.

    Raises:
        ValueError: If the site does not exist.

    Cost: O(n_sites * max_bond**3) a state.
    """
    rho = reduced_density_matrix(state, site)
    return torch.einsum("bpq,qp->b", rho, operator.to(rho.dtype))


def bloch_vectors(state: MPS) -> Float[Tensor, "batch sites 3"]:
    """Bloch vectors `(<X>, <Y>, <Z>)` of every qubit, of length at most 1.

    Raises:
        ValueError: If a site is not a qubit.

    Cost: O(n_sites * max_bond**3) a state, for all qubits together.
    """
    if set(state.phys_dims) != {2}:
        raise ValueError(f"`state` must be one of qubits, got dimensions {state.phys_dims}.")
    rho = one_site_density_matrices(state)
    off, z = rho[..., 0, 1], rho[..., 0, 0] - rho[..., 1, 1]
    y = -2 * off.imag if off.is_complex() else torch.zeros_like(off)
    return torch.stack([2 * off.real, y, z.real], dim=-1)
