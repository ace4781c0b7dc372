"""Where features go, the circuit that acts on them, and what each kept qubit sees of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads._constants import indices
from mpsheads.ansatz import brickwork_bonds, irredundant, irredundant_staircase
from mpsheads.encodings import PAULIS
from mpsheads.mps import Circuit, Operation
from mpsheads.mps.gates import FAMILIES
from mpsheads.mps.lightcone import Observable, evolve_cones, find_cones, meet_inputs

_LARGEST_POWER = 40  # of 2: no bond is kept that is half as large
_LARGEST = 1 << 27  # numbers of all evolved observables; above, states are evolved
_FEW_WINDOWS, _MOST_WINDOWS = 1024, 4  # sites of cones of different form; and to one qubit


@dataclass(frozen=True)
class Register:
    """Blocks of qubits side by side, one feature a qubit; the last qubit of each block is kept.

    Every `num_blocks`-th feature goes to one block, as in the paper, so sizes differ by at most
    one; those of the kept qubits are the first `num_blocks`.
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

    @cached_property
    def kept(self) -> list[int]:
        """The last qubit of each block."""
        return [sites[-1] for sites in self.sites]


def head_circuit(ansatz: str | Circuit, register: Register, depth: int, readout: str) -> Circuit:
    """The circuit on all qubits of a register; with "probability" Z alone is read out.

    "staircase" is one in each block, "brickwork" goes across blocks. A circuit is on the qubits of
    one block, or on all, and then taken as it is.
    """
    sizes = {len(block) for block in register.sites}
    if isinstance(ansatz, Circuit):
        if ansatz.num_sites == register.num_sites:
            return ansatz
        if {ansatz.num_sites} != sizes:
            raise ValueError(
                f"`ansatz` must be a circuit on the {' or '.join(map(str, sorted(sizes)))} qubits "
                f"of a block, the same in each, or on all {register.num_sites} qubits, got one on "
                f"{ansatz.num_sites}."
            )
        circuits = {ansatz.num_sites: ansatz}
    else:
        check_choice("ansatz", ansatz, ("staircase", "brickwork"))
        if ansatz == "brickwork":
            bonds = brickwork_bonds(register.num_sites) * depth
            return irredundant(register.num_sites, bonds, register.kept, readout)
        circuits = {size: irredundant_staircase(size, depth, readout) for size in sizes}
    operations: list[Operation] = []
    values: list[float] = []
    for sites in register.sites:  # each block has parameters of its own
        block = circuits[len(sites)]
        for operation in block:
            moved = tuple(sites[site] for site in operation.sites)
            start = operation.start + len(values)
            operations.append(replace(operation, sites=moved, start=start))
        values += block.values
    return Circuit(register.num_sites, tuple(operations), tuple(values))


def needed_bonds(circuit: Circuit) -> list[int]:
    """The bond dimension that each cut needs for exact states.

    The product of the ranks of the gates across the cut, but no more than the qubits on its shorter
    side hold. Cost: O(gates + sites), wherever the gates act.
    """
    steps = [0.0] * circuit.num_sites  # by which the logarithm of the product changes at each cut
    for operation in circuit:
        sites = sorted(operation.sites)
        own = operation.matrix is not None
        ranks = operation.kind.bonds if own else _family_ranks(operation.gate)
        for first, last, rank in zip(sites, sites[1:], ranks, strict=False):
            steps[first] += math.log2(rank)
            steps[last] -= math.log2(rank)
    bonds = [round(2 ** min(power, _LARGEST_POWER)) for power in accumulate(steps[:-1])]
    for order in (range(len(bonds)), range(len(bonds) - 1, -1, -1)):
        before = 1
        for cut in order:
            before = bonds[cut] = min(bonds[cut], 2 * before)
    return bonds


def bond_between(ansatz: str | Circuit, num_sites: int, depth: int) -> int:
    """The bond dimension between blocks; one of a circuit on all `num_sites` may need more."""
    needed = [1 if ansatz == "staircase" else 2**depth]
    if isinstance(ansatz, Circuit) and ansatz.num_sites == num_sites:
        needed += needed_bonds(ansatz)
    return max(needed)


@lru_cache
def _family_ranks(name: str) -> tuple[int, ...]:
    angles = torch.zeros(FAMILIES[name].num_parameters, dtype=torch.float32)  # also where the
    factors = FAMILIES[name].factors(angles)  # default dtype is of 16 bits, as in transformers
    return tuple(factor.shape[-1] for factor in factors[:-1])


def circuit_to_config(circuit: Circuit) -> dict[str, Any]:
    """The circuit in terms of JSON."""
    operations = []
    for op in circuit:
        matrix = op.matrix and [[[z.real, z.imag] for z in map(complex, row)] for row in op.matrix]
        operations.append([op.gate, list(op.sites), op.start, op.adjoint, matrix])
    values = list(circuit.values)
    return {"num_sites": circuit.num_sites, "operations": operations, "values": values}


def circuit_from_config(config: Mapping[str, Any]) -> Circuit:
    """What `circuit_to_config` wrote; `ValueError` if it is something else."""
    operations = []
    try:
        for gate, sites, start, adjoint, matrix in config["operations"]:
            rows = matrix and tuple(tuple(complex(*z) for z in row) for row in matrix)
            operations.append(Operation(gate, tuple(sites), start, adjoint, rows))
        return Circuit(config["num_sites"], tuple(operations), tuple(config["values"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`ansatz` is no circuit as a head writes it: {error!r}.") from error


class KeptObservables:
    """Z of each kept qubit in the Heisenberg picture: light cones, those of one form together.

    Attributes:
        sizes: How many qubits kept ones depend on, ascending.
    """

    def __init__(self, circuit: Circuit, register: Register) -> None:
        self._cones = find_cones(circuit, "Z", tuple((site,) for site in register.kept))
        self._inputs = [cones.window_rows(register.features) for cones in self._cones]
        rows = [row for cones in self._cones for row in cones.rows]
        self._order = sorted(range(len(rows)), key=rows.__getitem__)
        self.sizes = sorted({len(cones.letters) for cones in self._cones})

    def evolve(self, angles: Float[Tensor, " angles"]) -> list[Observable]:
        """The observables evolved backwards through the circuit, those of each form of cone."""
        return [evolve_cones(cones, cones.own(angles), PAULIS) for cones in self._cones]

    def meet(
        self, observables: Sequence[Observable], components: Float[Tensor, "_ features batch"]
    ) -> Float[Tensor, "kept batch"]:
        """Their expectation values in the states of the inputs, `encodings.components`."""
        values = [
            meet_inputs(observable, components, rows)
            for observable, rows in zip(observables, self._inputs, strict=True)
        ]
        if len(values) == 1:
            return values[0]
        return torch.cat(values).index_select(0, indices(self._order, components))


def pays_to_evolve(circuit: Circuit, bonds: Sequence[int], kept: Sequence[int]) -> bool:
    """Whether observables are better evolved than states: they are small, and few differ in form.

    Args:
        circuit: The circuit.
        bonds: What its states need; the bond of an observable is up to the square of that.
        kept: The sites of the observables. Cones of one form are evolved together, others one
            after the other: where every site sees a window of its own, states take less time.
    """
    if 4 * (len(bonds) + 1) * max(bonds, default=1) ** 4 > _LARGEST:
        return False
    sizes: dict[tuple[int, int], int] = {}
    for site in kept:
        _, window = circuit.influences((site,))
        sizes[window.index(site), len(window)] = len(window)
        if sum(sizes.values()) > max(_FEW_WINDOWS, _MOST_WINDOWS * circuit.num_sites):
            return False
    return True
