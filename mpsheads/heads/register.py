"""How features are dealt to blocks of qubits."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Register:
    """Blocks of qubits side by side, one feature a qubit; the last qubit of each block is kept.

    Every `num_blocks`-th feature goes to one block, as in the paper, so sizes differ by at most
    one; those of the kept qubits are the first `num_blocks`.

    Attributes:
        num_sites: How many features, and qubits, there are.
        num_blocks: How many blocks.
    """

    num_sites: int
    num_blocks: int

    @cached_property
    def blocks(self) -> list[range]:
        """The features of each block, far end first."""
        return [range(self.num_sites)[k :: self.num_blocks][::-1] for k in range(self.num_blocks)]

    @cached_property
    def sites(self) -> list[range]:
        """The qubits of each block."""
        stops = accumulate(map(len, self.blocks))
        return [range(stop - len(b), stop) for b, stop in zip(self.blocks, stops, strict=True)]

    @cached_property
    def features(self) -> list[int]:
        """The feature of each qubit."""
        return [feature for block in self.blocks for feature in block]

    @property
    def kept(self) -> list[int]:
        """The last qubit of each block."""
        return [sites[-1] for sites in self.sites]
