"""Cosines of queries with many words of a trellis on a CPU, bound by reading and not by decoding.

Many queries share the work of decoding: some hundred words at a time stand in one piece of memory
that stays in the cache, and meet all queries in one matrix product. For a few queries that work
costs more than the product. They make a table for each byte instead, of what the byte and what it
sees of the one before add to every product, and a product is a sum of entries, one a byte.

Source: the sums of asymmetric distances of Jegou et al. 2011 (doi:10.1109/TPAMI.2010.57, sec. 3),
for a codebook whose bytes overlap.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from mpsheads._checks import is_concrete
from mpsheads.mps.trellis import standard_trellis
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.packing import byte_entries, decode_bytes, entry_values, fills_bytes

FEW = 3
"""Queries that tables serve: with the square of a word they are the 16 bytes that move at once."""
MANY = 1 << 18
"""Documents at once by tables: then what a call to torch costs is little beside its work."""
WORTH = 25_000
"""Documents that are worth the making of tables."""
_DECODED = 1024
_ROUNDING = 1e-6  # of the square of the centre, from which a word may take everything
_TINY = 1e-24


def can_scan(queries: Tensor, codes: Codes) -> bool:
    """Whether `cosine_of_words` takes them: words, float32 on a CPU, and nobody asks a gradient."""
    return (
        codes.kind == "trellis"
        and codes.packed.is_cpu
        and queries.is_cpu
        and queries.dtype == torch.float32
        and not (torch.is_grad_enabled() and queries.requires_grad)
        and is_concrete(queries)
    )


def cosine_of_words(
    queries: Float[Tensor, "queries width"], codes: Codes
) -> Float[Tensor, "queries documents"]:
    """Cosines of unit vectors with what codes stand for, 0 where that is zero.

    Cost: one decoding and a matrix product; for at most `FEW` queries one look-up a byte.
    """
    trellis, centre = standard_trellis(codes.bits), codes.centre
    assert centre is not None
    tables = len(queries) <= FEW and len(codes) >= WORTH and fills_bytes(trellis)
    # A document is centre + span * word. Its square but for that of the centre is the last row.
    rows = _by_tables(queries, codes) if tables else _by_decoding(queries, codes)
    scores, away = rows[:-1], float(centre.square().sum())
    square = rows[-1].add_(away).clamp_min_(max(_ROUNDING * away, _TINY))
    return scores.add_((queries @ centre)[:, None]).div_(square.sqrt_())


def _by_decoding(queries: Tensor, codes: Codes) -> Float[Tensor, "rows documents"]:
    """Products of queries with `span * word`; behind them the square of that and its mixed term."""
    trellis = standard_trellis(codes.bits)
    sides = torch.cat([queries, 2 * codes.centre[None]]).mul_(codes.span)  # pyright: ignore
    out = queries.new_empty(len(sides), len(codes))
    memory = queries.new_empty(_DECODED * codes.bytes_per_vector * 8)
    for packed, part in zip(codes.packed.split(_DECODED), out.split(_DECODED, 1), strict=True):
        words = decode_bytes(packed, codes.width, trellis, memory)
        torch.mm(sides, words.T, out=part)
        part[-1].addcmul_(*[torch.linalg.vector_norm(words, dim=1)] * 2, value=codes.span**2)
    return out


def _by_tables(queries: Tensor, codes: Codes) -> Float[Tensor, "rows documents"]:
    """The same, as sums of one entry for each byte."""
    tables = _tables(queries, codes)
    columns = tables.shape[2]
    wide = tables.view(torch.float64 if columns == 2 else torch.complex128)[:, :, 0]
    out = queries.new_empty(len(queries) + 1, len(codes))
    for packed, part in zip(codes.packed.split(MANY), out.split(MANY, 1), strict=True):
        total, met = queries.new_zeros(len(packed), columns), wide.new_empty(len(packed))
        entries = byte_entries(packed, standard_trellis(codes.bits))
        for table, places in zip(wide, entries, strict=True):
            torch.index_select(table, 0, places, out=met)
            total += met.view(torch.float32).view_as(total)
        part.copy_(total.T[: len(out)])
    return out


def _tables(queries: Tensor, codes: Codes) -> Float[Tensor, "bytes entries columns"]:
    """What each entry of a byte adds to each row; columns are filled up to 2 or 4."""
    values = entry_values(standard_trellis(codes.bits))
    count, step = codes.bytes_per_vector, values.shape[1]
    sides = torch.cat([queries, 2 * codes.centre[None]]).mul_(codes.span)  # pyright: ignore
    factors = torch.stack([sides, torch.zeros_like(sides)], 1)
    factors[-1, 1] = codes.span**2
    factors = pad(factors, (0, count * step - codes.width)).unflatten(2, (count, step))
    terms = torch.cat([values, values.square()], 1).T.contiguous()
    tables = queries.new_empty(count, len(values), 2 if len(sides) == 2 else FEW + 1)
    for column, factor in enumerate(factors.transpose(1, 2).flatten(2)):
        tables[:, :, column] = factor @ terms
    return tables
