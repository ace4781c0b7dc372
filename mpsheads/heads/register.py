"""How features are dealt to blocks of qubits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from mpsheads._checks import check_choice
from mpsheads.encodings import ENCODINGS, Encoding

GROUPINGS = ("registers", "neighbours")


@dataclass(frozen=True)
class Register:
    """Blocks of qubits side by side, of which the last qubit each is kept.

    Attributes:
        blocks: The features of each block; those of the kept qubit are the last.
        encoding: How they become qubits.
    """

    blocks: tuple[tuple[int, ...], ...]
    encoding: Encoding

    @cached_property
    def sites(self) -> list[range]:
        """The qubits of each block."""
        sizes = [self.encoding.num_qubits(len(block)) for block in self.blocks]
        if not self.encoding.product:
            sizes = [max(sizes)] * len(sizes)
        stops = list(accumulate(sizes))
        return [range(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]

    @property
    def num_sites(self) -> int:
        """How many qubits there are."""
        return self.sites[-1].stop

    @property
    def places(self) -> list[int]:
        """All features: the last of each block, then those before them, and so on."""
        longest = max(map(len, self.blocks))
        return [
            block[-place]
            for place in range(1, longest + 1)
            for block in self.blocks
            if place <= len(block)
        ]

    @property
    def kept(self) -> list[int]:
        """The last qubit of each block."""
        return [block[-1] for block in self.sites]


def deal(
    in_features: int, num_blocks: int, grouping: str | Sequence[int], encoding: str
) -> Register:
    """Deal features to blocks, whose sizes differ by at most one.

    Args:
        in_features: Number of features.
        num_blocks: Number of blocks.
        grouping: "registers": every `num_blocks`-th feature, as in the paper; "neighbours":
            features in their order; or all features in an order of one's own, cut into blocks.
        encoding: Name of an encoding.

    Raises:
        ValueError: If there are fewer features than blocks, a name is unknown, or an order is none.
    """
    check_choice("encoding", encoding, tuple(ENCODINGS))
    if isinstance(grouping, str):
        check_choice("grouping", grouping, GROUPINGS)
        order: Sequence[int] = range(in_features)
    else:
        order = grouping
        if sorted(order) != list(range(in_features)):
            raise ValueError(
                f"`grouping` must hold each of the features 0..{in_features - 1} once, or be one "
                f"of {', '.join(GROUPINGS)}. `fit_grouping` finds an order in data."
            )
    if grouping == "registers":  # far end first: the kept qubit has the first feature
        blocks = [tuple(range(in_features))[k::num_blocks][::-1] for k in range(num_blocks)]
    else:
        small, larger = divmod(in_features, num_blocks)
        ends = [k * small + min(k, larger) for k in range(num_blocks + 1)]
        blocks = [tuple(order[a:b]) for a, b in pairwise(ends)]
    return Register(tuple(blocks), ENCODINGS[encoding])
