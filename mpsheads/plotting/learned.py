"""What a head has learned, in numbers: the data of the figures, also for tables of one's own."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mpsheads.mps import MPS
from mpsheads.mps import entanglement_entropy as entropy_of

CODE_BITS = (8, 4, 2, 1)


@dataclass(frozen=True)
class EntropyProfile:
    """Entanglement of every bond of a register, over a sample of texts.

    Attributes:
        entropies: `(texts, bonds)`: von Neumann entropy of the two sides of each bond, in bits.
        limits: `(bonds,)`: the most that bond dimension and number of qubits allow, in bits.
        kept_sites: Sites that the head reads out, ascending; empty where that is not known.
    """

    entropies: Tensor
    limits: Tensor
    kept_sites: tuple[int, ...] = ()

    @property
    def blocks(self) -> list[range]:
        """Sites of each block: what lies between bonds that can carry no entanglement."""
        cuts = [bond + 1 for bond, limit in enumerate(self.limits.tolist()) if limit == 0]
        edges = [0, *cuts, len(self.limits) + 1]
        return [range(a, b) for a, b in pairwise(edges)]

    @property
    def by_distance(self) -> dict[int, Tensor]:
        """Distance of a bond from the kept site of its block -> entropies `(texts, bonds)`.

        The bond beside the kept site has distance 1. A block without a kept site, or with several,
        is read as if it kept its last one.
        """
        kept = set(self.kept_sites)
        bonds: dict[int, list[int]] = {}
        for block in self.blocks:
            inside = [site for site in block if site in kept]
            home = inside[0] if len(inside) == 1 else block[-1]
            for bond in block[:-1]:
                bonds.setdefault(home - bond if bond < home else bond - home + 1, []).append(bond)
        return {distance: self.entropies[:, bonds[distance]] for distance in sorted(bonds)}

    @property
    def strongest(self) -> Tensor:
        """`(texts, blocks)`: each block at the bond that is most entangled on average.

        Blocks of one qubit, which have no bond, are left out.
        """
        mean = self.entropies.mean(dim=0)
        chosen = [max(b[:-1], key=lambda i: float(mean[i])) for b in self.blocks if len(b) > 1]
        return self.entropies[:, chosen]


def entropy_profile(
    states: MPS | Iterable[MPS], *, kept_sites: Sequence[int] = ()
) -> EntropyProfile:
    """The entanglement entropy of every bond of a batch of states, or of several batches.

    Args:
        states: What `head.state(x)` returns, or several of them for many texts.
        kept_sites: The sites that are read out: `head.kept_sites`.

    Raises:
        ValueError: If there is no state, or the batches differ in their number of sites.

    Cost: that of `mpsheads.mps.entanglement_entropy`, one batch at a time.
    """
    batches = [states] if isinstance(states, MPS) else states
    entropies, dims = [], []
    for batch in batches:
        entropies.append(entropy_of(batch, base=2).detach().cpu())
        dims.append(batch.bond_dims)
    if not entropies:
        raise ValueError("`states` must hold at least one batch of states.")
    if len({len(row) for row in dims}) > 1:
        raise ValueError("`states` must hold batches with the same number of sites.")
    largest = [max(column) for column in zip(*dims, strict=True)]
    return EntropyProfile(
        torch.cat(entropies), _limits(largest), tuple(sorted(int(site) for site in kept_sites))
    )


def _limits(dims: Sequence[int]) -> Tensor:
    """Bits that each bond can carry: bounded by its dimension, and by the qubits of either side."""
    edges = [-1, *(i for i, dim in enumerate(dims) if dim == 1), len(dims)]
    limits = torch.zeros(len(dims))
    for first, last in pairwise(edges):
        for bond in range(first + 1, last):
            limits[bond] = min(bond - first, last - bond, math.log2(dims[bond]))
    return limits


def code_entropy(z: Tensor, bits: int, *, low: float = 0.0, high: float = math.pi) -> Tensor:
    """How many bits the codes of each output carry, when its range is cut into equal cells.

    The entropy of how often each of the 2**bits cells is hit, per output: `bits` if all are hit
    equally, 0 if it is always the same one. Corrected for the finite sample (Miller 1955), since
    few texts hit few cells; still too low for fewer than about 4 * 2**bits texts.

    Args:
        z: Outputs of a head, `(texts, outputs)`.
        bits: Width of a code, 1 to 8.
        low: Lower end of the range; outputs beyond it count as at it.
        high: Upper end.

    Returns:
        `(outputs,)`, in bits, from 0 to `bits`.

    Raises:
        ValueError: If `bits` is out of range, the range is empty, or there are no texts.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"`bits` must be from 1 to 8, got {bits}.")
    counts = cell_counts(z, 2**bits, low=low, high=high)
    p = counts / len(z)
    entropy = -torch.special.xlogy(p, p).sum(dim=1) + ((counts > 0).sum(dim=1) - 1) / (2 * len(z))
    return (entropy / math.log(2)).clamp(max=bits)


def too_few(texts: int, bits: int) -> bool:
    """Whether that many texts may leave cells of a code empty by chance, so `code_entropy` is low.

    With four texts a cell the correction is good to a few hundredths of a bit.
    """
    return texts < 4 * 2**bits


def cell_counts(z: Tensor, cells: int, *, low: float, high: float) -> Tensor:
    """`(outputs, cells)`: how often each output falls into each of equal cells, in float64."""
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"`z` must have shape (texts, outputs), got {tuple(z.shape)}.")
    if not low < high:
        raise ValueError(f"`low` must be less than `high`, got {low} and {high}.")
    cell = ((z.detach().cpu().double() - low) * (cells / (high - low))).long().clamp(0, cells - 1)
    counts = torch.zeros(z.shape[1], cells, dtype=torch.float64)
    return counts.scatter_add_(1, cell.T, torch.ones_like(cell.T, dtype=torch.float64))


@dataclass(frozen=True)
class PairDistances:
    """Distances of queries to documents that are relevant to them, and to others.

    Attributes:
        name: What is measured, such as `"1 - cosine"`.
        relevant: `(pairs,)`: distances of the relevant pairs, smaller is closer.
        other: `(pairs,)`: those of the other pairs.
        title: Which vectors these are, such as `"before: 384 numbers"`.
        relevant_queries: `(pairs,)`: number of the query of each relevant pair, where known.
        other_queries: `(pairs,)`: the same of the others.
    """

    name: str
    relevant: Tensor
    other: Tensor
    title: str = ""
    relevant_queries: Tensor | None = None
    other_queries: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("relevant", "other"):
            values = getattr(self, name)
            if values.ndim != 1 or len(values) == 0 or not torch.isfinite(values).all():
                raise ValueError(f"`{name}` must be a non-empty row of finite numbers.")

    @property
    def auc(self) -> float:
        """Probability that a relevant pair is closer than another one; ties count half.

        This is the area under the curve of hits against false alarms, over all thresholds.
        """
        return _auc(self.relevant, self.other)

    @property
    def auc_within_queries(self) -> float | None:
        """The same among pairs of one query, averaged over queries; `None` if not known.

        A ranking sees nothing else; `auc` also asks that distances of different queries compare.
        """
        if self.relevant_queries is None or self.other_queries is None:
            return None
        values = [
            _auc(self.relevant[self.relevant_queries == query], others)
            for query in self.relevant_queries.unique()
            if len(others := self.other[self.other_queries == query])
        ]
        return sum(values) / len(values) if values else None

    @property
    def threshold(self) -> float:
        """The distance that separates best: pairs closer than it are taken for relevant."""
        return self._best_split()[0]

    @property
    def overlap(self) -> float:
        """Share of relevant pairs beyond the threshold plus share of others within it, in [0, 1].

        Where the two densities cross once, it is the area that they share. It is one less the
        distance of Kolmogorov and Smirnov between the two samples.
        """
        return self._best_split()[1]

    def _best_split(self) -> tuple[float, float]:
        values = torch.cat([self.relevant, self.other]).double()
        weights = torch.cat(
            [
                torch.full((len(self.relevant),), 1 / len(self.relevant), dtype=torch.float64),
                torch.full((len(self.other),), -1 / len(self.other), dtype=torch.float64),
            ]
        )
        order = values.argsort()
        values, gain = values[order], weights[order].cumsum(0)
        last = torch.ones(len(values), dtype=torch.bool)
        last[:-1] = values[1:] > values[:-1]  # equal distances fall on the same side
        values, gain = values[last], gain[last]
        best = int(gain.argmax())
        after = values[min(best + 1, len(values) - 1)]
        return float((values[best] + after) / 2), float(1 - gain[best].clamp(0, 1))


def _auc(relevant: Tensor, other: Tensor) -> float:
    ordered = other.double().sort().values
    x = relevant.double()
    farther = len(ordered) - torch.searchsorted(ordered, x, right=True)
    equal = torch.searchsorted(ordered, x, right=True) - torch.searchsorted(ordered, x)
    return float((farther + equal / 2).mean() / len(ordered))


def quantiles(values: Tensor, shares: Sequence[float]) -> Iterator[Tensor]:
    """Quantiles over the first axis; unlike `torch.quantile` of inputs of any size."""
    ordered = values.sort(dim=0).values
    for share in shares:
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        yield ordered[below].lerp(ordered[above], place - below)
