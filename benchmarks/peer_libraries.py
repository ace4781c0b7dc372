"""The same circuit on the same input states in other libraries, one function for each.

A new library gets a function here and a line in `PEERS`. Each takes a problem, prepares what its
library wants, and returns a function that simulates the input states of the given numbers and gives
the site tensors `(left, phys, right)` of each, as NumPy arrays. Only that function is timed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads.mps import Circuit, Truncation

Arrays = list[list[np.ndarray]]
Simulation = Callable[[Sequence[int]], Arrays]


@dataclass(frozen=True)
class Problem:
    """Product inputs `(batch, sites, 2)` and brickwork layers, shared by all of them.

    Attributes:
        amplitudes: Input qubits, complex.
        circuit: In each layer a rotation of every site, then controlled gates on the even bonds,
            then on the odd ones.
        parameters: Its angles.
        max_bond: Where to truncate; `None` is exact.
    """

    amplitudes: Tensor
    circuit: Circuit
    parameters: Tensor
    max_bond: int | None

    @property
    def truncation(self) -> Truncation | None:
        """What mpsheads keeps."""
        return None if self.max_bond is None else Truncation(self.max_bond)

    @cached_property
    def gates(self) -> list[tuple[np.ndarray, tuple[int, ...]]]:
        """Matrices in double precision and their sites, in the order of application."""
        matrices = self.circuit.unitaries(self.parameters.detach().double())
        pairs = zip(matrices, self.circuit, strict=True)
        return [(matrix.numpy(), operation.sites) for matrix, operation in pairs]

    @cached_property
    def inputs(self) -> np.ndarray:
        """The input qubits in double precision."""
        return self.amplitudes.to(torch.complex128).numpy()


def with_quimb(problem: Problem) -> Simulation:
    """CircuitMPS of quimb on NumPy arrays."""
    import quimb.tensor as qtn

    limits = {"max_bond": problem.max_bond, "cutoff": 1e-14}

    def simulate(members: Sequence[int]) -> Arrays:
        states = []
        for amplitudes in problem.inputs[list(members)]:
            start = qtn.MPS_product_state(list(amplitudes))
            circuit = qtn.CircuitMPS(psi0=start, gate_opts=limits)
            for matrix, sites in problem.gates:
                circuit.apply_gate_raw(matrix, sites)
            psi = circuit.psi
            psi.permute_arrays("lpr")
            first, *bulk, last = psi.arrays
            states.append([first[None], *bulk, last[..., None]])
        return states

    return simulate


def with_quimb_vmap(problem: Problem) -> Simulation:
    """An MPS of quimb with torch tensors under `torch.func.vmap`, in the inputs' own precision."""
    import quimb.tensor as qtn

    torch.set_flush_denormal(True)  # single precision fails otherwise
    dtype = problem.amplitudes.dtype
    gates = [(torch.from_numpy(matrix).to(dtype), sites) for matrix, sites in problem.gates]

    def one(amplitudes: Tensor) -> tuple[Tensor, ...]:
        psi: Any = qtn.MatrixProductState(
            [amplitudes[0][None], *(a[None, None] for a in amplitudes[1:-1]), amplitudes[-1][None]],
            shape="lrp",
        )
        for matrix, sites in gates:
            if len(sites) == 1:
                psi.gate_(matrix, sites[0], contract=True)
            else:
                options = {"max_bond": problem.max_bond, "cutoff": 0.0}
                psi.gate_(matrix, sites, contract="reduce-split", **options)
        psi.permute_arrays("lpr")
        return psi.arrays

    def simulate(members: Sequence[int]) -> Arrays:
        arrays = torch.func.vmap(one)(problem.amplitudes[list(members)])
        states = []
        for i in range(len(members)):
            first, *bulk, last = (array[i].numpy() for array in arrays)
            states.append([first[None], *bulk, last[..., None]])
        return states

    return simulate


def with_tensornetwork(problem: Problem) -> Simulation:
    """TensorNetwork's FiniteMPS on NumPy, its centre moved along so that it may truncate."""
    import tensornetwork as tn

    limits: dict[str, Any] = {"max_truncation_err": 1e-7}  # a norm: the weight is 1e-14
    if problem.max_bond is not None:
        limits["max_singular_values"] = problem.max_bond
    gates = [(matrix.reshape([2] * (2 * len(sites))), sites) for matrix, sites in problem.gates]

    def simulate(members: Sequence[int]) -> Arrays:
        states = []
        for amplitudes in problem.inputs[list(members)]:
            tensors = [vector.reshape(1, 2, 1) for vector in amplitudes]
            mps = tn.FiniteMPS(tensors, center_position=0, canonicalize=True, backend="numpy")
            for matrix, sites in gates:
                if len(sites) == 1:
                    mps.apply_one_site_gate(matrix, sites[0])
                    continue
                left, right = sites
                mps.position(left)
                mps.apply_two_site_gate(matrix, left, right, center_position=right, **limits)
            states.append(mps.tensors)
        return states

    return simulate


def with_seemps(problem: Problem) -> Simulation:
    """CanonicalMPS of seemps: sweeps to the right over the even bonds, to the left over the odd.

    The rotations are multiplied into the gates beforehand, at no cost.
    """
    from seemps.cython import (  # pyright: ignore[reportMissingImports]
        _contract_nrjl_ijk_klm as pair,
    )
    from seemps.state import (  # pyright: ignore[reportMissingImports]
        MPS,
        CanonicalMPS,
        Strategy,
        Truncation,
    )

    limit: Any = {} if problem.max_bond is None else {"max_bond_dimension": problem.max_bond}
    method = Truncation.RELATIVE_NORM_SQUARED_ERROR
    strategy = Strategy(method=method, tolerance=1e-14, normalize=False, **limit)
    waiting = [np.eye(2)] * problem.circuit.num_sites
    gates = []
    for matrix, sites in problem.gates:
        if len(sites) == 1:
            waiting[sites[0]] = matrix @ waiting[sites[0]]
            continue
        left, right = sites
        fused = matrix @ np.kron(waiting[left], waiting[right])
        waiting[left] = waiting[right] = np.eye(2)
        gates.append((np.ascontiguousarray(fused), left))

    def simulate(members: Sequence[int]) -> Arrays:
        states = []
        for amplitudes in problem.inputs[list(members)]:
            tensors = [np.ascontiguousarray(v.reshape(1, 2, 1)) for v in amplitudes]
            state = CanonicalMPS(MPS(tensors), center=0, strategy=strategy)
            for matrix, left in _in_sweeps(gates):
                nearest = left if state.center <= left else left + 1
                if state.center != nearest:
                    state.recenter(nearest)
                joined = pair(matrix, state[left], state[left + 1])
                move = state.update_2site_right if nearest == left else state.update_2site_left
                move(joined, left, strategy)
            states.append([np.asarray(tensor) for tensor in state])
        return states

    return simulate


def _in_sweeps(gates: list[tuple[np.ndarray, int]]) -> list[tuple[np.ndarray, int]]:
    """Runs of gates on even bonds as they are, on odd bonds from right to left: they commute."""
    ordered: list[tuple[np.ndarray, int]] = []
    run: list[tuple[np.ndarray, int]] = []
    for gate in gates:
        if run and run[-1][1] % 2 != gate[1] % 2:
            ordered += run if run[-1][1] % 2 == 0 else reversed(run)
            run = []
        run.append(gate)
    return ordered + (run if not run or run[-1][1] % 2 == 0 else run[::-1])


def with_qiskit_aer(problem: Problem) -> Simulation:
    """The matrix product state method of Qiskit Aer, with one thread."""
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator  # pyright: ignore[reportMissingImports]

    simulator = AerSimulator(
        method="matrix_product_state",
        matrix_product_state_max_bond_dimension=problem.max_bond,
        matrix_product_state_truncation_threshold=1e-14,
        max_parallel_threads=1,
        fusion_enable=False,
    )
    n = problem.circuit.num_sites
    circuits = []
    for amplitudes in problem.inputs:
        circuit = QuantumCircuit(n)
        for site, (zero, one) in enumerate(amplitudes):  # a unitary whose first column is the qubit
            circuit.unitary(np.array([[zero, -one.conj()], [one, zero.conj()]]), [site])
        for matrix, sites in problem.gates:
            circuit.unitary(matrix, list(sites[::-1]))  # least significant first
        circuit.save_matrix_product_state(label="state")  # pyright: ignore
        circuits.append(circuit)

    def simulate(members: Sequence[int]) -> Arrays:
        states = []
        for member in members:
            gammas, lambdas = simulator.run(circuits[member]).result().data()["state"]
            tensors = [np.stack(pair, axis=1) for pair in gammas]
            for i, values in enumerate(lambdas):
                tensors[i] = tensors[i] * np.asarray(values)
            states.append(tensors)
        return states

    return simulate


PEERS: dict[str, tuple[str, Callable[[Problem], Simulation]]] = {
    "seemps": ("seemps", with_seemps),
    "qiskit-aer": ("qiskit_aer", with_qiskit_aer),
    "quimb": ("quimb", with_quimb),
    "quimb-vmap": ("quimb", with_quimb_vmap),
    "tensornetwork": ("tensornetwork", with_tensornetwork),
}
"""For each library the module that it needs and its function."""
