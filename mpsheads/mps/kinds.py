"""Operations of a circuit that are computed together, as one batch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads.mps.gate_factors import (
    Rows,
    adjoint,
    complex_of,
    constant_factors,
    mirror,
    reorder,
    split,
)
from mpsheads.mps.gates import CONSTANTS, FAMILIES

if TYPE_CHECKING:
    from mpsheads.mps.circuit import Operation


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


def kind_of(operation: "Operation") -> Kind:
    """The kind of an operation."""
    order = tuple(sorted(range(len(operation.sites)), key=operation.sites.__getitem__))
    bonds = ()
    if operation.matrix is not None:
        factors = constant_factors(_sorted_rows(operation.matrix, order))
        bonds = tuple(factor.shape[-1] for factor in factors[:-1])
    return Kind(operation.gate, operation.adjoint, order, bonds)


@dataclass(frozen=True, eq=False)
class Group:
    """All operations of one kind in a circuit.

    Attributes:
        kind: Their kind.
        places: Their places in the circuit.
        index: One array `(count, num_parameters of the family)`: which parameters each takes.
        matrices: Where they take none, one array `(count or 1, 1, 2**k, 2**k)`, and
        constants: the factors `(count or 1, 1, left, out, in, right)`. All stay in NumPy, which no
            transform of torch sees.
    """

    kind: Kind
    places: tuple[int, ...]
    index: tuple[np.ndarray, ...] = ()
    matrices: tuple[np.ndarray, ...] = ()
    constants: tuple[np.ndarray, ...] = ()
    _cache: dict[object, tuple[Tensor, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, operations: "tuple[Operation, ...]", places: list[int]) -> "Group":
        """The operations at `places`, all of one kind."""
        members = [operations[place] for place in places]
        kind = members[0].kind
        count = members[0].num_parameters
        if count:
            starts = np.array([member.start for member in members])
            return cls(kind, tuple(places), index=(starts[:, None] + np.arange(count),))
        rows = [member.matrix for member in members if member.matrix is not None]
        rows = rows or [CONSTANTS[kind.gate]]
        factors = [constant_factors(_sorted_rows(matrix, kind.order)) for matrix in rows]
        stacked = tuple(np.stack(column)[:, None] for column in zip(*factors, strict=True))
        matrices = np.array(rows, dtype=np.complex128)[:, None]
        if kind.adjoint:
            matrices = matrices.conj().swapaxes(-2, -1).copy()
            stacked = tuple(factor.conj().swapaxes(-3, -2).copy() for factor in stacked)
        return cls(kind, tuple(places), matrices=(matrices,), constants=stacked)

    def factors(self, parameters: Float[Tensor, "b parameters"]) -> tuple[Tensor, ...]:
        """One tensor `(count, b or 1, left, out, in, right)` for each site, from left to right."""
        if not self.index:
            constants = self._load("constants", parameters)
            return tuple(c.expand(len(self.places), *c.shape[1:]) for c in constants)
        family, order = FAMILIES[self.kind.gate], self.kind.order
        angles = self._angles(parameters)
        if order == tuple(range(len(order))):
            factors = family.factors(angles)
        elif order == tuple(reversed(range(len(order)))):
            factors = mirror(family.factors(angles))
        else:
            factors = split(reorder(family.matrix(angles), order))
        return adjoint(factors) if self.kind.adjoint else factors

    def unitaries(self, parameters: Float[Tensor, "b parameters"]) -> Tensor:
        """The full matrices `(count, b, 2**k, 2**k)`, the first site named most significant."""
        if not self.index:
            (matrices,) = self._load("matrices", parameters)
            return matrices.expand(len(self.places), len(parameters), *matrices.shape[2:])
        matrices = FAMILIES[self.kind.gate].matrix(self._angles(parameters))
        return matrices.mT.conj() if self.kind.adjoint else matrices

    def _angles(self, parameters: Tensor) -> Float[Tensor, "count b angles"]:
        (index,) = self._load("index", parameters)
        angles = parameters.index_select(1, index.flatten())  # faster than parameters[:, index]
        return angles.unflatten(1, index.shape).movedim(1, 0)

    def _load(self, name: str, parameters: Tensor) -> tuple[Tensor, ...]:
        """Arrays as tensors that fit the parameters; copies on a GPU are kept."""
        arrays, device = getattr(self, name), parameters.device
        dtype = torch.int64 if name == "index" else complex_of(parameters.dtype)
        if (name, device, dtype) in self._cache:
            return self._cache[name, device, dtype]
        tensors = tuple(torch.from_numpy(array).to(device, dtype) for array in arrays)
        if device.type != "cpu" and is_concrete(parameters) and is_concrete(tensors[0]):
            self._cache[name, device, dtype] = tensors
        return tensors


def _sorted_rows(rows: Rows, order: tuple[int, ...]) -> Rows:
    """The matrix with its sites from left to right."""
    if order == tuple(range(len(order))):
        return rows
    k = len(order)
    legs = np.array(rows, dtype=np.complex128).reshape([2] * (2 * k))
    matrix = legs.transpose(*order, *(k + i for i in order)).reshape(2**k, 2**k)
    return tuple(map(tuple, matrix.tolist()))
