"""Overlaps and fidelities of batches of MPS, by transfer matrices, in the log domain."""

from functools import lru_cache
from typing import Any

import opt_einsum
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads.mps.state import MPS

_CHUNK_ELEMENTS = 1 << 24


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """`torch.einsum` along the cheapest path, which is found once for each set of shapes.

    Args:
        subscripts: As for `torch.einsum`.
        operands: The tensors, all of one dtype and device.
    """
    return _expression(subscripts, tuple(tuple(x.shape) for x in operands))(*operands)


@lru_cache(maxsize=4096)
def _expression(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    return opt_einsum.contract_expression(subscripts, *shapes, optimize="auto")


def overlap(bra: MPS, ket: MPS) -> Inexact[Tensor, " batch"]:
    """Inner product `<bra|ket>` of each pair of states in two batches.

    Args:
        bra: Left states; conjugated here, not by the caller.
        ket: Right states, as many and on as many sites as `bra`.

    Returns:
        One number per pair, in the states' dtype. Norms are not divided out.

    Raises:
        ValueError: If the sites, batch sizes or dtypes differ.

    Source: Schollwöck 2011 (arXiv:1008.3477), sec. 4.2.1. Cost: O(n_sites * max_bond**3) a pair.
    """
    phase, log = _log_overlap(bra, ket)
    return phase * log.exp()


def log_norm(state: MPS) -> Float[Tensor, " batch"]:
    """Natural logarithm of the norm `sqrt(<state|state>)` of each state.

    Cost: O(n_sites * max_bond**3) a state.
    """
    phase, log = _log_overlap(state, state)
    return (phase.abs().log() + log) / 2


def log_fidelity(bra: MPS, ket: MPS) -> Float[Tensor, " batch"]:
    """Log-fidelity `log(|<bra|ket>|**2 / (<bra|bra> <ket|ket>))` of each pair of states.

    It stays finite where the fidelity itself underflows; orthogonal states give the logarithm of
    the smallest normal number.

    Args:
        bra: Left states.
        ket: Right states, as many and on as many sites as `bra`.

    Raises:
        ValueError: If the sites, batch sizes or dtypes differ.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    phase, log = _log_overlap(bra, ket)
    return 2 * (_safe_log(phase) + log - log_norm(bra) - log_norm(ket))


def overlap_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Inexact[Tensor, "queries documents"]:
    """Inner products `<query|document>` of all pairs of states.

    Args:
        queries: Bras; conjugated here.
        documents: Kets, on as many sites.
        chunk: Documents handled at once; by default as many as keep intermediates near 64 MiB.

    Raises:
        ValueError: If the sites or dtypes differ, or `chunk` is less than 1.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    parts = [phase * log.exp() for phase, log in _all_pairs(queries, documents, chunk)]
    return torch.cat(parts, dim=1)


def log_fidelity_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Log-fidelity of all pairs of states; `fidelity_matrix` is its exponential.

    Args:
        queries: States of the rows.
        documents: States of the columns, on as many sites.
        chunk: Documents handled at once; by default as many as keep intermediates near 64 MiB.

    Raises:
        ValueError: If the sites or dtypes differ, or `chunk` is less than 1.

    Cost: O(n_sites * max_bond**3) a pair.
    """
    parts = [_safe_log(phase) + log for phase, log in _all_pairs(queries, documents, chunk)]
    norms = log_norm(queries)[:, None] + log_norm(documents)
    return 2 * (torch.cat(parts, dim=1) - norms)


def fidelity_matrix(
    queries: MPS, documents: MPS, *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Fidelity `|<a|b>|**2 / (<a|a> <b|b>)` of all pairs of states, in [0, 1].

    It underflows to 0 for unlike states of hundreds of sites; see `log_fidelity_matrix`.
    """
    return log_fidelity_matrix(queries, documents, chunk=chunk).exp()


def _log_overlap(bra: MPS, ket: MPS) -> tuple[Tensor, Tensor]:
    """A number of size near 1 and a logarithm for each pair: `<bra|ket> = phase * exp(log)`."""
    _check_alike(bra, ket)
    check_equal("batch size", bra=bra.batch_size, ket=ket.batch_size)
    env = ket.sites[0].new_ones(ket.batch_size, 1, 1)  # b l* l
    log = bra.log_norm + ket.log_norm
    for a, c in zip(bra.sites, ket.sites, strict=True):
        env = einsum("bxy,bxpu,bypv->buv", env, a.conj(), c)  # b [l*] [l] [p] r* r
        env, log = _rescale(env, log)
    return env[..., 0, 0], log


def _all_pairs(queries: MPS, documents: MPS, chunk: int | None) -> list[tuple[Tensor, Tensor]]:
    """`_log_overlap` of all pairs, a chunk of documents at a time."""
    _check_alike(queries, documents)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 or None, got {chunk}.")
    phys = max(documents.phys_dims)
    per_document = queries.batch_size * queries.max_bond * documents.max_bond * phys
    chunk = chunk or max(1, _CHUNK_ELEMENTS // max(1, per_document))
    bras = [site.conj() for site in queries.sites]
    parts = []
    for start in range(0, documents.batch_size, chunk):
        part = documents[start : start + chunk]
        env = part.sites[0].new_ones(queries.batch_size, part.batch_size, 1, 1)  # q d l* l
        log = queries.log_norm[:, None] + part.log_norm
        for a, c in zip(bras, part.sites, strict=True):
            env = einsum("qdxy,qxpu,dypv->qduv", env, a, c)  # q d [l*] [l] [p] r* r
            env, log = _rescale(env, log)
        parts.append((env[..., 0, 0], log))
    return parts


def _rescale(env: Tensor, log: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the largest element and add its logarithm; the scale carries no gradient."""
    size = env.detach().abs().amax(dim=(-2, -1))
    size = torch.where(size > 0, size, torch.ones_like(size))
    return env / size[..., None, None], log + size.log()


def _safe_log(phase: Tensor) -> Tensor:
    """`log|phase|` with a finite gradient at zero."""
    tiny = torch.finfo(phase.dtype).tiny
    size = (phase * phase.conj()).real
    return size.clamp_min(tiny).log() / 2


def _check_alike(bra: MPS, ket: MPS) -> None:
    check_equal("physical dimensions", bra=bra.phys_dims, ket=ket.phys_dims)
    check_equal("dtype", bra=bra.dtype, ket=ket.dtype)
    check_equal("device", bra=bra.device, ket=ket.device)
