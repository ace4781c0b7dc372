"""Log-fidelity of angles with codes of 2 or 1 bits: one matrix product with the codes' bits.

The factor of a query's angle and a document's level is a table of 4 or 2 numbers, hence a
polynomial in the document's bits, and the sum of all factors is one matrix product with these bits.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads.similarity.codes import Codes

_DOCUMENTS = 1024


def bit_pairs(
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
