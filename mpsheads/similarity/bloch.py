"""Log-fidelity of Bloch vectors: products of one-qubit states, mixed or pure."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads.similarity.arguments import check_sides
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.products import Product, Side, log_products


def bloch_log_fidelity(
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    *,
    pairwise: bool = False,
    chunk: int | None = None,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity of products of one-qubit states given by their Bloch vectors.

    The Uhlmann fidelity of two qubits with Bloch vectors r and s is
    (1 + r.s + sqrt(1 - r^2) sqrt(1 - s^2)) / 2, the squared overlap if both are pure.

    Args:
        zq: Bloch vectors of the queries, `(queries, 3n)`: columns 3k, 3k + 1 and 3k + 2 are
            x, y and z of qubit k. Their length is at most 1; longer ones are shortened to 1.
        zd: Bloch vectors of the documents.
        pairwise: Compare row i with row i, instead of all pairs.
        chunk: Documents handled at once; by default as many as fit a processor's cache.

    Returns:
        Natural logarithms, at most 0 up to rounding, `(queries, documents)`, or `(queries,)` if
        pairwise. The fidelity of one qubit is held from below at the rounding error of its sum,
        the `eps` of the dtype, without gradient there. Gradients are finite also at pure states,
        where sqrt(1 - r^2) has none and is left out. The dtype is the wider one of the two, and
        float32 at least.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths are no multiples of 3, widths, devices or, pairwise, numbers of rows
            differ, or `chunk` is less than 1.

    Cost: 5 multiply-adds and a product a qubit and pair: (r, sqrt(1 - r^2)) is a unit vector of
    four numbers, so a factor is an inner product. Gradients as for `log_fidelity`.
    Source: Jozsa 1994, Journal of Modern Optics 41, 2315; Hübner 1992, Physics Letters A 163, 239.
    """
    zq, zd = check_sides("Bloch components", zq, zd, pairwise=pairwise, chunk=chunk)
    _check_thirds(zq.shape[1])
    if pairwise:
        return _rows(zq, zd)
    sides = Side(zq, _features), Side(zd, _features)
    return log_products(qubit_product(zq.dtype), *sides, chunk)


def coded_bloch(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool,
    chunk: int | None,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity where one side or both are codes of Bloch vectors."""
    dtype = next((z.dtype for z in (zq, zd) if isinstance(z, Tensor)), torch.float32)
    queries = zq if isinstance(zq, Tensor) else zq.dequantize(dtype)
    if pairwise or isinstance(zd, Tensor):
        documents = zd if isinstance(zd, Tensor) else zd.dequantize(dtype)
        return bloch_log_fidelity(queries, documents, pairwise=pairwise, chunk=chunk)

    def features(packed: UInt8[Tensor, "rows bytes"]) -> Tensor:
        return _features(Codes(packed, zd.bits, zd.width, "bloch").dequantize(dtype))

    sides = Side(queries, _features), Side(zd.packed, features)
    return log_products(qubit_product(dtype), *sides, chunk)


def qubit_product(dtype: torch.dtype) -> Product:
    """Fidelities of single qubits, held at the rounding error of their sum."""
    return Product(power=1, floor=torch.finfo(dtype).eps, run=4, held_run=4)


def _check_thirds(width: int) -> None:
    if width % 3:
        raise ValueError(f"`zq` must have three columns a qubit, got {width}.")


def _rows(zq: Float[Tensor, "rows n"], zd: Float[Tensor, "rows n"]) -> Float[Tensor, " rows"]:
    (r, w), (s, v) = (_unit_vectors(z, -1) for z in (zq, zd))
    fidelity = (1 + (r * s).sum(-1) + (w * v).squeeze(-1)) / 2
    return fidelity.clamp_min(torch.finfo(fidelity.dtype).eps).log().sum(-1)


def _features(z: Float[Tensor, "rows n"]) -> Float[Tensor, "qubits 5 rows"]:
    r, w = _unit_vectors(z.T, 1)
    return torch.cat([torch.ones_like(w), r, w], dim=1) * 0.5**0.5


def _unit_vectors(z: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Bloch vectors, their components along `axis`, and what completes each to length 1."""
    r = z.unflatten(0 if axis == 1 else -1, (-1, 3))
    square = (r * r).sum(axis, keepdim=True)
    r = r * square.clamp_min(1).rsqrt()
    return r, (1 - square).clamp_min(torch.finfo(z.dtype).tiny).sqrt()
