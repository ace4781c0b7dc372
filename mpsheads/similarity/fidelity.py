"""(Log-)fidelity of vectors or codes: of all pairs, or of each row with the same row."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads.similarity.angles import angle_pairs, angle_rows
from mpsheads.similarity.arguments import check_rows, check_sides
from mpsheads.similarity.codes import Codes, check_codes
from mpsheads.similarity.states import coded_states
from mpsheads.similarity.tables import coded_angles


def log_fidelity(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity of product states given by their angles, or of what codes stand for.

    A vector z of angles in [0, pi] stands for the product of the qubits
    cos(z/2)|0> + sin(z/2)|1>. The fidelity of two is prod_k cos^2((a_k - b_k)/2); it underflows
    float32 at a few hundred qubits, so its logarithm is computed.

    Args:
        zq: Angles of the queries, in radians within [0, pi], or codes.
        zd: Angles of the documents, or codes. Codes of states are compared as `state_log_fidelity`
            does, with codes or with such vectors.
        pairwise: Compare row i with row i, instead of all pairs.
        chunk: Documents handled at once; by default as many as fit a processor's cache.

    Returns:
        Natural logarithms, at most 0 up to rounding, `(queries, documents)`, or `(queries,)` if
        pairwise; finite also for orthogonal states, where the overlap of a group of three qubits
        is held at the smallest normal number of the dtype. The dtype is the wider one of the two,
        and float32 at least; autocast does not change it.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths, devices, the bits and kinds of codes or, pairwise, numbers of rows
            differ, or `chunk` is less than 1.

    Cost: 8n/3 multiply-adds, n/3 products and n/72 logarithms a pair: three qubits make one real
    vector of 8 non-negative amplitudes, so all pairs are n/3 batched matrix products without
    cancellation, and 72 qubits are multiplied before a logarithm is taken, unless a product
    underflows. Gradients keep the vectors alone and compute the overlaps again, chunk by chunk;
    second derivatives hold all overlaps. Codes of 2 bits take one matrix product of width 3n, codes
    of 1 bit one of width n.
    Source: Kankeu et al. 2025 (arXiv:2501.04591), the fidelity of product states.
    """
    if isinstance(zq, Codes) or isinstance(zd, Codes):
        return _coded(zq, zd, pairwise, chunk)
    zq, zd = check_sides("angles", zq, zd, pairwise=pairwise, chunk=chunk)
    return angle_rows(zq, zd) if pairwise else angle_pairs(zq, zd, chunk)


def fidelity(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> Float[Tensor, "queries *columns"]:
    """Fidelity of product states given by their angles: `log_fidelity(...).exp()`.

    It underflows to 0 for unlike vectors of a few hundred angles; ranking wants `log_fidelity`.
    """
    return log_fidelity(zq, zd, pairwise=pairwise, chunk=chunk).exp()


def _coded(zq: Tensor | Codes, zd: Tensor | Codes, pairwise: bool, chunk: int | None) -> Tensor:
    """Compare by the kind of the codes."""
    sides = _wide("zq", zq), _wide("zd", zd)
    check_codes(zq, zd)
    check_rows(zq.shape[0], zd.shape[0], pairwise=pairwise, chunk=chunk)
    codes = zq if isinstance(zq, Codes) else zd
    assert isinstance(codes, Codes)
    if codes.kind == "state":
        return coded_states(*sides, codes.bond_dims, pairwise=pairwise, chunk=chunk)
    return coded_angles(*sides, pairwise=pairwise, chunk=chunk)


def _wide(name: str, z: Tensor | Codes) -> Tensor | Codes:
    """Vectors in float32 at least; codes as they are."""
    if isinstance(z, Codes):
        return z
    if not z.is_floating_point():
        raise TypeError(f"`{name}` must be a floating-point tensor, got {z.dtype}.")
    if z.ndim != 2:
        raise ValueError(f"`{name}` must have two axes, rows and numbers, got {z.ndim}.")
    return z.to(torch.promote_types(z.dtype, torch.float32))
