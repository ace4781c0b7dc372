"""Schmidt values, entropies and purities of batches of MPS, in whatever gauge they come."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads.mps.arguments import check_sites, check_weights
from mpsheads.mps.density import (
    MAX_LEVELS,
    left_environments,
    reduced_density_matrix,
    right_environments,
)
from mpsheads.mps.linalg import qr, singular_values, to_unit
from mpsheads.mps.purified import purity_sweep
from mpsheads.mps.state import MPS


def schmidt_values(
    state: MPS, bond: int | None = None
) -> Float[Tensor, "{state.batch_size} *bonds values"]:
    """Schmidt values: the singular values of each state, cut in two at a bond.

    Args:
        state: States of any norm but zero, canonical or not.
        bond: The cut between sites `bond` and `bond + 1`; by default every bond.

    Returns:
        `(batch, values)` or `(batch, n_sites - 1, values)`, largest first, with squares that sum
        to 1. Values that a bond cannot have, for its own or its neighbours' small dimensions, are
        left out, or zero where another bond has more.

    Raises:
        ValueError: If the bond does not exist, or a state is zero or not finite.

    The values are those of the product of two triangular factors, brought to the bond by QR from
    both ends. Nothing is squared, so values down to rounding (1e-16 of the largest in double
    precision) are right; only tensors that cancel each other, as in the sum of two nearly opposite
    states, lose digits. First derivatives are right for every function that does not depend on the
    order of equal values, also where values vanish; higher ones are not.

    Source: Schollwöck 2011 (arXiv:1008.3477), sec. 4.4-4.6. Cost: O(n_sites * max_bond**3) a state,
    for all bonds together.
    """
    if bond is not None and not 0 <= bond < state.n_sites - 1:
        raise ValueError(f"`bond` must lie within 0..{state.n_sites - 2} or be None, got {bond}.")
    first, last = (0, state.n_sites - 2) if bond is None else (bond, bond)
    if last < 0:
        return state.sites[0].real.new_zeros(state.batch_size, 0, 1)
    lefts = _factors(state.sites[: last + 1])[first:]
    mirrored = _factors([site.transpose(1, 3) for site in state.sites[:first:-1]])
    rights = [factor.mT for factor in reversed(mirrored)]
    centers = [x @ y for x, y in zip(lefts, rights, strict=False)]
    height, width = (max(center.shape[axis] for center in centers) for axis in (1, 2))
    centers = torch.stack(
        [
            torch.nn.functional.pad(c, (0, width - c.shape[2], 0, height - c.shape[1]))
            for c in centers
        ],
        dim=1,
    )  # b bonds k k
    check_weights(centers.abs().sum(dim=(2, 3)))
    values = singular_values(centers)
    values = values / values.norm(dim=-1, keepdim=True)
    return values if bond is None else values[:, 0]


def entanglement_entropy(
    state: MPS, bond: int | None = None, *, base: int | float = math.e
) -> Float[Tensor, "{state.batch_size} *bonds"]:
    """Von Neumann entropy `-sum p log p` of the halves of each state, p the squared Schmidt values.

    Args:
        state: States of any norm but zero, canonical or not.
        bond: The cut between sites `bond` and `bond + 1`; by default every bond.
        base: Base of the logarithm: nats by default, 2 for bits (ebits).

    Returns:
        `(batch,)` or `(batch, n_sites - 1)`, from 0 for product states to the logarithm of the bond
        dimension. The gradient is right from product states onwards.

    Raises:
        ValueError: If the bond does not exist, `base` is not above 1, or a state is zero or not
            finite.

    Cost: that of `schmidt_values`.
    """
    return renyi_entropy(state, 1.0, bond, base=base)


def renyi_entropy(
    state: MPS, alpha: int | float, bond: int | None = None, *, base: int | float = math.e
) -> Float[Tensor, "{state.batch_size} *bonds"]:
    """Rényi entropy `log(sum p**alpha) / (1 - alpha)` of the halves of each state.

    Args:
        state: States of any norm but zero, canonical or not.
        alpha: Order above 0: 1 is von Neumann's entropy, `math.inf` the min-entropy `-log max p`.
        bond: The cut between sites `bond` and `bond + 1`; by default every bond.
        base: Base of the logarithm: nats by default.

    Returns:
        `(batch,)` or `(batch, n_sites - 1)`. Schmidt values below rounding count as zero. For
        orders up to 1/2 the derivative is infinite where a value vanishes; it is left out there.

    Raises:
        ValueError: If the bond does not exist, `alpha` is not above 0, `base` is not above 1, or a
            state is zero or not finite.

    Cost: that of `schmidt_values`.
    """
    if not alpha > 0:
        raise ValueError(f"`alpha` must be above 0, got {alpha}.")
    if not base > 1:
        raise ValueError(f"`base` must be above 1, got {base}.")
    s = schmidt_values(state, bond)
    floor = torch.finfo(s.dtype).eps * s.shape[-1]
    there = s > floor * s[..., :1]
    log_p = torch.where(there, s, 1.0).log() * 2
    if alpha == 1:
        entropy = -(torch.where(there, s, 0.0) ** 2 * log_p).sum(dim=-1)
    elif alpha == math.inf:
        entropy = -log_p[..., 0]
    elif alpha < 2:  # log(sum p**alpha) as log(1 + sum(p**alpha - p)), which is right near 1, too
        entropy = (s**2 * ((alpha - 1) * log_p).expm1()).sum(dim=-1).log1p() / (1 - alpha)
    else:
        powers = torch.where(there, alpha * log_p, -math.inf)
        entropy = powers.logsumexp(dim=-1) / (1 - alpha)
    return entropy / math.log(base) + 0.0  # no negative zero


def purity(state: MPS, sites: int | Sequence[int]) -> Float[Tensor, " {state.batch_size}"]:
    """Purity `tr rho**2` of the reduced density matrix of some sites.

    No decomposition is needed, and no density matrix of many sites is written out. Its logarithm,
    with a minus, is the Rényi entropy of order 2 of these sites.

    Args:
        state: States of any norm but zero.
        sites: One site or several, distinct, in any order, neighbours or not.

    Returns:
        Between 1 / (levels of the sites) and 1.

    Raises:
        ValueError: If a site does not exist or is named twice, or a state is zero or not finite.

    Cost: O(n_sites * max_bond**3) a state for sites that reach from an end of the chain, or are
    few; otherwise O(max_bond**5) for each site from the first to the last of them.
    """
    order = sorted(check_sites(sites, state.n_sites))
    first, last = order[0], order[-1]
    run = last - first == len(order) - 1
    if run and (first == 0 or last == state.n_sites - 1):
        cut = last if first == 0 else first - 1  # the bond to these sites is right of this one
        both = left_environments(state, cut + 1)[-1] @ right_environments(state, cut)[0]  # b l* r*
        trace = torch.einsum("bmm->b", both).real
        check_weights(trace)
        return torch.einsum("bmn,bnm->b", both, both).real / trace**2
    levels = math.prod([state.phys_dims[i] for i in order])
    around = state.sites[first].shape[1] * state.sites[last].shape[3]
    if levels <= min(around, MAX_LEVELS):
        rho = reduced_density_matrix(state, order)
        return (rho * rho.conj()).real.sum(dim=(1, 2))
    kept = set(order)
    split = [
        state.sites[i][:, :, :, None] if i in kept else state.sites[i][:, :, None]
        for i in range(first, last + 1)
    ]  # b l p k r: of a site that is traced out all is Kraus leg, of another nothing
    left, right = left_environments(state, first)[-1], right_environments(state, last)[0]
    return purity_sweep(split, left, right)


def _factors(sites: Sequence[Tensor]) -> list[Tensor]:
    """For the bond right of each site, a factor `(batch, k, r)` that has all of the left side.

    The left side is an isometry times this factor, which is brought to size 1. Only R of each QR is
    used, whose gradient is right for singular values also where columns are linearly dependent.
    """
    factor = sites[0].new_ones(len(sites[0]), 1, 1)
    factors = []
    for site in sites:
        grown = (factor @ site.flatten(2)).unflatten(2, site.shape[2:]).flatten(1, 2)  # b kp r
        if grown.shape[1] > grown.shape[2]:
            grown = qr(grown)[1]
        factor, _ = to_unit(grown, 1, 2)
        factors.append(factor)
    return factors
