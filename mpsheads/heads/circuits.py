"""The circuit of a head: from the name of an ansatz, or from a circuit of the user's."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from mpsheads._checks import check_choice
from mpsheads.ansatz import brickwork_bonds, irredundant, irredundant_staircase
from mpsheads.heads.register import Register
from mpsheads.mps import Circuit, Operation
from mpsheads.mps.gates import FAMILIES

ANSATZE = ("staircase", "brickwork")


def head_circuit(ansatz: str | Circuit, register: Register, depth: int, readout: str) -> Circuit:
    """The circuit on all qubits of a register.

    Args:
        ansatz: "staircase", in each block; "brickwork", across blocks; or a circuit on the qubits
            of one block, or on all qubits, which is taken as it is.
        register: The qubits.
        depth: Layers of a named ansatz.
        readout: "state", or "probability" if Z alone of each kept qubit is read out.

    Raises:
        ValueError: If the name is unknown, or the circuit fits neither a block nor all qubits.
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
        return _in_each_block({ansatz.num_sites: ansatz}, register)
    check_choice("ansatz", ansatz, ANSATZE)
    if ansatz == "brickwork":
        bonds = brickwork_bonds(register.num_sites) * depth
        return irredundant(register.num_sites, bonds, register.kept, readout)
    blocks = {size: irredundant_staircase(size, depth, readout) for size in sizes}
    return _in_each_block(blocks, register)


def _in_each_block(blocks: Mapping[int, Circuit], register: Register) -> Circuit:
    """A circuit for each size of block, with parameters of its own in each block."""
    operations: list[Operation] = []
    values: list[float] = []
    for sites in register.sites:
        block = blocks[len(sites)]
        for operation in block:
            moved = tuple(sites[site] for site in operation.sites)
            start = operation.start + len(values)
            operations.append(replace(operation, sites=moved, start=start))
        values += block.values
    return Circuit(register.num_sites, tuple(operations), tuple(values))


def needed_bonds(circuit: Circuit) -> list[int]:
    """The bond dimension that each cut needs for exact states.

    The product of the ranks of the gates across the cut, but no more than the qubits on its shorter
    side hold.
    """
    bonds = [1] * (circuit.num_sites - 1)
    for operation in circuit:
        sites = sorted(operation.sites)
        for first, last, rank in zip(sites, sites[1:], _ranks(operation), strict=False):
            for cut in range(first, last):
                bonds[cut] *= rank
    for order in (range(len(bonds)), range(len(bonds) - 1, -1, -1)):
        before = 1
        for cut in order:
            before = bonds[cut] = min(bonds[cut], 2 * before)
    return bonds


def _ranks(operation: Operation) -> tuple[int, ...]:
    return operation.kind.bonds if operation.matrix is not None else _family_ranks(operation.gate)


@lru_cache
def _family_ranks(name: str) -> tuple[int, ...]:
    factors = FAMILIES[name].factors(torch.zeros(FAMILIES[name].num_parameters))
    return tuple(factor.shape[-1] for factor in factors[:-1])


def circuit_to_config(circuit: Circuit) -> dict[str, Any]:
    """The circuit in terms of JSON."""
    operations = []
    for op in circuit:
        matrix = op.matrix and [[[z.real, z.imag] for z in map(complex, row)] for row in op.matrix]
        operations.append([op.gate, list(op.sites), op.start, op.adjoint, matrix])
    return {
        "num_sites": circuit.num_sites,
        "operations": operations,
        "values": list(circuit.values),
    }


def circuit_from_config(config: Mapping[str, Any]) -> Circuit:
    """What `circuit_to_config` wrote."""
    operations = []
    for gate, sites, start, adjoint, matrix in config["operations"]:
        rows = matrix and tuple(tuple(complex(*z) for z in row) for row in matrix)
        operations.append(Operation(gate, tuple(sites), start, adjoint, rows))
    return Circuit(config["num_sites"], tuple(operations), tuple(config["values"]))
