"""Reduced density matrices of batches of MPS, and the environments that they are made of.

An environment is all that lies to one side of a bond, contracted over bra and ket. Only ratios
matter here, so environments are scaled to size 1 at every site and never over- or underflow.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads.mps.arguments import check_sites, check_weights
from mpsheads.mps.chain import alike
from mpsheads.mps.linalg import to_unit
from mpsheads.mps.paths import einsum
from mpsheads.mps.state import MPS

MAX_LEVELS = 4096
"""Largest dimension of a density matrix that `reduced_density_matrix` writes out."""


def one_site_density_matrices(state: MPS) -> Inexact[Tensor, "batch sites phys phys"]:
    """Reduced density matrices of every single site, each of trace 1.

    Args:
        state: States of any norm but zero, with one physical dimension throughout.

    Returns:
        `(batch, sites, phys, phys)`: Hermitian, non-negative.

    Raises:
        ValueError: If the physical dimensions differ from site to site, or a state is zero or not
            finite.

    Cost: O(n_sites * max_bond**3) a state, for all sites together.
    """
    if len(set(state.phys_dims)) > 1:
        raise ValueError(f"`state` must have one physical dimension, got {state.phys_dims}.")
    lefts, rights = left_environments(state), right_environments(state)
    groups = alike(site.shape for site in state.sites)
    parts = []
    for group in groups.values():  # sites of one shape together
        left, site, right = (
            torch.stack([tensors[i] for i in group]) for tensors in (lefts, state.sites, rights)
        )
        parts.append(einsum("sbml,sblpu,sbmqv,sbuv->bspq", left, site, site.conj(), right))
    order = [i for group in groups.values() for i in group]
    position = sorted(range(len(order)), key=order.__getitem__)
    return normalise_density(torch.cat(parts, dim=1)[:, position])


def reduced_density_matrix(
    state: MPS, sites: int | Sequence[int]
) -> Inexact[Tensor, "batch levels levels"]:
    """Reduced density matrix of some sites, of trace 1.

    Args:
        state: States of any norm but zero.
        sites: One site or several, distinct, in any order; the first is the most significant digit
            of the rows. Neighbours are cheapest. Together they may have `MAX_LEVELS` (4,096)
            levels: 12 qubits.

    Returns:
        `(batch, levels, levels)`, levels the product of the sites' dimensions: Hermitian,
        non-negative.

    Raises:
        ValueError: If a site does not exist or is named twice, the sites have too many levels, or a
            state is zero or not finite.

    Cost: O(n_sites * max_bond**3 + levels**2 * max_bond**2) a state; sites between distant ones
    cost as much as the product of both at the levels named before. For every single site use
    `one_site_density_matrices`.
    """
    wanted = check_sites(sites, state.n_sites)
    order = sorted(wanted)
    dims = [state.phys_dims[i] for i in order]
    if math.prod(dims) > MAX_LEVELS:
        raise ValueError(
            f"`sites` must have at most {MAX_LEVELS} levels together, got {math.prod(dims)}. "
            f"`purity`, `partial_trace` and `expectation` of strings need no such matrix."
        )
    right = right_environments(state, order[-1])[0]
    env = left_environments(state, order[0])[-1][:, None, None]  # b P Q m l
    offsets = alike(site - place for place, site in enumerate(order))
    runs = [[order[place] for place in places] for places in offsets.values()]  # of neighbours
    for before, run in zip([None, *runs], runs, strict=False):
        for site in state.sites[before[-1] + 1 : run[0]] if before else ():
            env = einsum("bxyml,blpu,bmpv->bxyvu", env, site, site.conj())
            env, _ = to_unit(env, 1, 2, 3, 4)
        block = state.sites[run[0]]
        for site in state.sites[run[0] + 1 : run[-1] + 1]:
            block, _ = to_unit(einsum("blpu,buqv->blpqv", block, site).flatten(2, 3), 1, 2, 3)
        if run is runs[-1]:
            env = einsum("bxyml,blpu,bmqv,buv->bxpyq", env, block, block.conj(), right)
        else:
            env = einsum("bxyml,blpu,bmqv->bxpyqvu", env, block, block.conj())
            env, _ = to_unit(env.flatten(3, 4).flatten(1, 2), 1, 2, 3, 4)
    rho = env.reshape(-1, *dims, *dims)
    axes = [1 + order.index(i) for i in wanted]
    rho = rho.permute(0, *axes, *(len(order) + axis for axis in axes))
    levels = math.prod(dims)
    return normalise_density(rho.reshape(-1, levels, levels))


def left_environments(state: MPS, last: int | None = None) -> list[Inexact[Tensor, "batch _l _l"]]:
    """What lies to the left of each site up to `last`, contracted: `(batch, l*, l)`, scaled."""
    env = state.sites[0].new_ones(state.batch_size, 1, 1)  # b l* l
    environments = [env]
    for site in state.sites[: state.n_sites - 1 if last is None else last]:
        env = rescale(step_right(env, site, site))
        environments.append(env)
    return environments


def right_environments(state: MPS, first: int = 0) -> list[Inexact[Tensor, "batch _r _r"]]:
    """What lies to the right of each site from `first` on, contracted: `(batch, r, r*)`, scaled."""
    env = state.sites[0].new_ones(state.batch_size, 1, 1)  # b r r*
    environments = [env]
    for site in state.sites[:first:-1]:
        spread = (site.flatten(1, 2) @ env).unflatten(1, site.shape[1:3])  # b l p [r] r*
        env = rescale(spread.flatten(2) @ site.flatten(2).mH)  # b l [p r*] l*
        environments.append(env)
    return environments[::-1]


def step_right(
    env: Inexact[Tensor, "*b m l"],
    ket: Inexact[Tensor, "*c l phys u"],
    bra: Inexact[Tensor, "*d m phys v"],
) -> Inexact[Tensor, "*e v u"]:
    """A left environment `(*b, l*, l)` moved past one site; the bra is conjugated here."""
    opened = (env @ ket.flatten(-2)).unflatten(-1, ket.shape[-2:])  # b m [l] p u
    return bra.flatten(-3, -2).mH @ opened.flatten(-3, -2)  # b v [m p] u


def rescale(env: Inexact[Tensor, "*b r r"]) -> Inexact[Tensor, "*b r r"]:
    """Divide environments by their largest element, which is on the diagonal."""
    return env / environment_size(env)[..., None, None]


def environment_size(env: Inexact[Tensor, "*b r r"]) -> Inexact[Tensor, "*b"]:
    """The largest element of environments, real, without gradients; above zero."""
    diagonal = env.detach().diagonal(dim1=-2, dim2=-1).real
    return diagonal.amax(dim=-1).clamp_min(torch.finfo(env.dtype).tiny)


def normalise_density(rho: Inexact[Tensor, "*b n n"]) -> Inexact[Tensor, "*b n n"]:
    """Density matrices of trace 1; a trace that is zero or not finite raises."""
    trace = rho.diagonal(dim1=-2, dim2=-1).sum(dim=-1).real
    check_weights(trace)
    return rho / trace[..., None, None]
