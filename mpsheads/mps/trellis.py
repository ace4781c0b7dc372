"""Codes on a trellis: a codebook that is a matrix product, and the nearest of its words.

The bits of a word stand in a ring. A window of L bits moves on by k bits a step, and at each step
it names a row of one table: the values of that step. So a step sees of all earlier ones only the
L - k bits that it shares with the step before. The indicator of all words is a matrix product of
bond dimension 2**(L - k): its site tensor is 1 where two windows overlap and the values are those
of the table, else 0.

Two contractions of that chain with the distances of a vector's values on its sites matter. Over
(+, *) it is the partition function of all words, and over (min, +) the distance of the nearest
one. The second with its arguments is the Viterbi algorithm, here for a batch of vectors at once.

Source: Marcellin and Fischer 1990 (doi:10.1109/26.46532); windows of bits and one table: Tseng et
al. 2024 (arXiv:2406.11235); the table by rounds of Lloyd's algorithm on Gaussian numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads._constants import constant

ERRORS = {1.0: 0.282, 1.5: 0.148, 2.0: 0.0776, 3.0: 0.0206, 4.0: 0.0057, 8.0: 4e-5}
"""Bits a value of the tables that the library holds -> mean squared error for Gaussian numbers."""
RATES = tuple(ERRORS)
_TABLES = Path(__file__).with_name("trellis.safetensors")
_ROWS = 256  # vectors at once: the costs of all windows stay in a cache, and calls are few
_FAR = 1e30  # cost of a path that is not allowed; finite, so that gradients are
_SETTLED = 5  # windows after which a path no longer depends on where it began


@dataclass(frozen=True, eq=False)
class Trellis:
    """Windows that move over a ring of bits, and what each stands for.

    Attributes:
        values: `(2**window, values a step)`, in the order of the windows as binary numbers.
        shift: Bits by which the window moves a step, at most 8.
    """

    values: Float[Tensor, "windows values"]
    shift: int

    @property
    def window(self) -> int:
        """Bits of a window."""
        return len(self.values).bit_length() - 1

    @property
    def bond_dim(self) -> int:
        """The bond dimension of the matrix product: as many as the bits that two windows share."""
        return len(self.values) >> self.shift


@lru_cache
def standard_trellis(bits: int | float) -> Trellis:
    """The library's trellis for Gaussian numbers of variance 1.

    Its table is a constant, the same for all data: windows of 10 bits, but 8 for 8 bits a value,
    where it is the best scalar quantiser. `benchmarks/trellis.py` makes it, and prints its `ERRORS`
    beside Shannon's limit, which is 2**(-2 bits), and those of scalar quantisers.

    Args:
        bits: Bits a value, one of `RATES`.
    """
    from safetensors.torch import load_file

    check_choice("bits", bits, RATES)
    shift = {1.0: 2, 1.5: 3, 2.0: 4}.get(bits, int(bits))
    return Trellis(load_file(_TABLES)[str(float(bits))].float(), shift)


@torch.no_grad()
def nearest_codewords(
    x: Float[Tensor, "batch width"], trellis: Trellis
) -> UInt8[Tensor, "batch steps"]:
    """The word nearest to each vector, or nearly, by the contraction over (min, +).

    Where the ring closes, the bits that the last and the first window share come from a pass over
    that neighbourhood alone, as if it lay in the middle of a long chain. That adds up to 1 % to the
    error of rings of 128 steps, 2 % of 32, 5 % of 20, and multiplies it on a few steps.

    Args:
        x: Vectors, finite. Zeros are added to fill `ring_steps`.
        trellis: The code.

    Returns:
        The `shift` new bits of each step as a number.

    Cost: O(batch * steps * 2**window), about 0.2 ms a vector of 256 values on one core.
    """
    steps = ring_steps(x.shape[1], trellis)
    x = _filled(x.float(), trellis)
    words = x.new_empty(len(x), steps, dtype=torch.uint8)
    sites = x.T.reshape(steps, trellis.values.shape[1], len(x))
    near = _SETTLED * -(-trellis.window // trellis.shift)
    places = torch.arange(-near, near, device=x.device) % steps
    for part, out in zip(sites.split(_ROWS, 2), words.split(_ROWS), strict=True):
        shared = None
        if trellis.bond_dim > 1:
            shared = _best_path(part[places], trellis, None)[near] >> trellis.shift
        path = _best_path(part, trellis, shared)
        out.copy_((path & (2**trellis.shift - 1)).T)
    return words


def codewords(
    words: UInt8[Tensor, "batch steps"], trellis: Trellis
) -> Float[Tensor, "batch width"]:
    """The values of words, `(batch, steps * values a step)`."""
    windows = words.to(torch.int32)
    for back in range(1, -(-trellis.window // trellis.shift)):
        windows |= words.to(torch.int32).roll(back, 1) << (back * trellis.shift)
    windows &= len(trellis.values) - 1
    table = _table(trellis, like=words, dtype=trellis.values.dtype)
    return look_up(table, windows).flatten(1)


def ring_steps(width: int, trellis: Trellis) -> int:
    """Steps of a word of so many values: enough for one window, and for whole bytes if possible."""
    steps = max(-(-width // trellis.values.shape[1]), -(-trellis.window // trellis.shift))
    whole = 8 // trellis.shift if 8 % trellis.shift == 0 else 1
    return -(-steps // whole) * whole


def look_up(
    table: Float[Tensor, "rows values"], places: Tensor, out: Tensor | None = None
) -> Tensor:
    """Rows of a table, `(*places.shape, values)`; on a CPU several values are moved as one number.

    `out` is a vector of as many numbers, which is written over.
    """
    wide = {0: torch.complex128, 2: torch.float64}.get(table.shape[1] % 4)
    if table.dtype != torch.float32 or wide is None:
        return table[places.long()]
    if out is not None:
        out = out.view(wide).view(places.numel(), table.view(wide).shape[1])
    rows = torch.index_select(table.view(wide), 0, places.reshape(-1), out=out)
    return rows.view(torch.float32).view(*places.shape, table.shape[1])


def distance_to_code(x: Float[Tensor, "batch width"], trellis: Trellis) -> Float[Tensor, " batch"]:
    """Squared distance of the nearest word, exactly: the ring contracted over (min, +).

    Cost: that of `nearest_codewords` times the bond dimension.
    """
    return _close(x, trellis, torch.amin)


def log_partition(
    x: Float[Tensor, "batch width"], trellis: Trellis, temperature: float
) -> Float[Tensor, " batch"]:
    """Logarithm of the sum of exp(-distance / temperature) over all words, over (+, *).

    At a low temperature it tends to `-distance_to_code / temperature`; its derivative by `x` is
    that of the mean word, so it is a smooth stand-in for the code.

    Args:
        x: Vectors.
        trellis: The code.
        temperature: Above 0, in units of squared distance.

    Cost: as `distance_to_code`.
    """
    return -_close(x, trellis, lambda cost, dim: -torch.logsumexp(-cost, dim), temperature)


def _filled(x: Tensor, trellis: Trellis) -> Tensor:
    """Vectors with zeros added, as long as a word."""
    whole = ring_steps(x.shape[1], trellis) * trellis.values.shape[1]
    return torch.nn.functional.pad(x, (0, whole - x.shape[1]))


@constant
def _table(trellis: Trellis) -> np.ndarray:
    return trellis.values.cpu().numpy()


@constant
def _factors(trellis: Trellis) -> np.ndarray:
    """What, times the values of a step and 1, is their squared distance but for their own norm."""
    table = trellis.values.cpu().numpy()
    return np.concatenate([-2 * table, np.square(table).sum(1, keepdims=True)], 1)


def _with_one(sites: Float[Tensor, "steps values batch"]) -> Float[Tensor, "steps _ batch"]:
    return torch.cat([sites, torch.ones_like(sites[:, :1])], 1)


def _close(
    x: Tensor, trellis: Trellis, reduce: Callable[..., Tensor], temperature: float = 1.0
) -> Tensor:
    """The ring contracted over a semiring: open chains for each value of the bits that close it."""
    if not temperature > 0:
        raise ValueError(f"`temperature` must be above 0, got {temperature}.")
    x = _filled(x if x.dtype == torch.float64 else x.float(), trellis)
    sites = x.T.reshape(-1, trellis.values.shape[1], len(x))
    bond, fan = trellis.bond_dim, 2**trellis.shift
    far = torch.full((bond, bond), _FAR, dtype=x.dtype, device=x.device)
    begin = far.fill_diagonal_(0)[:, :, None]  # bits before, bits that close the ring, batch
    total, factors = begin.expand(-1, -1, len(x)), _factors(trellis, like=x)
    for row in _with_one(sites):
        costs = (factors @ row).view(bond, fan, 1, -1) / temperature
        total = reduce((total[:, None] + costs).view(fan, bond, bond, -1), dim=0)
    return reduce(total.diagonal().T, dim=0) + sites.square().sum((0, 1)) / temperature


def _best_path(
    sites: Float[Tensor, "steps values batch"], trellis: Trellis, shared: Tensor | None
) -> Tensor:
    """The windows of the cheapest path, `(steps, batch)`; `shared` are the bits that close it.

    From the left only the least cost of each bond is kept. From the right a step then tries the
    windows that lead to the next one: `2**shift` of them for each vector.
    """
    fan, bond, count = 2**trellis.shift, trellis.bond_dim, sites.shape[2]
    factors, rows = _factors(trellis, like=sites), _with_one(sites)
    before = sites.new_zeros(bond, count)
    if shared is not None:
        before.fill_(_FAR).scatter_(0, shared[None], 0.0)
    least, cost = [before], sites.new_empty(fan * bond, count)
    for row in rows:
        torch.mm(factors, row, out=cost)
        cost.view(bond, fan, count).add_(least[-1][:, None])
        least.append(cost.view(fan, bond, count).amin(0))
    into = least[-1].argmin(0) if shared is None else shared  # bits that the next step would see
    columns = factors.T.contiguous()
    first, path = torch.arange(fan, device=sites.device)[:, None] * bond, []
    places = (first >> trellis.shift) * count + torch.arange(count, device=sites.device)
    for row, before in zip(rows.flip(0), least[-2::-1], strict=True):
        windows, seen = first + into, places + (into >> trellis.shift) * count
        cost = before.view(-1).index_select(0, seen.view(-1)).view_as(windows)
        for factor, value in zip(columns, row, strict=True):
            cost.addcmul_(factor.index_select(0, windows.view(-1)).view_as(cost), value)
        path.append(cost.min(0).indices * bond + into)
        into = path[-1] >> trellis.shift
    return torch.stack(path[::-1])
