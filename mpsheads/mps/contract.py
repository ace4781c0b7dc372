"""Overlaps, fidelities and distances of batches of MPS, by transfer matrices, in the log domain."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads.mps.arguments import check_pairs, check_weights
from mpsheads.mps.linalg import to_unit, unit_sites
from mpsheads.mps.pairs import SAFE, log_overlap_matrix
from mpsheads.mps.paths import einsum
from mpsheads.mps.state import MPS

_RESCALE_EVERY = 4


def overlap(bra: MPS, ket: MPS) -> Inexact[Tensor, " batch"]:
    """Inner product `<bra|ket>` of each pair of states in two batches.

    Args:
        bra: Left states; conjugated here, not by the caller.
        ket: Right states, as many and on as many sites as `bra`.

    Returns:
        One number per pair, in the states' dtype. Norms are not divided out.

    Raises:
        ValueError: If the sites, batch sizes, dtypes or devices differ.

    Source: Schollwöck 2011 (arXiv:1008.3477), sec. 4.2.1. Cost: O(n_sites * max_bond**3) a pair.
    """
    return _number(*_log_overlap(bra, ket))


def log_norm(state: MPS) -> Float[Tensor, " batch"]:
    """Natural logarithm of the norm `sqrt(<state|state>)` of each state; -inf where it is 0.

    Cost: O(n_sites * max_bond**3) a state.
    """
    return double_log_norm(state).to(state.log_norm.dtype)


def log_fidelity(bra: MPS, ket: MPS) -> Float[Tensor, " batch"]:
    """Log-fidelity `log(|<bra|ket>|**2 / (<bra|bra> <ket|ket>))` of each pair of states.

    It stays finite where the fidelity itself underflows; orthogonal states give a number near the
    logarithm of the smallest normal number, with gradient 0.

    Args:
        bra: Left states.
        ket: Right states, as many and on as many sites as `bra`.

    Raises:
        ValueError: If the sites, batch sizes, dtypes or devices differ, or a state has norm 0 or
            an entry that is not finite.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    phase, log = _log_overlap(bra, ket)
    norms = double_log_norm(bra, "bra") + double_log_norm(ket, "ket")
    return (2 * (_safe_log(phase) + log - norms)).to(bra.log_norm.dtype)


def inner_distance(a: MPS, b: MPS) -> Float[Tensor, " batch"]:
    """Norm of the difference `|| |a> - |b> ||` of each pair of states.

    Args:
        a: States.
        b: As many states, on as many sites.

    Returns:
        One number a pair. Below about sqrt(eps) times the norms, the difference drowns in rounding
        and comes out as anything from 0 to that; its gradient is 0 where it comes out as 0.

    Raises:
        ValueError: If the sites, batch sizes, dtypes or devices differ.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    phase, log = _log_overlap(a, b, ("a", "b"))
    phase_a, log_a = _log_overlap(a, a)
    phase_b, log_b = _log_overlap(b, b)
    largest = torch.stack([log, log_a, log_b]).detach().amax(0)
    square = (
        phase_a.real * (log_a - largest).exp()
        + phase_b.real * (log_b - largest).exp()
        - 2 * phase.real * (log - largest).exp()
    )
    positive = square > 0
    root = torch.where(positive, square, torch.ones_like(square)).sqrt()
    distance = torch.where(positive, root * (largest / 2).exp(), torch.zeros_like(root))
    return distance.to(a.log_norm.dtype)


def overlap_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Inexact[Tensor, "queries documents"]:
    """Inner products `<query|document>` of all pairs of states.

    Args:
        queries: Bras; conjugated here.
        documents: Kets, on as many sites.
        chunk: Documents handled at once; by default as many as stay in a processor's cache. Queries
            go 32 at a time. With gradients each chunk is computed twice, and one at a time is held:
            about 4 * n_sites * phys * bond**2 numbers a pair, 1 GiB at most by default.

    Raises:
        ValueError: If the sites, dtypes or devices differ, or `chunk` is less than 1.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    return _number(*log_overlap_matrix(queries, documents, chunk))


def log_fidelity_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Log-fidelity of all pairs of states; `fidelity_matrix` is its exponential.

    Args:
        queries: States of the rows.
        documents: States of the columns, on as many sites.
        chunk: As for `overlap_matrix`.

    Raises:
        ValueError: If the sites, dtypes or devices differ, a state has norm 0 or an entry that is
            not finite, or `chunk` is less than 1.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    phase, log = log_overlap_matrix(queries, documents, chunk)
    rows = double_log_norm(queries, "queries")
    columns = double_log_norm(documents, "documents")
    return (2 * (_safe_log(phase) + log - rows[:, None] - columns)).to(queries.log_norm.dtype)


def fidelity_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Fidelity `|<a|b>|**2 / (<a|a> <b|b>)` of all pairs of states, in [0, 1] up to rounding.

    It underflows to 0 for unlike states of hundreds of sites; see `log_fidelity_matrix`, which
    also has the arguments and errors.
    """
    return log_fidelity_matrix(queries, documents, chunk=chunk).exp()


def _log_overlap(
    bra: MPS, ket: MPS, names: tuple[str, str] = ("bra", "ket")
) -> tuple[Tensor, Tensor]:
    """A number of size 1, or 0, and a logarithm for each pair: `<bra|ket> = phase * exp(log)`.

    Logarithms are in double precision: those of long chains are large, and their differences small.
    """
    check_pairs(**{names[0]: bra, names[1]: ket})
    log = bra.log_norm.double() + ket.log_norm.double()
    if all(is_concrete(site) for site in (*bra.sites, *ket.sites)):
        phase, sizes = _transfer(bra.sites, ket.sites, _RESCALE_EVERY)
        limit = SAFE[sizes.dtype]
        if ((sizes < limit) & (sizes > 1 / limit) & (phase.abs() > 0)).all():
            return phase, sizes.double().log().sum(0) + log
    (bras, first), (kets, second) = unit_sites(bra.sites), unit_sites(ket.sites)
    phase, sizes = _transfer(bras, kets, 1)
    return phase, sizes.double().log().sum(0) + log + first + second


def _transfer(bra: Sequence[Tensor], ket: Sequence[Tensor], every: int) -> tuple[Tensor, Tensor]:
    """Overlaps brought to size 1, and the sizes of so many sites together."""
    env = ket[0].new_ones(len(ket[0]), 1, 1)  # b l* l
    sizes = []
    for i, (a, c) in enumerate(zip(bra, ket, strict=True), 1):
        env = einsum("bxy,bxpu,bypv->buv", env, a.conj(), c)  # b [l*] [l] [p] r* r
        if i % every == 0 or i == len(bra):
            env, size = to_unit(env, 1, 2)
            sizes.append(size.flatten())
    return env[:, 0, 0], torch.stack(sizes)


def double_log_norm(state: MPS, name: str | None = None) -> Float[Tensor, " batch"]:
    """`log_norm` in double precision; of a named state one that is not finite raises."""
    phase, log = _log_overlap(state, state)
    if name is not None:
        check_weights(torch.where(log.isfinite(), phase.abs(), torch.nan), name)
    return (phase.abs().log() + log) / 2


def _number(phase: Tensor, log: Tensor) -> Tensor:
    """`phase * exp(log)`, 0 where the phase is 0 even if the exponential overflows."""
    dtype = phase.real.dtype
    largest = torch.finfo(dtype).max
    return phase * torch.where(phase == 0, log.exp().clamp_max(largest), log.exp()).to(dtype)


def _safe_log(phase: Tensor) -> Tensor:
    """`log|phase|` with a finite gradient at zero."""
    tiny = torch.finfo(phase.dtype).tiny
    size = (phase * phase.conj()).real
    return size.clamp_min(tiny).log() / 2
