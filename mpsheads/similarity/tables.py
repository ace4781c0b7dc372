"""Log-fidelity of angle codes: amplitudes, or whole factors, looked up in small tables.

With 8 or 4 bits a qubit's two amplitudes come from tables of 256 or 16 entries, which costs less
than a sine and a cosine, and overlaps are those of `products`. With 2 or 1 bits the factor of a
query's angle and a document's level is a table of 4 or 2 numbers, hence a polynomial in the
document's bits, and the sum of all factors is one matrix product with these bits.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads._checks import check_choice, is_concrete
from mpsheads.similarity.angles import (
    GroupMemory,
    angle_features,
    angle_pairs,
    angle_product,
    angle_rows,
)
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.products import Side, log_products

_DOCUMENTS = 1024


def coded_angles(
    zq: Float[Tensor, "queries n"] | Codes,
    zd: Float[Tensor, "documents n"] | Codes,
    *,
    pairwise: bool,
    chunk: int | None,
) -> Float[Tensor, "queries *columns"]:
    """Log-fidelity where one side or both are codes; see `log_fidelity`."""
    dtype = next((z.dtype for z in (zq, zd) if isinstance(z, Tensor)), torch.float32)
    queries = zq if isinstance(zq, Tensor) else zq.dequantize(dtype)
    if pairwise:
        return angle_rows(queries, zd if isinstance(zd, Tensor) else zd.dequantize(dtype))
    if isinstance(zd, Tensor):
        return angle_pairs(queries, zd, chunk)
    gradient = torch.is_grad_enabled() and queries.requires_grad
    if zd.bits <= 2 and is_concrete(queries) and not gradient:
        return _bit_pairs(queries, zd, chunk)
    documents = Side(zd.packed, CodeFeatures(zd, queries.dtype))
    return log_products(angle_product(dtype), Side(queries, angle_features), documents, chunk)


def coding_error(max_difference: float, bits: int, *, kind: str = "angle", coded: int = 2) -> float:
    """By how much coding can move the log-fidelity, for each angle, or qubit of Bloch vectors.

    Args:
        max_difference: Largest difference of two angles before coding, in radians within [0, pi].
            For Bloch vectors, the angle `2 acos(sqrt(F))` of two qubits of fidelity F.
        bits: Bits of the codes.
        kind: `"angle"` or `"bloch"`.
        coded: How many of the two sides are codes, 1 or 2.

    Returns:
        The largest distance from the log-fidelity of the vectors themselves. Infinite where an
        orthogonal pair is in reach, so at a difference of pi, where theirs is infinite too.

    The cells fill the whole range, `span=1`. A code moves an angle by `pi / 2**(bits + 1)` at
    most, and a Bloch vector by sqrt(3)/2**bits, which is an angle of `acos(1 - sqrt(3)/2**bits)`
    for a pure state, less for a mixed one. The slope of log cos^2(D/2) is -tan(D/2), so errors are
    small where vectors are alike.
    """
    check_choice("kind", kind, ("angle", "bloch"))
    if not 0 <= max_difference <= math.pi:
        raise ValueError(f"`max_difference` must lie in [0, pi], got {max_difference}.")
    if bits not in (8, 4, 2, 1) or coded not in (1, 2):
        raise ValueError(
            f"`bits` must be 8, 4, 2 or 1 and `coded` 1 or 2, got {bits!r} and {coded!r}."
        )
    if kind == "angle":
        shift = coded * math.pi / 2 ** (bits + 1)
        farthest = math.pi - shift  # no two levels, and no level and angle, differ by more
    else:
        shift = coded * math.acos(max(-1.0, 1 - math.sqrt(3) / 2**bits))
        farthest = math.pi
    start = min(max_difference, max(0.0, farthest - shift))
    outwards = _log_factor(start) - _log_factor(min(start + shift, farthest))
    inwards = _log_factor(max(0.0, max_difference - shift)) - _log_factor(max_difference)
    return max(outwards, inwards)


def _log_factor(difference: float) -> float:
    return 2 * math.log(math.cos(difference / 2)) if difference < math.pi else -math.inf


class CodeFeatures:
    """`angle_features` of the levels of codes, chunk after chunk in the same memory."""

    def __init__(self, codes: Codes, dtype: torch.dtype) -> None:
        self.codes = codes
        self.dtype = dtype
        self.memory: dict[int, GroupMemory] = {}
        half = codes.levels(dtype) / 2
        self.cos, self.sin = half.cos(), half.sin()

    def __call__(self, packed: UInt8[Tensor, "rows bytes"]) -> Float[Tensor, "groups 8 rows"]:
        """Features of one chunk; good until the next call."""
        part = replace(self.codes, packed=packed)
        if torch.is_grad_enabled() or not is_concrete(packed):
            return angle_features(part.dequantize(self.dtype))
        rows = len(packed)
        if rows not in self.memory:
            self.memory[rows] = GroupMemory(packed, part.width, rows, self.dtype)
        memory = self.memory[rows]
        cells = part.numbers().T.contiguous().view(-1).int()
        torch.index_select(self.cos, 0, cells, out=memory.cos.view(-1))
        torch.index_select(self.sin, 0, cells, out=memory.sin.view(-1))
        return memory.features()


def _bit_pairs(
    zq: Float[Tensor, "queries n"], codes: Codes, chunk: int | None
) -> Float[Tensor, "queries documents"]:
    """All pairs with codes of 1 or 2 bits, as one matrix product with their bits."""
    constant, factors = _bit_factors(zq, codes)
    out = zq.new_empty(len(zq), len(codes))
    size = min(chunk or _DOCUMENTS, max(1, len(codes)))
    memory = zq.new_empty(size, factors.shape[1])
    for start in range(0, len(codes), size):
        packed = codes.packed[start : start + size]
        bits = _write_bits(packed, codes.bits, memory[: len(packed)])
        out[:, start : start + size] = torch.addmm(constant[:, None], factors, bits.T)
    return out


def _bit_factors(
    zq: Float[Tensor, "queries n"], codes: Codes
) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries columns"]]:
    """Each factor as a polynomial in the bits of the level: constants, and what bits multiply."""
    size = ((zq[..., None] - codes.levels(zq.dtype)) / 2).cos().abs()
    table = 2 * size.clamp_min(torch.finfo(zq.dtype).tiny).log()  # queries n levels
    factors = table[..., 1:] - table[..., :1]
    if codes.bits == 2:
        factors[..., 2] -= factors[..., 0] + factors[..., 1]  # where both bits are set
    missing = codes.bytes_per_vector * (8 // codes.bits) - codes.width
    columns = torch.nn.functional.pad(factors.mT, (0, missing)).flatten(1)
    return table[..., 0].sum(1), columns


def _write_bits(
    packed: UInt8[Tensor, "rows bytes"], bits: int, out: Float[Tensor, "rows columns"]
) -> Float[Tensor, "rows columns"]:
    """Each bit, and of two bits their product, as numbers, in the order of `_bit_factors`."""
    columns = out.view(len(out), 2**bits - 1, 8 // bits, -1)
    for i in range(8 // bits):
        low = (packed >> (i * bits)) & 1
        columns[:, 0, i] = low
        if bits == 2:
            high = (packed >> (2 * i + 1)) & 1
            columns[:, 1, i] = high
            columns[:, 2, i] = low & high
    return out
