"""(Log-)fidelity of vectors or codes: of all pairs, or of each row with the same row.

With codes of 2 or 1 bits, the factor of a query's angle and a document's level is a table of 4 or 2
numbers, hence a polynomial in the document's bits, and the sum of all factors is one matrix product
with these bits.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads._arrays import takes_arrays
from mpsheads._checks import is_concrete
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.products import Product, Side, log_products
from mpsheads.similarity.sides import as_numbers, check_sides
from mpsheads.similarity.states import state_log_fidelity

_GROUP = 3  # qubits
_CODES = 1024  # whose bits are written out at once
_STATES = 4096  # of codes that are decoded at once


@takes_arrays
def log_fidelity(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool = False,
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

    Returns:
        Natural logarithms, at most 0 up to rounding, `(queries, documents)`, or `(queries,)` if
        pairwise; finite also for orthogonal states, where the overlap of a group of three qubits
        is held at the smallest normal number of the dtype. The dtype is the wider one of the two,
        and float32 at least; autocast does not change it.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths, devices, the bits and kinds of codes or, pairwise, numbers of rows
            differ.

    Cost: 8n/3 multiply-adds, n/3 products and n/72 logarithms a pair: three qubits make one real
    vector of 8 non-negative amplitudes, so all pairs are n/3 batched matrix products without
    cancellation, and 72 qubits are multiplied before a logarithm is taken, unless a product
    underflows. Gradients, of first order, keep the vectors alone and compute the overlaps again,
    tile by tile. Codes of 2 bits take one matrix product of width 3n, codes of 1 bit one of width
    n.
    Source: Kankeu et al. 2025 (arXiv:2501.04591), the fidelity of product states.
    """
    queries, documents = check_sides(zq, zd, pairwise=pairwise)
    codes = next((z for z in (queries, documents) if isinstance(z, Codes)), None)
    dtype = next((z.dtype for z in (queries, documents) if isinstance(z, Tensor)), torch.float32)
    queries = as_numbers(queries, dtype)
    if codes is not None and codes.kind == "state":
        return _coded_states(queries, documents, codes.bond_dims, pairwise)
    tiny = torch.finfo(dtype).tiny
    if pairwise:
        size = ((queries - as_numbers(documents, dtype)) / 2).cos().abs()
        return 2 * size.clamp_min(tiny).log().sum(-1)
    if isinstance(documents, Tensor):
        columns = Side(documents, _Features(dtype))
    else:
        gradient = torch.is_grad_enabled() and queries.requires_grad
        if documents.bits <= 2 and is_concrete(queries) and not gradient:
            return _bit_pairs(queries, documents)
        columns = Side(documents.packed, _Features(dtype, documents))
    return log_products(Product(2, tiny, held_run=1), Side(queries, angle_features), columns)


@takes_arrays
def fidelity(
    zq: Float[Tensor, "queries _"] | Codes,
    zd: Float[Tensor, "documents _"] | Codes,
    *,
    pairwise: bool = False,
) -> Float[Tensor, "queries *columns"]:
    """Fidelity of product states given by their angles: `log_fidelity(...).exp()`.

    It underflows to 0 for unlike vectors of a few hundred angles; ranking wants `log_fidelity`.
    """
    return log_fidelity(zq, zd, pairwise=pairwise).exp()


@takes_arrays
def approximate_log_fidelity(
    zq: Float[Tensor, "queries _"], zd: Float[Tensor, "documents _"]
) -> Float[Tensor, "queries documents"]:
    """Minus a quarter of the squared L2 distance: the log-fidelity of like angles, all pairs.

    Each factor is log cos^2(D/2) = -D^2/4 - D^4/96 - D^6/1440 - ... of the difference D of two
    angles. All terms that are left out are negative, so this is an upper bound. It lies above by
    6.7e-4 an angle at D = 0.5, and 1.2e-2 at D = 1. It is what an index of L2 distances ranks by.

    Args:
        zq: Angles of the queries, in radians within [0, pi].
        zd: Angles of the documents.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths or devices differ.

    Cost: one matrix product.
    """
    zq, zd = check_sides(zq, zd)
    with torch.autocast(zq.device.type, enabled=False):
        queries, documents = zq - math.pi / 2, zd - math.pi / 2  # centred: the least rounding
        norms = (queries**2).sum(1)[:, None] + (documents**2).sum(1)
        return torch.addmm(norms / -4, queries / 2, documents.T)


def angle_features(z: Float[Tensor, "rows n"]) -> Float[Tensor, "groups 8 rows"]:
    """Amplitudes of each group of three qubits: unit vectors of 8 numbers, non-negative."""
    missing = -z.shape[1] % _GROUP
    half = torch.nn.functional.pad(z.T, (0, 0, 0, missing)) / 2  # |0> gives a factor of 1
    qubits = torch.stack([half.cos(), half.sin()]).unflatten(1, (-1, _GROUP))  # 2 group member rows
    first, second, third = qubits.permute(2, 1, 0, 3)  # each group 2 rows
    pair = (first[:, :, None] * second[:, None]).flatten(1, 2)
    return (pair[:, :, None] * third[:, None]).flatten(1, 2)


class _Features:
    """`angle_features` of chunk after chunk in the same memory, where no gradient flows.

    Where the chunks are bytes of codes, amplitudes come from tables of their levels, which costs
    less than a sine and a cosine.
    """

    def __init__(self, dtype: torch.dtype, codes: Codes | None = None) -> None:
        self.dtype, self.codes = dtype, codes
        self.memory: dict[int, list[Tensor]] = {}
        if codes is not None:
            half = codes.levels(dtype) / 2
            self.tables = half.cos(), half.sin()

    def __call__(self, z: Tensor) -> Float[Tensor, "groups 8 rows"]:
        """Features of one chunk; good until the next call."""
        part = None if self.codes is None else replace(self.codes, packed=z)
        if torch.is_grad_enabled() or not is_concrete(z):
            return angle_features(z if part is None else part.dequantize(self.dtype))
        n, rows = part.width if part else z.shape[1], len(z)
        if rows not in self.memory:
            groups = -(-n // _GROUP)
            sizes = (2, groups, _GROUP), (groups, 2, 2), (groups, 4, 2)
            self.memory[rows] = [z.new_zeros(*size, rows, dtype=self.dtype) for size in sizes]
            self.memory[rows][0][0] = 1  # what fills the last group up is |0>
        qubits, pairs, features = self.memory[rows]
        cos, sin = qubits.flatten(1, 2)[:, :n]
        if part is None:
            torch.cos(sin.copy_(z.T).mul_(0.5), out=cos)
            sin.sin_()
        else:
            cells = part.numbers().T.contiguous().view(-1).int()
            for table, out in zip(self.tables, (cos, sin), strict=True):
                torch.index_select(table, 0, cells, out=out.view(-1))
        first, second, third = qubits.permute(2, 1, 0, 3)  # each group 2 rows
        torch.mul(first[:, :, None], second[:, None], out=pairs)
        torch.mul(pairs.flatten(1, 2)[:, :, None], third[:, None], out=features)
        return features.flatten(1, 2)


def _bit_pairs(zq: Float[Tensor, "queries n"], codes: Codes) -> Float[Tensor, "queries documents"]:
    """All pairs with codes of 1 or 2 bits, as one matrix product with their bits."""
    size = ((zq[..., None] - codes.levels(zq.dtype)) / 2).cos().abs()
    table = 2 * size.clamp_min(torch.finfo(zq.dtype).tiny).log()  # queries n levels
    factors = table[..., 1:] - table[..., :1]
    if codes.bits == 2:
        factors[..., 2] -= factors[..., 0] + factors[..., 1]  # where both bits are set
    bits_each = int(codes.bits)
    missing = codes.bytes_per_vector * (8 // bits_each) - codes.width
    factors = torch.nn.functional.pad(factors.mT, (0, missing)).flatten(1)
    constant = table[..., 0].sum(1)[:, None]
    out = zq.new_empty(len(zq), len(codes))
    memory = zq.new_empty(min(_CODES, len(codes)), factors.shape[1])
    for start in range(0, len(codes), _CODES):
        packed = codes.packed[start : start + _CODES]
        bits = _write_bits(packed, bits_each, memory[: len(packed)])
        out[:, start : start + _CODES] = torch.addmm(constant, factors, bits.T)
    return out


def _write_bits(
    packed: UInt8[Tensor, "rows bytes"], bits: int, out: Float[Tensor, "rows columns"]
) -> Float[Tensor, "rows columns"]:
    """Each bit, and of two bits their product, as numbers, in the order of the factors."""
    columns = out.view(len(out), 2**bits - 1, 8 // bits, -1)
    for i in range(8 // bits):
        low = (packed >> (i * bits)) & 1
        columns[:, 0, i] = low
        if bits == 2:
            high = (packed >> (2 * i + 1)) & 1
            columns[:, 1, i] = high
            columns[:, 2, i] = low & high
    return out


def _coded_states(
    queries: Tensor, documents: Tensor | Codes, bond_dims: tuple[int, ...], pairwise: bool
) -> Tensor:
    """Log-fidelity of states where a side was codes, so many documents decoded at a time."""
    size = len(documents) if pairwise or isinstance(documents, Tensor) else _STATES
    columns = [
        state_log_fidelity(
            queries,
            as_numbers(documents[start : start + size], queries.dtype),
            bond_dims,
            pairwise=pairwise,
        )
        for start in range(0, max(1, len(documents)), max(1, size))
    ]
    return columns[0] if pairwise else torch.cat(columns, dim=1)
