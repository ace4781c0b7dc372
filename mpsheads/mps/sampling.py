"""Measurements of batches of MPS level by level: samples, probabilities, projections."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from mpsheads._checks import as_integers, check_equal, check_positive, is_concrete
from mpsheads.mps.arguments import check_sites, check_weights
from mpsheads.mps.contract import double_log_norm, log_norm
from mpsheads.mps.density import left_environments, rescale, right_environments, step_right
from mpsheads.mps.linalg import to_unit
from mpsheads.mps.paths import einsum
from mpsheads.mps.state import MPS

_CHUNK_ELEMENTS = 1 << 22  # numbers in the largest intermediate of `sample`


@torch.no_grad()
def sample(
    state: MPS, n_shots: int, *, generator: torch.Generator | None = None
) -> Int[Tensor, "{state.batch_size} {n_shots} {state.n_sites}"]:
    """Independent outcomes of measuring every site, distributed exactly as the state says.

    Each shot is drawn site by site from the probabilities conditioned on what it drew before: no
    Markov chain, no burn-in, no correlation between shots. All states and shots go together.

    Args:
        state: States of any norm but zero.
        n_shots: Number of outcomes for each state.
        generator: Source of randomness, on the device of the state; torch's default one if `None`.
            The outcomes do not depend on how the shots are divided to bound memory.

    Returns:
        Levels, 0 or 1 for qubits, `(batch, shots, sites)`, int64. No gradient passes.

    Raises:
        ValueError: If `n_shots` is less than 1, or a state is zero or not finite.

    Source: Ferris and Vidal 2012 (arXiv:1201.3974), "perfect sampling". Cost: O(max_bond**2) for
    each site of each shot, and O(n_sites * max_bond**3) once a state.
    """
    check_positive(n_shots=n_shots)
    rights = right_environments(state)
    first = state.sites[0]
    check_weights(einsum("blpu,buv,blpv->b", first, rights[0], first.conj()).real)
    shape = (state.batch_size, n_shots, state.n_sites)
    real = state.log_norm.dtype
    uniform = torch.rand(shape, dtype=real, device=state.device, generator=generator)
    widest = state.batch_size * max(site.shape[2] * site.shape[3] for site in state.sites)
    chunk = max(1, _CHUNK_ELEMENTS // max(1, widest))
    return torch.cat([_draw(state, rights, part) for part in uniform.split(chunk, dim=1)], dim=1)


def log_probability(
    state: MPS, outcomes: Integer[Tensor, "batch shots sites"]
) -> Float[Tensor, "batch shots"]:
    """Log-probability of outcomes, `log(|<outcome|state>|**2 / <state|state>)`, in nats.

    Args:
        state: States of any norm but zero.
        outcomes: Levels, `(batch, shots, sites)`, as `sample` returns them, on the device of the
            state.

    Returns:
        At most 0; minus infinity, with no gradient, for what cannot happen.

    Raises:
        ValueError: If shapes or devices do not fit, a level does not exist, or a state is zero or
            not finite.

    Cost: O(max_bond**2 * phys) for each site of each outcome.
    """
    check_equal("batch size", state=state.batch_size, outcomes=len(outcomes))
    check_equal("number of sites", state=state.n_sites, outcomes=outcomes.shape[2])
    check_equal("device", state=state.device, outcomes=outcomes.device)
    for i, phys in enumerate(state.phys_dims):
        _check_levels("outcomes", outcomes[:, :, i], i, phys)
    log = (state.log_norm.double() - double_log_norm(state, "state"))[:, None]
    vectors = state.sites[0].new_ones(*outcomes.shape[:2], 1)  # b s l
    for site, level in zip(state.sites, outcomes.long().unbind(dim=2), strict=True):
        vectors, size = to_unit(_take(_open(vectors, site), level), 2)
        log = log + size[..., 0].double().log()
    weight = (vectors * vectors.conj()).real[..., 0]
    possible = weight > 0
    value = torch.where(possible, weight, 1.0).log() + 2 * log
    return torch.where(possible, value, -math.inf).to(state.log_norm.dtype)


def project(state: MPS, outcomes: Mapping[int, int | Tensor]) -> MPS:
    """The states projected on given levels of some sites, not normalised.

    Args:
        state: States of any norm but zero.
        outcomes: For each site to project its level: one for all states, or `(batch,)`, one for
            each.

    Returns:
        States on the same sites, in the same bonds. The squared norm, over that of `state`, is the
        probability of the outcomes. The bound on the fidelity stays one: a projection enlarges the
        sine of `truncation_angle` by at most 1 / sqrt(probability).

    Raises:
        ValueError: If a site or level does not exist, a state is zero or not finite, or an outcome
            is impossible in some state.

    Cost: O(n_sites * max_bond**3) a state, for the probability.
    """
    sites = check_sites(list(outcomes), state.n_sites)
    tensors = {}
    for i in sites:
        tensor = state.sites[i]
        level = outcomes[i]
        if not isinstance(level, Tensor):
            level = torch.tensor(as_integers("outcomes", level), device=state.device)
        _check_levels("outcomes", level, i, tensor.shape[2])
        if level.ndim > 1 or (level.ndim and len(level) not in (1, state.batch_size)):
            raise ValueError(
                f"`outcomes` must have one level, or one for each of {state.batch_size} states, "
                f"got shape {tuple(level.shape)} for site {i}."
            )
        levels = torch.arange(tensor.shape[2], device=state.device)
        keep = (levels == level[..., None]).expand(state.batch_size, -1)
        tensors[i] = torch.where(keep[:, None, :, None], tensor, 0.0)
    projected = state.with_sites(tensors)
    with torch.no_grad():
        log_root = double_log_norm(projected) - double_log_norm(state, "state")  # of the chance
        if is_concrete(log_root) and not log_root.isfinite().all():
            row = int((~log_root.isfinite()).nonzero()[0])
            raise ValueError(
                f"`outcomes` must be possible, but in state {row} of the batch the probability of "
                f"the levels asked for on sites {list(outcomes)} is zero."
            )
        sine = state.truncation_angle.clamp(max=math.pi / 2).sin() * (-log_root).exp()
        angle = torch.where(sine < 1, sine.clamp(max=1.0).asin(), math.pi / 2)
        angle = torch.maximum(angle, state.truncation_angle.detach()).to(state.log_norm.dtype)
    return projected.with_sites({}, truncation_angle=angle)


def measure(
    state: MPS, sites: int | Sequence[int], *, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "{state.batch_size} measured"], MPS]:
    """Measure some sites of each state once, in the computational basis.

    Args:
        state: States of any norm but zero.
        sites: One site or several, distinct, in any order.
        generator: Source of randomness, on the device of the state; torch's default one if `None`.

    Returns:
        The outcomes `(batch, measured)`, in the order of `sites`, and the states after the
        measurement, of norm 1, on the same sites: `project` on what was found. A gradient passes
        through the states, at fixed outcomes, not through the choice of outcomes.

    Raises:
        ValueError: If a site does not exist or is named twice, or a state is zero or not finite.

    Cost: O(n_sites * max_bond**3) a state.
    """
    wanted = check_sites(sites, state.n_sites)
    with torch.no_grad():
        levels = _measured_levels(state, sorted(wanted), generator)
    after = project(state, levels)
    after = after.with_sites({}, log_norm=after.log_norm - log_norm(after))
    return torch.stack([levels[i] for i in wanted], dim=1), after


def _draw(state: MPS, rights: Sequence[Tensor], uniform: Tensor) -> Tensor:
    """Outcomes `(batch, shots, sites)` for uniform numbers of that shape."""
    vectors = state.sites[0].new_ones(*uniform.shape[:2], 1)  # b s l
    outcomes = []
    for i, (site, right) in enumerate(zip(state.sites, rights, strict=True)):
        opened = _open(vectors, site)  # b s p r
        weighted = (opened.flatten(1, 2) @ right).unflatten(1, opened.shape[1:3])  # b s p r*
        weights = (weighted * opened.conj()).real.sum(dim=3)
        level = _choose(weights, uniform[:, :, i])
        vectors, _ = to_unit(_take(opened, level), 2)
        outcomes.append(level)
    return torch.stack(outcomes, dim=2)


def _measured_levels(
    state: MPS, order: Sequence[int], generator: torch.Generator | None
) -> dict[int, Tensor]:
    """A level for each of the sorted sites and each state, from marginal probabilities."""
    rights = right_environments(state, order[0])
    left = left_environments(state, order[0])[-1]
    shape, real = (state.batch_size, len(order)), state.log_norm.dtype
    uniform = torch.rand(shape, dtype=real, device=state.device, generator=generator)
    levels: dict[int, Tensor] = {}
    for i in range(order[0], order[-1] + 1):
        site = state.sites[i]
        if i in order:
            right = rights[i - order[0]]
            weights = einsum("bml,blpu,buv,bmpv->bp", left, site, right, site.conj()).real
            levels[i] = _choose(weights, uniform[:, len(levels)])
            index = levels[i][:, None, None, None].expand(-1, site.shape[1], 1, site.shape[3])
            site = site.gather(2, index)
        left = rescale(step_right(left, site, site))
    return levels


def _open(vectors: Tensor, site: Tensor) -> Tensor:
    """Row vectors `(batch, shots, l)` times a site: `(batch, shots, p, r)`."""
    return (vectors @ site.flatten(2)).unflatten(2, site.shape[2:])


def _take(opened: Tensor, level: Tensor) -> Tensor:
    """The chosen level of each shot: `(batch, shots, r)`."""
    index = level[:, :, None, None].expand(-1, -1, 1, opened.shape[3])
    return opened.gather(2, index)[:, :, 0]


def _choose(weights: Tensor, uniform: Tensor) -> Tensor:
    """Levels drawn with the given weights along the last axis; one of weight zero never is."""
    ends = weights.clamp_min(0).cumsum(dim=-1)
    total = ends[..., -1]
    below = torch.nextafter(total, torch.zeros_like(total))
    threshold = torch.minimum(uniform * total, below)
    return (ends <= threshold[..., None]).sum(dim=-1).clamp(max=weights.shape[-1] - 1)


def _check_levels(name: str, level: Tensor, site: int, phys: int) -> None:
    if not is_concrete(level):
        return
    if level.is_floating_point() or ((level < 0) | (level >= phys)).any():
        raise ValueError(
            f"`{name}` must be integers within 0..{phys - 1} for site {site}, got "
            f"{level.flatten()[:8].tolist()}."
        )
