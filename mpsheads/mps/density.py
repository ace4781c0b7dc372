"""Reduced density matrices of batches of MPS."""

import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads.mps.contract import einsum
from mpsheads.mps.state import MPS


def one_site_density_matrices(state: MPS) -> Inexact[Tensor, "batch sites phys phys"]:
    """Reduced density matrices of every single site, each of trace 1.

    Args:
        state: States of any norm but zero, with one physical dimension throughout.

    Returns:
        `(batch, sites, phys, phys)`: Hermitian, non-negative.

    Raises:
        ValueError: If the physical dimensions differ from site to site.

    Cost: O(n_sites * max_bond**3) a state, for all sites together.
    """
    if len(set(state.phys_dims)) > 1:
        raise ValueError(f"`state` must have one physical dimension, got {state.phys_dims}.")
    rights = right_environments(state)
    left = state.sites[0].new_ones(state.batch_size, 1, 1)  # b l l*
    matrices = []
    for site, right in zip(state.sites, rights, strict=True):
        opened = einsum("bxy,bxpu->bypu", left, site)
        rho = einsum("bypu,byqv,buv->bpq", opened, site.conj(), right)
        matrices.append(rho)
        left = _normalise(einsum("bypu,bypv->buv", opened, site.conj()))
    stacked = torch.stack(matrices, dim=1)
    trace = torch.einsum("bspp->bs", stacked).real
    return stacked / trace[..., None, None]


def reduced_density_matrix(state: MPS, site: int) -> Inexact[Tensor, "batch phys phys"]:
    """Reduced density matrix of one site, of trace 1.

    Args:
        state: States of any norm but zero.
        site: Which site.

    Raises:
        ValueError: If the site does not exist.

    Cost: O(n_sites * max_bond**3) a state. For all sites use `one_site_density_matrices`.
    """
    if not 0 <= site < state.n_sites:
        raise ValueError(f"`site` must lie within 0..{state.n_sites - 1}, got {site}.")
    left = state.sites[0].new_ones(state.batch_size, 1, 1)
    for tensor in state.sites[:site]:
        left = _normalise(einsum("bxy,bxpu,bypv->buv", left, tensor, tensor.conj()))
    right = right_environments(state, site)[0]
    tensor = state.sites[site]
    rho = einsum("bxy,bxpu,byqv,buv->bpq", left, tensor, tensor.conj(), right)
    return rho / torch.einsum("bpp->b", rho).real[:, None, None]


def right_environments(state: MPS, first: int = 0) -> list[Inexact[Tensor, "batch _r _r"]]:
    """What lies to the right of each site from `first` on, contracted: `(batch, r, r*)`, scaled."""
    right = state.sites[0].new_ones(state.batch_size, 1, 1)  # b r r*
    environments = [right]
    for tensor in state.sites[:first:-1]:
        right = _normalise(einsum("blpu,bmpv,buv->blm", tensor, tensor.conj(), right))
        environments.append(right)
    return environments[::-1]


def _normalise(env: Tensor) -> Tensor:
    """Divide by the largest element: only ratios matter here."""
    size = env.detach().abs().amax(dim=(1, 2), keepdim=True)
    return env / torch.where(size > 0, size, torch.ones_like(size))
