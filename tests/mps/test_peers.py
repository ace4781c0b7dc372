"""Named circuits against the oracle and quimb, which gets the gates as plain NumPy matrices."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import brickwork, ghz, qft, trotter_ising
from mpsheads.mps import Circuit, Truncation, apply_circuit, basis_state, to_dense
from tests.strategies import dense_circuit, source

pytestmark = pytest.mark.slow

N_SITES = 8


def with_angles(circuit, seed):
    angles = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=source(seed))
    return circuit.with_parameters(math.pi * angles)


RING = [("rzz", (i, (i + 1) % N_SITES)) for i in range(N_SITES)]
CIRCUITS = {
    "GHZ": ghz(N_SITES),
    "QFT": qft(N_SITES),
    "brickwork": with_angles(brickwork(N_SITES, 3), 1),
    "QAOA ring": with_angles(
        Circuit(N_SITES, [*RING, *(("rx", i) for i in range(N_SITES))] * 3), 2
    ),
    "Trotterised Ising": trotter_ising(N_SITES, 4, 2.0, 1.0, 0.7),
}
BITS = torch.arange(N_SITES) % 3 % 2


def numpy_gates(circuit):
    """Matrices with the first site most significant, and their sites."""
    matrices = circuit.unitaries(circuit.parameters(torch.float64))
    return [(m.numpy(), op.sites) for op, m in zip(circuit, matrices, strict=True)]


def of_mpsheads(circuit, truncation=None):
    return apply_circuit(
        basis_state(BITS, dtype=torch.complex128),
        circuit,
        circuit.parameters(torch.float64),
        truncation,
    )


def of_quimb(circuit, max_bond=None):
    quimb = pytest.importorskip("quimb.tensor")
    simulator = quimb.CircuitMPS(N_SITES, max_bond=max_bond, cutoff=0.0)
    for site in BITS.nonzero()[:, 0].tolist():
        simulator.apply_gate("X", site)
    for matrix, sites in numpy_gates(circuit):
        simulator.apply_gate_raw(matrix, sites)
    return torch.from_numpy(np.array(simulator.psi.to_dense()).reshape(-1)).to(torch.complex128)


def of_oracle(circuit):
    bits = torch.eye(2, dtype=torch.complex128)[BITS]
    return dense_circuit(oracle.product_vector(bits), circuit, circuit.parameters(torch.float64))


@pytest.mark.parametrize("name", CIRCUITS)
def test_named_circuits_give_the_vectors_of_the_oracle_and_of_quimb(name):
    found = to_dense(of_mpsheads(CIRCUITS[name]))[0]
    assert_close(found, of_oracle(CIRCUITS[name]))
    assert_close(found, of_quimb(CIRCUITS[name]), atol=1e-10, rtol=0)  # theirs: many SVDs


@pytest.mark.parametrize("max_bond", [2, 8])
@pytest.mark.parametrize("name", CIRCUITS)
def test_truncated_circuits_are_as_good_as_those_of_quimb_up_to_a_thousandth(name, max_bond):
    exact = of_oracle(CIRCUITS[name])
    state = of_mpsheads(CIRCUITS[name], Truncation(max_bond=max_bond))
    mine = oracle.fidelity(to_dense(state)[0], exact)
    theirs = oracle.fidelity(of_quimb(CIRCUITS[name], max_bond), exact)
    assert state.fidelity_bound[0] <= mine + 1e-7
    assert mine > theirs - 1e-3
