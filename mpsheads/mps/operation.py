"""Operations: one gate of a circuit each, and the batches in which their tensors are computed."""

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import as_integers, check_choice, is_traced
from mpsheads._constants import constant, indices
from mpsheads.mps.chain import alike
from mpsheads.mps.gate_factors import (
    Rows,
    adjoint,
    complex_of,
    constant_factors,
    mirror,
    reorder,
    split,
)
from mpsheads.mps.gates import CONSTANTS, FAMILIES, constant_matrix

_UNITARITY = 1e-5  # single precision passes


class Kind(NamedTuple):
    """What operations have in common whose factors have the same shapes.

    Attributes:
        gate: Name of the family, or "matrix".
        adjoint: Whether its adjoint is applied.
        order: For each of its sites from left to right, the place at which the operation names it.
        bonds: Inner bonds of the factors of a "matrix"; empty for a family.
    """

    gate: str
    adjoint: bool
    order: tuple[int, ...]
    bonds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One gate of a circuit.

    Attributes:
        gate: Name of its family in `mpsheads.mps.gates.FAMILIES`, or "matrix".
        sites: Where it acts, in the order of the gate: (control, target) for a controlled gate.
        start: Index of its first parameter in the circuit's parameter vector.
        adjoint: Whether its adjoint is applied instead.
        matrix: For "matrix", a unitary on one, two or three qubits, row by row.
        kind: Operations of one kind have factors of the same shapes.

    Raises:
        ValueError: If the family is unknown, if sites are not as many as it takes or not distinct,
            or if the matrix is not unitary.
    """

    gate: str
    sites: tuple[int, ...]
    start: int
    adjoint: bool = False
    matrix: Rows | None = None
    kind: Kind = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", as_integers("sites", self.sites))
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
        order = tuple(sorted(range(wanted), key=self.sites.__getitem__))
        bonds: tuple[int, ...] = ()
        if self.matrix is not None:
            factors = constant_factors(_sorted_rows(self.matrix, order))
            bonds = tuple(factor.shape[-1] for factor in factors[:-1])
        object.__setattr__(self, "kind", Kind(self.gate, self.adjoint, order, bonds))

    @property
    def num_parameters(self) -> int:
        """How many parameters it takes."""
        return 0 if self.matrix is not None else FAMILIES[self.gate].num_parameters

    @property
    def stop(self) -> int:
        """Index after its last parameter."""
        return self.start + self.num_parameters

    def unitary(self, angles: Float[Tensor, "*b angles"]) -> Complex[Tensor, "*b levels levels"]:
        """Its matrix, the first site named most significant."""
        if self.matrix is None:
            matrix = FAMILIES[self.gate].matrix(angles)
        else:
            matrix = constant_matrix(self.matrix, angles)
        return matrix.mH.resolve_conj() if self.adjoint else matrix

    def inverse(self) -> "Operation":
        """The inverse, with the same parameters."""
        matrix = np.array(CONSTANTS.get(self.gate, [[1j]]))
        if (matrix == matrix.conj().T).all():
            return self
        return replace(self, adjoint=not self.adjoint)


@dataclass(frozen=True, eq=False)
class OperationBatch:
    """All operations of one kind in a circuit, computed together.

    Attributes:
        kind: Their kind.
        count: How many they are.
        index: Which parameters they take, those of each together.
        constants: Where they take none, the factors `(count or 1, 1, left, out, in, right)`, in
            NumPy, which no transform of torch sees.
    """

    kind: Kind
    count: int
    index: tuple[int, ...] = ()
    constants: tuple[np.ndarray, ...] = ()

    @classmethod
    def all_of(cls, operations: tuple[Operation, ...]) -> "tuple[OperationBatch, ...]":
        """The operations of a circuit, one batch for each kind."""
        kinds = alike(operation.kind for operation in operations)
        return tuple(
            cls._of(kind, [operations[place] for place in places]) for kind, places in kinds.items()
        )

    @classmethod
    def _of(cls, kind: Kind, members: list[Operation]) -> "OperationBatch":
        if members[0].num_parameters:
            places = (range(member.start, member.stop) for member in members)
            return cls(kind, len(members), index=tuple(chain.from_iterable(places)))
        rows = [member.matrix for member in members if member.matrix is not None]
        rows = rows or [CONSTANTS[kind.gate]]
        factors = [constant_factors(_sorted_rows(matrix, kind.order)) for matrix in rows]
        stacked = tuple(np.stack(column)[:, None] for column in zip(*factors, strict=True))
        if kind.adjoint:
            stacked = tuple(factor.conj().swapaxes(-3, -2).copy() for factor in stacked)
        return cls(kind, len(members), constants=stacked)

    def factors(self, parameters: Float[Tensor, "b parameters"]) -> tuple[Tensor, ...]:
        """One tensor `(count, b or 1, left, out, in, right)` for each site, from left to right."""
        if not self.index:
            dtype = complex_of(parameters.dtype)
            if is_traced(parameters):
                constants = [
                    torch.from_numpy(array).to(parameters.device, dtype) for array in self.constants
                ]
            else:
                legs = range(len(self.constants))
                constants = [_constant(self, leg, like=parameters, dtype=dtype) for leg in legs]
            return tuple(c.expand(self.count, *c.shape[1:]) for c in constants)
        family, order = FAMILIES[self.kind.gate], self.kind.order
        angles = parameters.index_select(1, indices(self.index, parameters))
        angles = angles.unflatten(1, (self.count, -1)).movedim(1, 0)
        if order == tuple(range(len(order))):
            factors = family.factors(angles)
        elif order == tuple(reversed(range(len(order)))):
            factors = mirror(family.factors(angles))
        else:
            factors = split(reorder(family.matrix(angles), order))
        return adjoint(factors) if self.kind.adjoint else factors


@constant
def _constant(operations: OperationBatch, leg: int) -> np.ndarray:
    """What one leg of operations without parameters is."""
    return operations.constants[leg]


def _sorted_rows(rows: Rows, order: tuple[int, ...]) -> Rows:
    """The matrix with its sites from left to right."""
    if order == tuple(range(len(order))):
        return rows
    matrix = reorder(torch.tensor(rows, dtype=torch.complex128), order)
    return tuple(map(tuple, matrix.tolist()))


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
