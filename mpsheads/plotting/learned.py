"""What a head has learned, in numbers: the data of the figures, also for tables of one's own."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mpsheads._optional import optional_import
from mpsheads.mps import MPS
from mpsheads.mps import entanglement_entropy as entropy_of
from mpsheads.similarity import Codes


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
        return [range(a, b) for a, b in pairwise([0, *cuts, len(self.limits) + 1])]

    @property
    def bonds_by_distance(self) -> dict[int, list[int]]:
        """Distance of a bond from the kept site of its block -> bonds, one in each block.

        The bond beside the kept site has distance 1. A block without a kept site, or with several,
        is read as if it kept its last one.
        """
        bonds: dict[int, list[int]] = {}
        for block in self.blocks:
            inside = [site for site in block if site in self.kept_sites]
            home = inside[0] if len(inside) == 1 else block[-1]
            for bond in block[:-1]:
                bonds.setdefault(home - bond if bond < home else bond - home + 1, []).append(bond)
        return dict(sorted(bonds.items()))

    @property
    def strongest(self) -> list[int]:
        """In each block of two qubits or more, the bond that is most entangled on average."""
        mean = self.entropies.mean(dim=0).tolist()
        return [max(block[:-1], key=mean.__getitem__) for block in self.blocks if len(block) > 1]


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
    entropies, dims = [], []
    for batch in [states] if isinstance(states, MPS) else states:
        entropies.append(entropy_of(batch, base=2).detach().cpu())
        dims.append(batch.bond_dims)
    if not entropies:
        raise ValueError("`states` must hold at least one batch of states.")
    if len({len(row) for row in dims}) > 1:
        raise ValueError("`states` must hold batches with the same number of sites.")
    largest = [max(column) for column in zip(*dims, strict=True)]
    kept = tuple(sorted(int(site) for site in kept_sites))
    return EntropyProfile(torch.cat(entropies), _limits(largest), kept)


def _limits(dims: Sequence[int]) -> Tensor:
    """Bits that each bond can carry: bounded by its dimension, and by the qubits of either side."""
    edges = [-1, *(i for i, dim in enumerate(dims) if dim == 1), len(dims)]
    limits = torch.zeros(len(dims))
    for first, last in pairwise(edges):
        for bond in range(first + 1, last):
            limits[bond] = min(bond - first, last - bond, math.log2(dims[bond]))
    return limits


def code_entropy(codes: Codes) -> Tensor:
    """How many bits the codes of each output carry.

    The entropy of how often each of the 2**bits cells is hit, per output: `bits` if all are hit
    equally, 0 if it is always the same one. Corrected for the finite sample (Miller 1955), since
    few texts hit few cells; still too low for fewer than about 4 * 2**bits texts.

    Args:
        codes: Of a head's outputs for some texts: `head.quantize(z, bits)`.

    Returns:
        `(outputs,)`, in bits, from 0 to `codes.bits`.

    Raises:
        ValueError: If there are no texts.
    """
    if not len(codes):
        raise ValueError("`codes` must hold at least one vector.")
    cells = codes.numbers().cpu().long().T
    counts = torch.zeros(codes.width, 2**codes.bits, dtype=torch.float64)
    counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=torch.float64))
    p = counts / len(codes)
    missed = ((counts > 0).sum(dim=1) - 1) / (2 * len(codes))
    entropy = torch.special.entr(p).sum(dim=1) + missed
    return (entropy / math.log(2)).clamp(max=codes.bits)


def too_few(codes: Codes) -> bool:
    """Whether so few texts may leave cells of a code empty by chance, so `code_entropy` is low.

    With four texts a cell the correction is good to a few hundredths of a bit.
    """
    return len(codes) < 4 * 2**codes.bits


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
        """The distance that separates best: pairs up to it are taken for relevant."""
        return float(self._separation().statistic_location)

    @property
    def overlap(self) -> float:
        """Share of relevant pairs beyond the threshold plus share of others within it, in [0, 1].

        Where the two densities cross once, it is the area that they share.
        """
        return 1.0 - float(self._separation().statistic)

    def _separation(self) -> Any:
        """The one-sided test of Kolmogorov and Smirnov."""
        stats = optional_import("scipy.stats", "retrieval")
        samples = self.relevant.double().numpy(), self.other.double().numpy()
        return stats.ks_2samp(*samples, alternative="greater", method="asymp")


def _auc(relevant: Tensor, other: Tensor) -> float:
    """By the statistic of Mann and Whitney: how many pairs of the two are in order."""
    stats = optional_import("scipy.stats", "retrieval")
    x, y = other.double().numpy(), relevant.double().numpy()
    return float(stats.mannwhitneyu(x, y, method="asymptotic").statistic) / (len(x) * len(y))
