"""Similarity of compressed vectors: log-fidelity of angle vectors, and cosine."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_equal

_GROUP = 4
_CHUNK_ELEMENTS = 1 << 24


def log_fidelity(
    zq: Float[Tensor, "queries n"], zd: Float[Tensor, "documents _"], *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Log-fidelity of all pairs of product states given by their angles.

    A vector z of angles in [0, pi] stands for the product of the qubits
    cos(z/2)|0> + sin(z/2)|1>. The fidelity of two is prod_k cos^2((a_k - b_k)/2); it underflows
    float32 at a few hundred qubits, so its logarithm is computed.

    Args:
        zq: Angles of the queries, in radians within [0, pi].
        zd: Angles of the documents.
        chunk: Documents handled at once; by default as many as fit 64 MiB of intermediates.

    Returns:
        Natural logarithms, at most 0; finite also for orthogonal states, where the overlap of a
        group of four qubits is held at the smallest normal number of the dtype.

    Raises:
        ValueError: If widths or devices differ, or `chunk` is less than 1.

    Cost: 4n multiply-adds and n/4 logarithms a pair: four qubits make one real vector of 16
    non-negative amplitudes, so all pairs are n/4 batched matrix products without cancellation.
    Source: Kankeu et al. 2025 (arXiv:2501.04591), the fidelity of product states.
    """
    check_equal("number of angles", zq=zq.shape[1], zd=zd.shape[1])
    check_equal("device", zq=zq.device, zd=zd.device)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 or None, got {chunk}.")
    queries = _group_amplitudes(zq)
    groups = queries.shape[0]
    chunk = chunk or max(1, _CHUNK_ELEMENTS // max(1, groups * len(zq)))
    columns = [_log_overlap(queries, _group_amplitudes(part)) for part in zd.split(chunk)]
    return 2 * (columns[0] if len(columns) == 1 else torch.cat(columns, dim=1))


def fidelity(
    zq: Float[Tensor, "queries n"], zd: Float[Tensor, "documents _"], *, chunk: int | None = None
) -> Float[Tensor, "queries documents"]:
    """Fidelity of all pairs of product states given by their angles: `log_fidelity(...).exp()`.

    It underflows to 0 for unlike vectors of a few hundred angles; ranking wants `log_fidelity`.
    """
    return log_fidelity(zq, zd, chunk=chunk).exp()


def cosine(
    zq: Float[Tensor, "queries n"], zd: Float[Tensor, "documents _"]
) -> Float[Tensor, "queries documents"]:
    """Cosine of all pairs of vectors, in [-1, 1]; 0 where a vector is zero.

    Raises:
        ValueError: If widths differ.
    """
    check_equal("number of features", zq=zq.shape[1], zd=zd.shape[1])
    return torch.nn.functional.normalize(zq) @ torch.nn.functional.normalize(zd).T


def _group_amplitudes(z: Float[Tensor, "batch n"]) -> Float[Tensor, "groups batch amplitudes"]:
    """Amplitudes of each group of four qubits: real vectors of 16 numbers, non-negative."""
    z = torch.nn.functional.pad(z, (0, -z.shape[1] % _GROUP))  # a qubit |0> in both: factor 1
    half = (z / 2).T.reshape(-1, _GROUP, len(z))
    qubits = torch.stack([half.cos(), half.sin()], dim=-1)  # group member batch 2
    pair = (qubits[:, 0::2, :, :, None] * qubits[:, 1::2, :, None, :]).flatten(-2)
    return (pair[:, 0, :, :, None] * pair[:, 1, :, None, :]).flatten(-2)


def _log_overlap(
    queries: Float[Tensor, "groups queries amplitudes"],
    documents: Float[Tensor, "groups documents amplitudes"],
) -> Float[Tensor, "queries documents"]:
    overlap = queries @ documents.mT
    return overlap.clamp_min(torch.finfo(overlap.dtype).tiny).log().sum(0)
