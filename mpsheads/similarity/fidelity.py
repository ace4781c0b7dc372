"""(Log-)fidelity of vectors or codes: of all pairs, or of each row with the same row."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads.similarity.angles import AngleFeatures, angle_features, angle_product, angle_rows
from mpsheads.similarity.arguments import as_numbers, check_sides
from mpsheads.similarity.bits import bit_pairs
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.products import Side, log_products
from mpsheads.similarity.states import state_log_fidelity

_STATES = 4096  # of codes that are decoded at once


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
    queries, documents = check_sides("numbers", zq, zd, pairwise=pairwise, chunk=chunk)
    codes = next((z for z in (queries, documents) if isinstance(z, Codes)), None)
    dtype = next((z.dtype for z in (queries, documents) if isinstance(z, Tensor)), torch.float32)
    queries = as_numbers(queries, dtype)
    if codes is not None and codes.kind == "state":
        return _coded_states(queries, documents, codes.bond_dims, pairwise, chunk)
    if pairwise:
        return angle_rows(queries, as_numbers(documents, dtype))
    if isinstance(documents, Tensor):
        columns = Side(documents, AngleFeatures(dtype))
    else:
        gradient = torch.is_grad_enabled() and queries.requires_grad
        if documents.bits <= 2 and is_concrete(queries) and not gradient:
            return bit_pairs(queries, documents, chunk)
        columns = Side(documents.packed, AngleFeatures(dtype, documents))
    return log_products(angle_product(dtype), Side(queries, angle_features), columns, chunk)


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


def _coded_states(
    queries: Tensor,
    documents: Tensor | Codes,
    bond_dims: tuple[int, ...],
    pairwise: bool,
    chunk: int | None,
) -> Tensor:
    """Log-fidelity of states where a side was codes, so many documents decoded at a time."""
    size = len(documents) if pairwise or isinstance(documents, Tensor) else _STATES
    columns = [
        state_log_fidelity(
            queries,
            as_numbers(documents[start : start + size], queries.dtype),
            bond_dims,
            pairwise=pairwise,
            chunk=chunk,
        )
        for start in range(0, max(1, len(documents)), max(1, size))
    ]
    return columns[0] if pairwise else torch.cat(columns, dim=1)
