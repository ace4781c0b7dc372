"""Circuits as data: which gate acts where, and which parameters it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_choice, check_positive
from mpsheads.mps.gates import FAMILIES


@dataclass(frozen=True)
class Operation:
    """One gate of a circuit.

    Attributes:
        gate: Name of its family in `mpsheads.mps.gates.FAMILIES`.
        sites: Where it acts; (control, target) for a controlled gate.
        start: Index of its first parameter in the circuit's parameter vector.
    """

    gate: str
    sites: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """Index after its last parameter."""
        return self.start + FAMILIES[self.gate].num_parameters


@dataclass(frozen=True)
class Circuit:
    """A list of gates on named sites of a register, applied first to last.

    Attributes:
        n_sites: Size of the register.
        operations: The gates. `Circuit.of` numbers their parameters.
    """

    n_sites: int
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, n_sites: int, gates: Iterable[tuple[str, tuple[int, ...]]]) -> "Circuit":
        """A circuit from pairs of (family, sites), with parameters in the order of the gates.

        Raises:
            ValueError: If a family is unknown, or sites are not as many as it takes, not distinct,
                or outside the register.
        """
        check_positive(n_sites=n_sites)
        operations: list[Operation] = []
        start = 0
        for gate, sites in gates:
            check_choice("gate", gate, tuple(FAMILIES))
            if len(sites) != FAMILIES[gate].num_sites or len(set(sites)) != len(sites):
                wanted = FAMILIES[gate].num_sites
                raise ValueError(f'Gate "{gate}" takes {wanted} distinct sites, got {sites}.')
            if not all(0 <= site < n_sites for site in sites):
                raise ValueError(f"`sites` must lie within 0..{n_sites - 1}, got {sites}.")
            operations.append(Operation(gate, tuple(sites), start))
            start = operations[-1].stop
        return cls(n_sites, tuple(operations))

    @property
    def num_parameters(self) -> int:
        """Length of the parameter vector."""
        return self.operations[-1].stop if self.operations else 0

    def matrices(self, parameters: Float[Tensor, "*b parameters"]) -> dict[str, Tensor]:
        """The matrices of all gates, computed once for each family.

        Args:
            parameters: `(*b, num_parameters)`.

        Returns:
            For each family in the circuit `(gates, *b, 2, 2)`, in the order of the operations: of a
            controlled gate the matrix on its target.

        Raises:
            ValueError: If there are more or fewer parameters than the circuit takes.
        """
        if parameters.shape[-1] != self.num_parameters:
            raise ValueError(
                f"`parameters` must hold {self.num_parameters} numbers on the last axis, "
                f"got {parameters.shape[-1]}."
            )
        starts: dict[str, list[int]] = {}
        for operation in self.operations:
            starts.setdefault(operation.gate, []).append(operation.start)
        matrices = {}
        for gate, first in starts.items():
            columns = torch.tensor(first)[:, None] + torch.arange(FAMILIES[gate].num_parameters)
            angles = parameters[..., columns.to(parameters.device)].movedim(-2, 0)
            matrices[gate] = FAMILIES[gate].matrix(angles)
        return matrices

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        lines = [f"{op.gate} on {', '.join(map(str, op.sites))}" for op in self.operations]
        return "\n".join([f"{self.n_sites} sites, {self.num_parameters} parameters", *lines])
