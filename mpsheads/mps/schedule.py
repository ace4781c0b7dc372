"""Which factors of a circuit's gates meet which site, and which sites can be handled together.

A gate on several sites is a matrix product operator: one factor for each site that it spans, tied
by bonds. So all that happens to a site is a sequence of factors, whatever happens elsewhere, and
sites with sequences alike are one batch: a circuit on 768 sites takes a handful of contractions,
also where gate follows gate down a staircase.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from mpsheads._constants import indices
from mpsheads.mps.chain import alike
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.operation import Kind
from mpsheads.mps.products import Rows, as_rows

Key = Kind | torch.Size  # what gates, or sites of operators, have in common
Factors = Mapping[Key, tuple[Tensor, ...]]


class Step(NamedTuple):
    """One factor for each site of a group.

    Attributes:
        kind: Kind of the gates; `None` where bonds of that dimension only pass through.
        leg: Which of the gate's sites, from the left; for a passing bond its dimension.
        places: Which gates of that kind, one for each site of the group.
        rows: The same, as a slice where they rise evenly.
    """

    kind: Key | None
    leg: int
    places: tuple[int, ...]
    rows: Rows

    @classmethod
    def of(cls, kind: Key | None, leg: int, places: Iterable[int]) -> "Step":
        """A step, from places alone. Python's numbers only, so that `torch.compile` follows."""
        numbers = tuple(places)
        return cls(kind, leg, numbers, as_rows(numbers))

    def factor(self, factors: Factors, phys: int) -> Tensor:
        """The factors `(sites, b, left, out, in, right)`."""
        if self.kind is not None:
            found = factors[self.kind][self.leg]
            if isinstance(self.rows, slice):
                return found[self.rows]
            return found[indices(self.rows, found)]
        like = next(iter(factors.values()))[0]
        wire = torch.eye(self.leg * phys, dtype=like.dtype, device=like.device)
        wire = wire.reshape(1, 1, self.leg, phys, self.leg, phys).transpose(4, 5)
        return wire.expand(len(self.places), -1, -1, -1, -1, -1)


@dataclass(frozen=True, eq=False)
class SiteGroup:
    """Sites to which the same sequence of factors happens."""

    sites: tuple[int, ...]
    steps: tuple[Step, ...]

    def part(self, members: Sequence[int]) -> "SiteGroup":
        """Some of its sites, by their place in it."""
        if len(members) == len(self.sites):
            return self
        steps = (
            Step.of(step.kind, step.leg, (step.places[i] for i in members)) for step in self.steps
        )
        return SiteGroup(tuple(self.sites[i] for i in members), tuple(steps))


Layer = tuple[SiteGroup, ...]


def layers(circuit: Circuit, factors: Factors, max_rank: int, reverse: bool = False) -> list[Layer]:
    """The circuit in layers that multiply no bond by more than `max_rank`, first to last.

    A gate of a larger rank has a layer to itself. `factors` are what `circuit.factors` gives, or
    anything of the same kinds; `reverse` is last gate first. The last 256 results are kept.
    """
    ranks = tuple([(k, tuple([f.shape[5] for f in gate[:-1]])) for k, gate in factors.items()])
    traced = torch.compiler.is_compiling()  # which looks through caches, and warns of them
    find = _find_layers.__wrapped__ if traced else _find_layers
    return find(circuit, ranks, max_rank, reverse)


@lru_cache(maxsize=256)
def _find_layers(
    circuit: Circuit,
    ranks_by_kind: tuple[tuple[Kind, tuple[int, ...]], ...],
    max_rank: int,
    reverse: bool,
) -> list[Layer]:
    ranks = dict(ranks_by_kind)
    counts: dict[Kind, int] = {}
    numbered = []
    for operation in circuit:
        place = counts.get(operation.kind, 0)
        counts[operation.kind] = place + 1
        numbered.append((operation, place))
    level = [0] * circuit.num_sites  # the layer that each site has reached
    grown: dict[tuple[int, int], int] = {}  # (layer, left site of a bond): product of ranks
    events: list[dict[int, list[tuple[Kind | None, int, int]]]] = []
    for operation, place in reversed(numbered) if reverse else numbered:
        sites = sorted(operation.sites)
        span = range(sites[0], sites[-1] + 1)
        bonds = {}
        for a, b, rank in zip(sites, sites[1:], ranks[operation.kind], strict=False):
            bonds |= dict.fromkeys(range(a, b), rank)
        layer = max(level[site] for site in span)
        before = {bond: grown.get((layer, bond), 1) for bond in bonds}
        if any(old > 1 and old * bonds[bond] > max_rank for bond, old in before.items()):
            layer += 1
        if layer == len(events):
            events.append({})
        for site in span:
            level[site] = layer
            kind, leg = (
                (operation.kind, sites.index(site)) if site in sites else (None, bonds[site])
            )
            events[layer].setdefault(site, []).append((kind, leg, place))
        for bond, rank in bonds.items():
            grown[layer, bond] = grown.get((layer, bond), 1) * rank
    return [_group(by_site) for by_site in events]


def _group(by_site: dict[int, list[tuple[Kind | None, int, int]]]) -> Layer:
    touched, groups = sorted(by_site), []
    signatures = alike(tuple((kind, leg) for kind, leg, _ in by_site[site]) for site in touched)
    for signature, numbers in signatures.items():
        sites = [touched[number] for number in numbers]
        places = zip(*([place for _, _, place in by_site[site]] for site in sites), strict=True)
        steps = (
            Step.of(kind, leg, row) for (kind, leg), row in zip(signature, places, strict=True)
        )
        groups.append(SiteGroup(tuple(sites), tuple(steps)))
    return tuple(groups)
