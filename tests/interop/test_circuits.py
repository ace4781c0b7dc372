"""Circuits that go to another package and come back do the same to a state."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import brickwork, ghz
from mpsheads.interop import from_qasm, from_qiskit, to_qasm, to_qiskit, to_quimb_gates
from mpsheads.mps import Circuit, gates
from tests.later import Later
from tests.strategies import circuits, dense_circuit

pytestmark = pytest.mark.slow

qiskit = Later("qiskit")
qtn = Later("quimb.tensor")
info = Later("qiskit.quantum_info")

ANY = circuits(max_sites=5, max_gates=10)
EVERY = [(name, tuple(range(family.num_sites))) for name, family in gates.FAMILIES.items()]


def angled(circuit, seed=3):
    generator = torch.Generator().manual_seed(seed)
    angles = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    return circuit.with_parameters(3 * angles)


def dense_state(circuit, parameters=None):
    """The circuit on a product state without symmetry, by the oracle."""
    vector = oracle.product_vector(start(circuit.num_sites))
    parameters = circuit.parameters(torch.float64) if parameters is None else parameters
    return dense_circuit(vector, circuit, parameters)


def start(n_sites):
    angles = torch.arange(1, n_sites + 1, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], -1).to(torch.complex128)


def state_of_qiskit(circuit):
    """The same by Qiskit, its amplitudes with qubit 0 most significant."""
    little = oracle.product_vector(start(circuit.num_qubits).flip(0))
    evolved = info.Statevector(little.numpy()).evolve(circuit)
    return torch.from_numpy(evolved.reverse_qargs().data)


def assert_same_up_to_phase(found, expected):
    phase = torch.vdot(found, expected)
    assert_close(found * (phase / phase.abs()), expected, atol=1e-9, rtol=0)


@given(circuit=ANY)
def test_qiskit_computes_the_same_state_global_phase_included(circuit):
    assert_close(state_of_qiskit(to_qiskit(circuit)), dense_state(circuit))


@pytest.mark.parametrize("gate", EVERY, ids=lambda gate: gate[0])
def test_every_family_and_its_adjoint_go_to_qiskit_and_come_back(gate):
    circuit = angled(Circuit(3, [gate]))
    for one in (circuit, circuit.inverse()):
        assert_close(state_of_qiskit(to_qiskit(one)), dense_state(one))
        assert_same_up_to_phase(dense_state(from_qiskit(to_qiskit(one))), dense_state(one))
        for version in (2, 3):
            back = from_qasm(to_qasm(one, version))
            assert back.num_sites == 3
            assert_same_up_to_phase(dense_state(back), dense_state(one))


@pytest.mark.parametrize("version", [2, 3])
def test_gates_that_both_know_come_back_under_their_names(version):
    names = [gate for gate in EVERY if gate[0] not in ("fsim", "givens", "su2", "su4", "id")]
    circuit = angled(Circuit(3, names))
    back = from_qasm(to_qasm(circuit, version))
    assert [op.gate for op in back] == [op.gate for op in circuit]
    assert [op.sites for op in back] == [op.sites for op in circuit]


def test_parameters_replace_the_values_of_the_circuit(generator):
    circuit = brickwork(3)
    parameters = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    expected = dense_state(circuit, parameters)
    assert_close(state_of_qiskit(to_qiskit(circuit, parameters.requires_grad_())), expected)
    back = from_qasm(to_qasm(circuit, parameters=parameters))
    assert_same_up_to_phase(dense_state(back), expected)
    simulator = qtn.Circuit(3)
    simulator.apply_gates(to_quimb_gates(circuit, parameters))
    zero = oracle.product_vector(torch.eye(2, dtype=torch.complex128)[[0, 0, 0]])
    expected = dense_circuit(zero, circuit, parameters.detach())
    assert_close(torch.from_numpy(np.array(simulator.psi.to_dense()))[:, 0], expected)


@given(circuit=ANY)
def test_simulators_of_quimb_compute_the_same_state(circuit):
    sent = to_quimb_gates(circuit)
    n_sites = circuit.num_sites
    zero = oracle.product_vector(torch.eye(2, dtype=torch.complex128)[[0] * n_sites])
    expected = dense_circuit(zero, circuit, circuit.parameters(torch.float64))
    for simulator in (qtn.Circuit(n_sites), qtn.CircuitMPS(n_sites, cutoff=0.0)):
        simulator.apply_gates(sent)
        found = torch.from_numpy(np.array(simulator.psi.to_dense()))[:, 0]
        assert_close(found.to(torch.complex128), expected, atol=1e-9, rtol=0)


def test_other_mistakes_are_named():
    free = qiskit.QuantumCircuit(1)
    free.rx(qiskit.circuit.Parameter("angle"), 0)
    with pytest.raises(ValueError, match="numbers for its parameters, got angle"):
        from_qiskit(free)
    for send in (to_qiskit, to_quimb_gates):
        with pytest.raises(ValueError, match="must hold 17 numbers"):
            send(brickwork(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("qiskit", lambda: to_qiskit(ghz(2))),
        ("qiskit", lambda: from_qiskit(None)),
        ("qiskit.qasm3", lambda: from_qasm("OPENQASM 3;")),
        ("qiskit_qasm3_import", lambda: from_qasm("OPENQASM 3;")),
        ("qiskit", lambda: to_qasm(ghz(2))),
        ("quimb.tensor", lambda: to_quimb_gates(ghz(2))),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_installs_it(module, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf'needs the package `{module}`\. Install it with: pip install "mpsheads\[interop\]"'
    with pytest.raises(ImportError, match=message):
        call()
