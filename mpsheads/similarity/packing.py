"""Words of a trellis in bytes: packing them, and finding again what they stand for."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads._constants import constant
from mpsheads.mps.trellis import Trellis, codewords, look_up, ring_steps

_TURNED = 4096  # rows turned at once, so that they stay in a cache


def pack_words(words: UInt8[Tensor, "batch steps"], trellis: Trellis) -> UInt8[Tensor, "batch _"]:
    """The bits of words in bytes, the first step in the highest bits; the last byte is filled."""
    bits = _to_bits(words, trellis.shift)
    return _to_numbers(torch.nn.functional.pad(bits, (0, -bits.shape[1] % 8)), 8)


def fills_bytes(trellis: Trellis) -> bool:
    """Whether steps fill bytes: then two neighbouring bytes name all values of the second one."""
    return 8 % trellis.shift == 0


def decode_bytes(
    packed: UInt8[Tensor, "batch bytes"],
    width: int,
    trellis: Trellis,
    out: Float[Tensor, " _"] | None = None,
) -> Float[Tensor, "batch {width}"]:
    """The first `width` values of packed words.

    Where steps fill bytes there is one look-up a byte, in a table of at most 2 MB. Fresh memory
    costs as much, so `out` may give `packed.numel() * values a byte` float32 to write over.
    """
    if fills_bytes(trellis):
        table = _byte_table(trellis, like=packed, dtype=torch.float32)
        if out is not None:
            out = out[: packed.numel() * table.shape[1]]
        return look_up(table, _byte_pairs(packed, trellis), out).flatten(1)[:, :width]
    bits = _to_bits(packed, 8)[:, : ring_steps(width, trellis) * trellis.shift]
    return codewords(_to_numbers(bits, trellis.shift), trellis)[:, :width]


def byte_entries(
    packed: UInt8[Tensor, "batch bytes"], trellis: Trellis
) -> Iterator[Int[Tensor, " batch"]]:
    """For each byte in turn the rows of `entry_values` that words name, each time in one memory."""
    turned = torch.cat([_triples(rows) for rows in packed.split(_TURNED)], 1)
    entries = turned.new_empty(len(packed))
    for i in range(packed.shape[1]):
        torch.bitwise_right_shift(turned[i // 3], 16 - 8 * (i % 3), out=entries)
        yield entries.bitwise_and_(256 * trellis.bond_dim - 1)


def entry_values(trellis: Trellis) -> Float[Tensor, "entries values"]:
    """The values of a byte, for all that it can see of the one before and, below, its numbers."""
    table = _byte_table(trellis, like=trellis.values).unflatten(0, (256, 256))
    return table[:, : trellis.bond_dim].transpose(0, 1).flatten(0, 1)


def _triples(packed: UInt8[Tensor, "batch bytes"]) -> Int[Tensor, "_ batch"]:
    """Numbers of four bytes, the first one highest: each holds three and the one before them."""
    count, width = packed.shape
    threes = -(-width // 3)
    ring = np.zeros((count, 3 * threes + 1), np.uint8)
    ring[:, 0], ring[:, 1 : width + 1] = packed[:, -1], packed
    words = np.ndarray((count, threes), ">i4", ring, strides=(ring.shape[1], 3))
    return torch.from_numpy(words.T.astype(np.int32, order="C"))


def _byte_pairs(packed: UInt8[Tensor, "batch bytes"], trellis: Trellis) -> Tensor:
    """Each byte and the one before it as a number, this one above: rows of `_byte_table`.

    Bits that no window sees are left out, so that the rows in use stay in a cache. On a CPU all
    pairs are one overlapping view of the bytes.
    """
    seen = 0xFF00 | trellis.bond_dim - 1
    if not (packed.is_cpu and is_concrete(packed)):
        return (packed.to(torch.int64) << 8 | packed.roll(1, 1)) & seen
    ring = torch.cat([packed[:, -1:], packed], 1).numpy()
    view = np.ndarray(packed.shape, "<u2", ring, strides=(ring.shape[1], 1))
    pairs = np.empty(packed.shape, np.int32)
    np.bitwise_and(view, np.uint16(seen), out=pairs, casting="unsafe")
    return torch.from_numpy(pairs)


def _to_bits(numbers: Tensor, width: int) -> UInt8[Tensor, "batch _"]:
    """The lowest bits of numbers side by side, the highest of them first."""
    place = torch.arange(width - 1, -1, -1, dtype=torch.uint8, device=numbers.device)
    return ((numbers[:, :, None] >> place) & 1).flatten(1)


def _to_numbers(bits: Tensor, width: int) -> UInt8[Tensor, "batch _"]:
    """What `_to_bits` took apart."""
    place = torch.arange(width - 1, -1, -1, dtype=torch.uint8, device=bits.device)
    return (bits.unflatten(1, (-1, width)) << place).sum(2, dtype=torch.uint8)


@constant
def _byte_table(trellis: Trellis) -> np.ndarray:
    """The values of a byte, for each number of that byte and, below it, the one before."""
    number = torch.arange(1 << 16)[:, None]
    number = (number & 255) << 8 | number >> 8
    place = torch.arange(16 - trellis.shift, -1, -trellis.shift)
    words = ((number >> place) & (2**trellis.shift - 1)).to(torch.uint8)
    values = codewords(words, trellis)
    return values[:, values.shape[1] // 2 :].numpy()
