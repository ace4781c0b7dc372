"""Circuits as data: which gate acts where, and which parameters it takes."""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import as_integers, check_equal, check_positive
from mpsheads.mps.drawing import draw
from mpsheads.mps.gate_factors import Rows
from mpsheads.mps.operation import Kind, Operation, OperationBatch


@dataclass(frozen=True, init=False)
class Circuit:
    """A list of gates on named sites of a register, applied first to last.

    Attributes:
        num_sites: Size of the register.
        operations: The gates. Operations that name the same parameters share them.
        values: The parameters that the circuit came with, all zero unless given.
    """

    num_sites: int
    operations: tuple[Operation, ...]
    values: tuple[float, ...]
    _batches: tuple[OperationBatch, ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        num_sites: int,
        operations: Iterable[Operation | tuple[Any, ...]],
        values: Iterable[float] = (),
    ) -> None:
        """A circuit from operations, or from gates whose parameters are numbered in their order.

        Args:
            num_sites: Size of the register.
            operations: `Operation`s, or gates `(name, sites)`, `(name, sites, angles)` or
                `(matrix, sites)`, the matrix a tensor or rows of numbers. `sites` is a tuple, or
                one integer.
            values: All parameters; by default the gates' angles, zero where they give none.

        Raises:
            ValueError: If a family is unknown, sites are not as many as it takes, not distinct, or
                outside the register, angles are not as many as it takes, a matrix is not unitary,
                or `values` are too few or not finite.
        """
        check_positive(num_sites=num_sites)
        numbered, angles = _number(operations)
        for operation in numbered:
            if not all(0 <= site < num_sites for site in operation.sites):
                raise ValueError(
                    f"`sites` must lie within 0..{num_sites - 1}, got {operation.sites}."
                )
        values = tuple(values) or angles
        if len(values) < len(angles) or not all(map(math.isfinite, values)):
            raise ValueError(
                f"`values` must be {len(angles)} finite numbers or more, got {len(values)}, "
                f"{sum(map(math.isfinite, values))} of them finite."
            )
        fields = {"num_sites": num_sites, "operations": numbered, "values": values}
        fields |= {"_batches": OperationBatch.all_of(numbered)}
        fields |= {"_hash": hash((num_sites, numbered, values))}  # once: functions are cached by it
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Made anew where it is unpickled: another process has other hashes."""
        return Circuit, (self.num_sites, self.operations, self.values)

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
        if not isinstance(other, Circuit):
            return NotImplemented
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
        sites = as_integers("sites", sites)
        check_equal("number of sites", circuit=self.num_sites, sites=len(set(sites)))
        check_equal("number of sites", circuit=self.num_sites, sites=len(sites))
        moved = (replace(op, sites=tuple(sites[i] for i in op.sites)) for op in self.operations)
        return Circuit(num_sites, moved, self.values)

    def light_cone(self, sites: Sequence[int]) -> "tuple[Circuit, tuple[int, ...]]":
        """The operations that can influence what is measured on some sites.

        Args:
            sites: The sites that are measured, at least one.

        Returns:
            Those operations as a circuit on sites 0..k-1, with the same parameter vector, and the
            k sites of this register that they act on, in ascending order; `sites` are among them.
        """
        sites = as_integers("sites", sites)
        if not sites or not all(0 <= site < self.num_sites for site in sites):
            raise ValueError(f"`sites` must lie within 0..{self.num_sites - 1}, got {sites}.")
        operations, old = self.influences(sites)
        new = {site: i for i, site in enumerate(old)}
        moved = (replace(op, sites=tuple(new[i] for i in op.sites)) for op in operations)
        return Circuit(len(old), moved, self.values), old

    def influences(self, sites: Sequence[int]) -> tuple[list[Operation], tuple[int, ...]]:
        """`light_cone` on the sites of this register; no look at other gates, no checks."""
        on_site = _places_on_sites(self)
        window: set[int] = set()
        waiting: list[int] = []  # a heap of places in the circuit, the last first
        found: list[int] = []

        def enter(site: int, before: int) -> None:
            window.add(site)
            for place in on_site[site]:
                if place < before:
                    heapq.heappush(waiting, -place)

        for site in sites:
            enter(site, len(self))
        while waiting:
            place = -heapq.heappop(waiting)
            if found and found[-1] == place:
                continue
            found.append(place)
            for site in self.operations[place].sites:
                if site not in window:
                    enter(site, place)
        return [self.operations[place] for place in reversed(found)], tuple(sorted(window))

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
        batch = self.given(parameters, parameters)
        return {group.kind: group.factors(batch) for group in self._batches}

    def unitaries(self, parameters: Float[Tensor, "*b parameters"]) -> list[Tensor]:
        """The matrix `(*b, 2**k, 2**k)` of each operation, the first site named most significant.

        Raises:
            ValueError: If there are more or fewer parameters than the circuit takes.
        """
        self._check(parameters)
        return [op.unitary(parameters[..., op.start : op.stop]) for op in self.operations]

    def given(self, parameters: Tensor | None, like: Tensor) -> Float[Tensor, "b parameters"]:
        """Parameters as a batch, by default `values`, beside a tensor of some dtype and device."""
        if parameters is None:
            return self.parameters(like.dtype, like.device)[None]
        self._check(parameters)
        check_equal("device", parameters=parameters.device, states=like.device)
        return parameters if parameters.ndim == 2 else parameters[None]

    def _check(self, parameters: Tensor) -> None:
        if parameters.dtype == torch.float16:
            raise TypeError("`parameters` must be float32 or float64, got torch.float16.")
        n = self.num_parameters
        if parameters.ndim not in (1, 2) or parameters.shape[-1] != n:
            raise ValueError(
                f"`parameters` must hold {n} numbers on the last axis, as ({n},) or (batch, {n}), "
                f"got {tuple(parameters.shape)}."
            )

    def draw(self, width: int = 100) -> str:
        """The circuit as a picture of text: wires, boxes, controls, time from left to right.

        Args:
            width: Characters a line; longer circuits go on below. A column is never broken.
        """
        return draw(self, self.num_sites, width)

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


@lru_cache(maxsize=8)
def _places_on_sites(circuit: Circuit) -> list[list[int]]:
    """For each site the places of the operations on it, first to last."""
    on_site: list[list[int]] = [[] for _ in range(circuit.num_sites)]
    for place, operation in enumerate(circuit):
        for site in operation.sites:
            on_site[site].append(place)
    return on_site


def _number(
    operations: Iterable[Operation | tuple[Any, ...]],
) -> tuple[tuple[Operation, ...], tuple[float, ...]]:
    """Operations, and all their parameters: each gate's come after those of the ones before it."""
    numbered: list[Operation] = []
    values: list[float] = []
    for operation in operations:
        if isinstance(operation, Operation):
            numbered.append(operation)
            if operation.num_parameters:
                values += [0.0] * (operation.stop - len(values))
            continue
        if not isinstance(operation, tuple | list) or len(operation) not in (2, 3):
            raise TypeError(
                f"`operations` must be `Operation`s, (name or matrix, sites), or (name, sites, "
                f"angles), got {operation!r}."
            )
        gate, sites, *angles = operation
        sites = as_integers("sites", sites)
        if isinstance(gate, str):
            operation = Operation(gate, sites, len(values))
        else:
            operation = Operation("matrix", sites, len(values), matrix=_rows(gate))
        given = angles[0] if angles else [0.0] * operation.num_parameters
        own = _numbers("angles", given, float).ravel().tolist()
        if len(own) != operation.num_parameters:
            raise ValueError(
                f'Gate "{operation.gate}" takes {operation.num_parameters} angles, got {own}.'
            )
        numbered.append(operation)
        values += own
    return tuple(numbered), tuple(values)


def _rows(matrix: Any) -> Rows:
    """A matrix of any kind as nested tuples of Python's complex numbers."""
    array = _numbers("matrix", matrix, np.complex128)
    if array.ndim != 2:
        raise ValueError(f"`matrix` must have two axes, got {array.ndim}.")
    return tuple(map(tuple, array.tolist()))


def _numbers(name: str, values: Any, dtype: type) -> np.ndarray:
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be numbers, got {values!r}.") from None
