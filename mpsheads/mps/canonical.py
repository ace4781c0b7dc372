"""Canonical forms, truncation and sums of batches of MPS."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads._checks import as_integers, check_finite, check_positive
from mpsheads._constants import indices
from mpsheads.mps.arguments import check_pairs, check_weights
from mpsheads.mps.linalg import kept_space, pulled_gram, qr, svd, to_unit, wide
from mpsheads.mps.state import MPS, trim_bonds


@dataclass(frozen=True)
class Truncation:
    """How many singular values a bond keeps.

    Attributes:
        max_bond: Upper limit on the kept number; `None` means no limit.
        cutoff: Largest allowed discarded weight of one bond: the sum of the dropped `s**2` over the
            sum of all. With 0 the bond dimensions do not depend on the numbers, which keeps shapes
            static (for `torch.compile`, `vmap` and CUDA graphs).

    Raises:
        TypeError: If `max_bond` is no integer, or `cutoff` no number.
        ValueError: If `max_bond` is less than 1, or `cutoff` is not in [0, 1).
    """

    max_bond: int | None = None
    cutoff: float = 0.0

    def __post_init__(self) -> None:
        if self.max_bond is not None:
            check_positive(max_bond=self.max_bond)
        if not 0.0 <= self.cutoff < 1.0:
            raise ValueError(f"`cutoff` must lie in [0, 1), got {self.cutoff}.")

    def applies_to(self, bond_dim: int) -> bool:
        """Whether a bond of this dimension may have to drop something."""
        return self.cutoff > 0.0 or (self.max_bond is not None and bond_dim > self.max_bond)


def canonicalize(state: MPS, center: int | None = None) -> MPS:
    """The same states in canonical form: every site but one an isometry.

    Args:
        state: The states.
        center: The site that holds the norm; sites left of it become left-canonical, sites right
            of it right-canonical. By default the last site.

    Returns:
        The same vectors, in bonds no larger than before. Sites that are canonical already, by
        `state.center`, are not touched. The gradient is right for losses that do not depend on
        the gauge; see `mpsheads.mps.linalg.qr` where bonds have vanishing singular values.

    Raises:
        ValueError: If `center` is not a site.

    Source: Schollwöck 2011 (arXiv:1008.3477), sec. 4.4. Cost: O(n_sites * max_bond**3) a state.
    """
    center = state.n_sites - 1 if center is None else center
    if not 0 <= center < state.n_sites:
        raise ValueError(f"`center` must lie within 0..{state.n_sites - 1}, got {center}.")
    state = trim_bonds(state)
    first, last = (0, state.n_sites - 1) if state.center is None else (state.center,) * 2
    tensors: dict[int, Tensor] = {}
    log_norm = state.log_norm.double()
    for i in range(first, center):  # left to right
        site, following = (tensors.get(k, state.sites[k]) for k in (i, i + 1))
        q, r = qr(site.flatten(1, 2))
        r, log_norm = _rescale(r, log_norm)
        tensors[i] = q.unflatten(1, site.shape[1:3])
        tensors[i + 1] = torch.einsum("bxl,blpr->bxpr", r, following)
    for i in range(last, center, -1):  # right to left
        before, site = (tensors.get(k, state.sites[k]) for k in (i - 1, i))
        q, r = qr(site.flatten(2, 3).mH)
        r, log_norm = _rescale(r, log_norm)
        tensors[i] = q.mH.unflatten(2, site.shape[2:4])
        tensors[i - 1] = torch.einsum("blpr,bxr->blpx", before, r.conj())
    return state.with_sites(tensors, log_norm=log_norm.to(state.log_norm.dtype), center=center)


def compress(state: MPS, truncation: Truncation, *, first: int = 0, last: int | None = None) -> MPS:
    """The states with bonds cut down to what a truncation allows, each cut optimal.

    A sweep from the left keeps at each bond the leading Schmidt vectors of the whole state, whose
    right part enters through its overlaps (Gram matrices). Every cut is an orthogonal projection
    and norms are not restored: the norm that is missing is the weight that was dropped.

    Args:
        state: The states, in any gauge. With a `center` at the sites in question the work is local.
        truncation: What to keep. Nothing happens to bonds that already obey it.
        first: First site whose right bond may be cut.
        last: Last such site; by default all bonds are looked at.

    Returns:
        States whose `discarded_weight` and `truncation_angle` have grown by what was dropped. Where
        the cutoff leaves the states of a batch with different ranks, the largest rules, and the
        others are filled with zeros.

    Raises:
        ValueError: If a site does not exist, or a state is zero or not finite.

    Source: Schollwöck 2011 (arXiv:1008.3477), sec. 4.5.1, with Gram matrices in twice the
    precision in place of a QR sweep for single precision; gradients as in Francuz et al. 2023
    (arXiv:2311.11894). Cost: O(n_sites * max_bond**3) a state, one eigendecomposition of
    (phys * kept bond)**2 a site.
    """
    last = state.n_sites - 2 if last is None else last
    if not 0 <= first <= max(last, 0) <= max(state.n_sites - 2, 0):
        raise ValueError(
            f"`first` and `last` must be sites with a bond to their right, first <= last, within "
            f"0..{state.n_sites - 2}, got {first} and {last}."
        )
    state = trim_bonds(state)
    start, stop = (0, state.n_sites - 1) if state.center is None else (state.center,) * 2
    return truncate_window(state, truncation, first, last, min(start, first), max(stop, last + 1))


def truncate_window(
    state: MPS, truncation: Truncation, first: int, last: int, start: int, stop: int
) -> MPS:
    """`compress` where sites left of `start` and right of `stop` are canonical, towards them.

    An end of the chain counts as canonical. Nothing outside `start..stop` is looked at.
    """
    cut = [i for i in range(first, last + 1) if truncation.applies_to(state.sites[i].shape[3])]
    if not cut:
        return state
    overlaps = _right_overlaps(state, start, stop)
    tensors: dict[int, Tensor] = {}
    losses: dict[int, Tensor] = {}
    log_norm, carry = state.log_norm.double(), None
    for i in range(start, cut[-1] + 1):
        phys, right = state.sites[i].shape[2:]
        rows = state.sites[i].flatten(1, 2)  # b (l p) r
        if carry is not None:
            rows = (carry @ state.sites[i].flatten(2)).unflatten(2, (phys, right)).flatten(1, 2)
        if i in cut:
            most = min(*rows.shape[1:], truncation.max_bond or rows.shape[1])
            kept, weights, used = kept_space(rows, *overlaps[i], most, truncation.cutoff)
            losses[i] = (weights * ~used).sum(-1) / weights.sum(-1)
            carry = kept.mH @ rows
        elif rows.shape[1] <= rows.shape[2]:
            kept = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device).expand(
                len(rows), -1, -1
            )
            carry = rows
        else:
            kept, carry = qr(rows)
        tensors[i] = kept.unflatten(1, (-1, phys))
        carry, log_norm = _rescale(carry, log_norm)
    end = cut[-1] + 1
    tensors[end] = torch.einsum("bxl,blpr->bxpr", carry, state.sites[end])  # b x [l] p r
    return _with_losses(state, tensors, losses, log_norm, end if end == stop else None)


def _right_overlaps(state: MPS, start: int, stop: int) -> dict[int, tuple[Tensor, Tensor | None]]:
    """For each bond from `start` to `stop`, the overlaps of what lies right of it, and their root.

    The overlaps (Gram matrices) carry the gradient. Double precision takes a square root of them as
    well, by QR and without gradients, since no wider numbers are at hand.
    """
    dtype = wide(state.dtype)
    bond = state.sites[stop].shape[3]
    gram = torch.eye(bond, dtype=dtype, device=state.device).expand(state.batch_size, -1, -1)
    factor = gram if dtype == state.dtype else None
    overlaps = {}
    for i in range(stop, start - 1, -1):
        site = state.sites[i]
        gram = pulled_gram(site, gram)
        if factor is not None:
            with torch.no_grad():
                root = (site.flatten(1, 2) @ factor).unflatten(1, site.shape[1:3]).flatten(2)
                factor = qr(root.mH)[1].mH  # b l c
        gram, size = to_unit(gram, 1, 2)
        factor = None if factor is None else factor / size.sqrt()
        overlaps[i - 1] = (gram, factor)
    check_weights(torch.einsum("bll->b", overlaps.pop(start - 1)[0]).real)
    return overlaps


def _rescale(carry: Tensor, log_norm: Tensor) -> tuple[Tensor, Tensor]:
    carry, size = to_unit(carry, 1, 2)
    return carry, log_norm + size.flatten().log()


def _with_losses(
    state: MPS,
    tensors: dict[int, Tensor],
    losses: dict[int, Tensor],
    log_norm: Tensor,
    center: int | None,
) -> MPS:
    """New states whose records of truncation have grown by the weight dropped at each bond."""
    dropped = torch.stack(list(losses.values()), dim=1)
    bonds = indices(losses, dropped)
    weight = state.discarded_weight
    weight = weight.index_add(1, bonds, dropped.to(weight.dtype))
    infidelity = -torch.log1p(-dropped.detach().clamp(max=1.0)).sum(dim=1).expm1()
    angle = state.truncation_angle + infidelity.clamp(0.0, 1.0).sqrt().asin().to(weight.dtype)
    return state.with_sites(
        tensors,
        log_norm=log_norm.to(weight.dtype),
        center=center,
        discarded_weight=weight,
        truncation_angle=angle,
    )


def to_vidal(state: MPS) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Vidal's form of each normalised state: site tensors between diagonal Schmidt values.

    Args:
        state: The states, of any norm but zero.

    Returns:
        `n_sites` tensors Gamma `(batch, left, phys, right)` and `n_sites - 1` vectors Lambda
        `(batch, bond)`, largest first, of norm 1: `Gamma_0 Lambda_0 Gamma_1 ...` is the state.
        Where Schmidt values vanish, so do the entries of Gamma that belong to them. Gradients are
        cut, since the form divides by Schmidt values.

    Raises:
        ValueError: If a state is zero or not finite.

    Source: Vidal 2003 (arXiv:quant-ph/0301063), eq. 4. Cost: O(n_sites * max_bond**3) a state.
    """
    state = canonicalize(state.detach(), 0)
    norm = state.sites[0].flatten(1).norm(dim=1)
    check_weights(norm)
    gammas, lambdas = [], []
    rest = state.sites[0] / norm[:, None, None, None]
    inverse = rest.real.new_ones(len(rest), 1)
    for following in state.sites[1:]:
        u, values, vh = svd(rest.flatten(1, 2))
        gammas.append(u.unflatten(1, rest.shape[1:3]) * inverse[:, :, None, None])
        lambdas.append(values)
        floor = values[:, :1] * torch.finfo(values.dtype).eps
        inverse = torch.where(values > floor, 1 / values, 0.0)
        rest = torch.einsum("bxl,blpr->bxpr", values[..., None] * vh, following)
    gammas.append(rest * inverse[:, :, None, None])
    return tuple(gammas), tuple(lambdas)


def add(first: MPS, second: MPS) -> MPS:
    """The sums `first + second` of two batches of states, vector by vector.

    Args:
        first: States.
        second: As many, on the same sites.

    Returns:
        States whose bond dimensions are the sums of those of the two; `compress` makes them
        smaller. The records of truncation start anew.

    Raises:
        ValueError: If the batch sizes, physical dimensions, dtypes or devices differ.
    """
    check_pairs(first=first, second=second)
    log_norm = torch.maximum(first.log_norm, second.log_norm)
    shares = [(s.log_norm - log_norm) / s.n_sites for s in (first, second)]  # else out of range
    x, y = (share.exp()[:, None, None, None] for share in shares)
    pairs = [(a * x, b * y) for a, b in zip(first.sites, second.sites, strict=True)]
    if first.n_sites == 1:
        return MPS.unchecked([sum(pairs[0])], log_norm)
    sites = [torch.cat(pairs[0], dim=3)]
    for a, b in pairs[1:-1]:
        above = torch.nn.functional.pad(a, (0, b.shape[3]))
        below = torch.nn.functional.pad(b, (a.shape[3], 0))
        sites.append(torch.cat([above, below], dim=1))
    sites.append(torch.cat(pairs[-1], dim=1))
    return MPS.unchecked(sites, log_norm)


def from_dense(
    vectors: Inexact[Tensor, "batch amplitudes"],
    phys_dims: int | Sequence[int] = 2,
    truncation: Truncation | None = None,
) -> MPS:
    """States from their vectors, exactly, or cut down to what a truncation allows.

    Args:
        vectors: `(batch, product of phys_dims)`, site 0 the most significant digit.
        phys_dims: Physical dimension of every site, or one for each.
        truncation: What to keep; by default everything, in bonds of min(left, right) dimensions.

    Raises:
        ValueError: If the number of amplitudes is no product of the dimensions, or a number is NaN
            or infinite.

    Cost: O(batch * amplitudes), and that of `compress`.
    """
    check_finite("vectors", vectors)
    amplitudes = vectors.shape[1]
    if isinstance(phys_dims, int):
        phys_dims = [phys_dims] * max(1, round(math.log(max(1, amplitudes), max(2, phys_dims))))
    dims = as_integers("phys_dims", phys_dims)
    if not amplitudes or math.prod(dims) != amplitudes:
        raise ValueError(
            f"`vectors` must hold as many amplitudes as the sites' dimensions multiply to, got "
            f"{amplitudes} for `phys_dims` {dims}."
        )
    sizes = [math.prod(dims[:i]) for i in range(len(dims) + 1)]
    middle = next(i for i in range(len(dims)) if sizes[i + 1] ** 2 >= sizes[-1])
    sites = []
    for i, (size, dim) in enumerate(zip(sizes, dims, strict=False)):
        left, right = min(size, sizes[-1] // size), min(size * dim, sizes[-1] // (size * dim))
        if i == middle:
            sites.append(vectors.reshape(-1, left, dim, right))
        else:  # the digits of a bond, spelled out
            eye = torch.eye(max(left, right), dtype=vectors.dtype, device=vectors.device)
            sites.append(eye.reshape(1, left, dim, right).expand(len(vectors), -1, -1, -1))
    state = MPS(tuple(sites), vectors.real.new_zeros(len(vectors)), center=middle)
    return state if truncation is None else compress(state, truncation)
