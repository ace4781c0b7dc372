"""Circuits as data: which gate acts where, and which parameters it takes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_choice, check_equal, check_positive
from mpsheads.mps.drawing import draw
from mpsheads.mps.gate_factors import Rows
from mpsheads.mps.gates import CONSTANTS, FAMILIES
from mpsheads.mps.kinds import Group, Kind, kind_of

_UNITARITY = 1e-5  # single precision passes


@dataclass(frozen=True)
class Operation:
    """One gate of a circuit.

    Attributes:
        gate: Name of its family in `mpsheads.mps.gates.FAMILIES`, or "matrix".
        sites: Where it acts, in the order of the gate: (control, target) for a controlled gate.
        start: Index of its first parameter in the circuit's parameter vector.
        adjoint: Whether its adjoint is applied instead.
        matrix: For "matrix", a unitary on one, two or three qubits, row by row.

    Raises:
        ValueError: If the family is unknown, if sites are not as many as it takes or not distinct,
            or if the matrix is not unitary.
    """

    gate: str
    sites: tuple[int, ...]
    start: int
    adjoint: bool = False
    matrix: Rows | None = None

    def __post_init__(self) -> None:
        if self.gate not in FAMILIES:
            check_choice("gate", self.gate, (*FAMILIES, "matrix"))
        if (self.gate == "matrix") != (self.matrix is not None):
            raise ValueError(f'`matrix` goes with gate "matrix" alone, got gate "{self.gate}".')
        if self.matrix is None:
            wanted = FAMILIES[self.gate].num_sites
        else:
            wanted = _check_unitary(self.matrix)
        if len(self.sites) != wanted or len(set(self.sites)) != wanted:
            raise ValueError(f'Gate "{self.gate}" takes {wanted} distinct sites, got {self.sites}.')

    @property
    def num_parameters(self) -> int:
        """How many parameters it takes."""
        return 0 if self.matrix is not None else FAMILIES[self.gate].num_parameters

    @property
    def stop(self) -> int:
        """Index after its last parameter."""
        return self.start + self.num_parameters

    @cached_property
    def kind(self) -> Kind:
        """Hashable: operations of one kind have factors of the same shapes."""
        return kind_of(self)

    def inverse(self) -> "Operation":
        """The inverse, with the same parameters."""
        if self.gate in CONSTANTS and _is_hermitian(CONSTANTS[self.gate]):
            return self
        return replace(self, adjoint=not self.adjoint)


@dataclass(frozen=True)
class Circuit:
    """A list of gates on named sites of a register, applied first to last.

    Attributes:
        num_sites: Size of the register.
        operations: The gates. `Circuit.of` numbers their parameters; operations that name the same
            parameters share them.
        values: The parameters that the circuit came with, all zero unless given.

    Raises:
        ValueError: If sites lie outside the register, or `values` are too few or not finite.
    """

    num_sites: int
    operations: tuple[Operation, ...]
    values: tuple[float, ...] = ()
    _groups: tuple[Group, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(num_sites=self.num_sites)
        places: dict[Kind, list[int]] = {}
        for place, operation in enumerate(self.operations):
            if not all(0 <= site < self.num_sites for site in operation.sites):
                raise ValueError(
                    f"`sites` must lie within 0..{self.num_sites - 1}, got {operation.sites}."
                )
            places.setdefault(operation.kind, []).append(place)
        needed = max((op.stop for op in self.operations if op.num_parameters), default=0)
        values = self.values or (0.0,) * needed
        if len(values) < needed or not all(map(math.isfinite, values)):
            raise ValueError(
                f"`values` must be {needed} finite numbers or more, got {len(values)}, "
                f"{sum(map(math.isfinite, values))} of them finite."
            )
        groups = tuple(Group.of(self.operations, group) for group in places.values())
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_groups", groups)

    @classmethod
    def of(cls, num_sites: int, gates: Iterable[tuple[Any, ...]]) -> "Circuit":
        """A circuit from gates, with parameters in their order.

        Args:
            num_sites: Size of the register.
            gates: `(name, sites)`, `(name, sites, angles)` or `(matrix, sites)`, the matrix a
                tensor or rows of numbers. `sites` is a tuple, or one integer.

        Raises:
            ValueError: If a family is unknown, sites are not as many as it takes, not distinct, or
                outside the register, angles are not as many as it takes, or a matrix is not
                unitary.
        """
        operations: list[Operation] = []
        values: list[float] = []
        for gate, sites, *angles in gates:
            sites = (sites,) if isinstance(sites, int) else tuple(sites)
            if isinstance(gate, str):
                operation = Operation(gate, sites, len(values))
            else:
                operation = Operation("matrix", sites, len(values), matrix=_rows(gate))
            found = [float(a) for a in angles[0]] if angles else [0.0] * operation.num_parameters
            if len(angles) > 1 or len(found) != operation.num_parameters:
                raise ValueError(
                    f'Gate "{operation.gate}" takes {operation.num_parameters} angles in one '
                    f"sequence, got {angles}."
                )
            operations.append(operation)
            values += found
        return cls(num_sites, tuple(operations), tuple(values))

    @property
    def num_parameters(self) -> int:
        """Length of the parameter vector."""
        return len(self.values)

    def parameters(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Float[Tensor, " {self.num_parameters}"]:
        """`values` as a new tensor, to train on."""
        return torch.tensor(self.values, dtype=dtype, device=device)

    def with_parameters(self, parameters: Float[Tensor, " parameters"]) -> "Circuit":
        """The circuit with other `values`."""
        self._check(parameters)
        return replace(self, values=tuple(parameters.detach().double().tolist()))

    def inverse(self) -> "Circuit":
        """The inverse, with the same parameter vector: the adjoint gates, last to first."""
        return replace(self, operations=tuple(op.inverse() for op in reversed(self.operations)))

    def __add__(self, other: "Circuit") -> "Circuit":
        check_equal("number of sites", first=self.num_sites, second=other.num_sites)
        shift = self.num_parameters
        moved = (replace(op, start=op.start + shift) for op in other.operations)
        return Circuit(self.num_sites, (*self.operations, *moved), self.values + other.values)

    def on(self, sites: Sequence[int], num_sites: int) -> "Circuit":
        """The circuit on some sites of another register.

        Args:
            sites: For each of its sites, the one that it goes to.
            num_sites: Size of the new register.

        Raises:
            ValueError: If sites are not as many as the circuit has, not distinct, or outside.
        """
        check_equal("number of sites", circuit=self.num_sites, sites=len(set(sites)))
        check_equal("number of sites", circuit=self.num_sites, sites=len(sites))
        moved = (replace(op, sites=tuple(sites[i] for i in op.sites)) for op in self.operations)
        return Circuit(num_sites, tuple(moved), self.values)

    def light_cone(self, sites: Sequence[int]) -> "tuple[Circuit, tuple[int, ...]]":
        """The operations that can influence what is measured on some sites.

        Args:
            sites: The sites that are measured, at least one.

        Returns:
            Those operations as a circuit on sites 0..k-1, with the same parameter vector, and the
            k sites of this register that they act on, in ascending order; `sites` are among them.
        """
        window, kept = set(sites), []
        if not window or not all(0 <= site < self.num_sites for site in window):
            raise ValueError(f"`sites` must lie within 0..{self.num_sites - 1}, got {sites}.")
        for operation in reversed(self.operations):
            if not window.isdisjoint(operation.sites):
                window.update(operation.sites)
                kept.append(operation)
        old = tuple(sorted(window))
        new = {site: i for i, site in enumerate(old)}
        moved = (replace(op, sites=tuple(new[i] for i in op.sites)) for op in reversed(kept))
        return Circuit(len(old), tuple(moved), self.values), old

    def factors(self, parameters: Float[Tensor, "*b parameters"]) -> dict[Kind, tuple[Tensor, ...]]:
        """All gates as matrix product operators, computed together for each kind.

        Args:
            parameters: `(num_parameters,)` or `(batch, num_parameters)`.

        Returns:
            For each kind of operation a tensor `(count, b, left, out, in, right)` for each of its
            sites, from left to right in the register, in the order of the operations of that kind.
            b is the batch of parameters, or 1. Outer bonds are 1, inner ones the gate's exact
            operator-Schmidt rank, adjoints are applied.

        Raises:
            ValueError: If there are more or fewer parameters than the circuit takes.
        """
        self._check(parameters)
        batch = parameters if parameters.ndim == 2 else parameters[None]
        return {group.kind: group.factors(batch) for group in self._groups}

    def unitaries(self, parameters: Float[Tensor, "*b parameters"]) -> list[Tensor]:
        """The matrix `(*b, 2**k, 2**k)` of each operation, the first site named most significant.

        Raises:
            ValueError: If there are more or fewer parameters than the circuit takes.
        """
        self._check(parameters)
        batch = parameters if parameters.ndim == 2 else parameters[None]
        matrices: list[Tensor] = [batch] * len(self)
        for group in self._groups:
            found = group.unitaries(batch)
            for place, matrix in zip(group.places, found.unbind(0), strict=True):
                matrices[place] = matrix if parameters.ndim == 2 else matrix[0]
        return matrices

    @classmethod
    def from_qasm(cls, text: str) -> "Circuit":
        """A circuit from OpenQASM 2 or 3, as Qiskit reads it; the same up to a global phase.

        Args:
            text: The program. Qubit i becomes site i, registers follow each other. Barriers are
                left out; gates without a counterpart here are taken apart.

        Raises:
            ImportError: If Qiskit is not installed.
            ValueError: If the program is not OpenQASM, or does more than apply gates.
        """
        from mpsheads.interop.qiskit import from_qasm

        return from_qasm(text)

    def to_qasm(self, version: int = 3, parameters: Tensor | None = None) -> str:
        """The circuit as OpenQASM, as Qiskit writes it; the same up to a global phase.

        Gates without a counterpart there go out as rotations and CX gates.

        Args:
            version: 2 or 3.
            parameters: `(num_parameters,)`; `values` if `None`.

        Raises:
            ImportError: If Qiskit is not installed.
            ValueError: If the parameters are not as many as the circuit takes.
        """
        from mpsheads.interop.qiskit import to_qasm

        return to_qasm(self, version, parameters)

    def _check(self, parameters: Tensor) -> None:
        if parameters.ndim not in (1, 2) or parameters.shape[-1] != self.num_parameters:
            raise ValueError(
                f"`parameters` must hold {self.num_parameters} numbers on the last axis, as "
                f"({self.num_parameters},) or (batch, {self.num_parameters}), "
                f"got {tuple(parameters.shape)}."
            )

    def draw(self, width: int = 100) -> str:
        """The circuit as a picture of text: wires, boxes, controls, time from left to right.

        Args:
            width: Characters a line; longer circuits go on below. A column is never broken.
        """
        return draw(self, width)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        lines = [
            f"{op.gate}{' adjoint' * op.adjoint} on {', '.join(map(str, op.sites))}"
            for op in self.operations
        ]
        return "\n".join([f"{self.num_sites} sites, {self.num_parameters} parameters", *lines])


def _rows(matrix: Any) -> Rows:
    """A matrix of any kind as nested tuples of Python's complex numbers."""
    if isinstance(matrix, Tensor):
        matrix = matrix.detach().cpu().numpy()
    array = np.asarray(matrix, dtype=np.complex128)
    if array.ndim != 2:
        raise ValueError(f"`matrix` must have two axes, got {array.ndim}.")
    return tuple(map(tuple, array.tolist()))


def _check_unitary(rows: Rows) -> int:
    """The number of sites of a unitary matrix; raises for any other."""
    size = len(rows)
    if size not in (2, 4, 8) or any(len(row) != size for row in rows):
        raise ValueError(f"`matrix` must be 2 x 2, 4 x 4 or 8 x 8, got {size} rows.")
    matrix = np.array(rows)
    deviation = np.abs(matrix.conj().T @ matrix - np.eye(size)).max()
    if not deviation <= _UNITARITY:  # true for NaN
        raise ValueError(
            f"`matrix` must be unitary, but its adjoint times itself differs from 1 by up to "
            f"{deviation:.3g}."
        )
    return size.bit_length() - 1


def _is_hermitian(rows: Rows) -> bool:
    matrix = np.array(rows)
    return bool((matrix == matrix.conj().T).all())
