"""(Log-)fidelity of vectors or codes: of all pairs, or of each row with the same row."""

from jaxtyping import Float
from torch import Tensor

from mpsheads.similarity.angles import angle_pairs, angle_rows
from mpsheads.similarity.arguments import check_sides


def log_fidelity(
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity of product states given by their angles.

    A vector z of angles in [0, pi] stands for the product of the qubits
    cos(z/2)|0> + sin(z/2)|1>. The fidelity of two is prod_k cos^2((a_k - b_k)/2); it underflows
    float32 at a few hundred qubits, so its logarithm is computed.

    Args:
        zq: Angles of the queries, in radians within [0, pi].
        zd: Angles of the documents.
        pairwise: Compare row i with row i, instead of all pairs.
        chunk: Documents handled at once; by default as many as fit a processor's cache.

    Returns:
        Natural logarithms, at most 0 up to rounding, `(queries, documents)`, or `(queries,)` if
        pairwise; finite also for orthogonal states, where the overlap of a group of three qubits
        is held at the smallest normal number of the dtype. The dtype is the wider one of the two,
        and float32 at least; autocast does not change it.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths, devices or, pairwise, numbers of rows differ, or `chunk` is less
            than 1.

    Cost: 8n/3 multiply-adds, n/3 products and n/48 logarithms a pair: three qubits make one real
    vector of 8 non-negative amplitudes, so all pairs are n/3 batched matrix products without
    cancellation, and 48 qubits are multiplied before a logarithm is taken, unless a product
    underflows. Gradients keep the vectors alone and compute the overlaps again, chunk by chunk;
    second derivatives are refused.
    Source: Kankeu et al. 2025 (arXiv:2501.04591), the fidelity of product states.
    """
    zq, zd = check_sides("angles", zq, zd, pairwise=pairwise, chunk=chunk)
    return angle_rows(zq, zd) if pairwise else angle_pairs(zq, zd, chunk)


def fidelity(
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> Float[Tensor, "queries *columns"]:
    """Fidelity of product states given by their angles: `log_fidelity(...).exp()`.

    It underflows to 0 for unlike vectors of a few hundred angles; ranking wants `log_fidelity`.
    """
    return log_fidelity(zq, zd, pairwise=pairwise, chunk=chunk).exp()
