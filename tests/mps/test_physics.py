"""Ising chains in a transverse field, `H = -J sum Z Z - h sum X`, against exact diagonalisation."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import trotter_ising
from mpsheads.mps import (
    Truncation,
    apply_circuit,
    apply_gate,
    basis_state,
    canonicalize,
    expectation,
    ising_hamiltonian,
    log_norm,
    mpo_to_dense,
    product_state,
    to_dense,
)

pytestmark = pytest.mark.slow

X, Z = oracle.pauli_matrix("X").real, oracle.pauli_matrix("Z").real


def dense_ising(n_sites, field):
    return mpo_to_dense(ising_hamiltonian(n_sites, 1.0, field, dtype=torch.float64))[0]


def bond_term(i, n_sites, field):
    """The part of H on sites i and i + 1; each site's field is shared by its two bonds."""
    eye = torch.eye(2, dtype=torch.float64)
    left = field * (1 if i == 0 else 0.5)
    right = field * (1 if i == n_sites - 2 else 0.5)
    return -torch.kron(Z, Z) - left * torch.kron(X, eye) - right * torch.kron(eye, X)


def cooled(state, step, count, field, truncation):
    """Imaginary time in second-order steps: up the chain with half a step, and back down."""
    n_sites = state.n_sites
    gates = [
        torch.linalg.matrix_exp(-step / 2 * bond_term(i, n_sites, field))
        for i in range(n_sites - 1)
    ]
    for _ in range(count):
        for i in [*range(n_sites - 1), *reversed(range(n_sites - 1))]:
            state = apply_gate(state, gates[i], (i, i + 1), truncation)
    return state


def test_imaginary_time_finds_the_ground_state_energy_within_1e_6():
    n_sites, field = 4, 1.0  # at the critical point
    exact = torch.linalg.eigvalsh(dense_ising(n_sites, field))[0]
    plus = torch.full((1, n_sites, 2), 0.5**0.5, dtype=torch.float64)
    state = canonicalize(product_state(plus), 0)
    operator = ising_hamiltonian(n_sites, 1.0, field, dtype=torch.float64)
    for step, count in [(0.2, 15), (0.05, 20), (0.01, 20)]:
        state = cooled(state, step, count, field, Truncation(max_bond=6, cutoff=1e-14))
    energy = expectation(state, operator)[0]
    assert_close(energy, exact, atol=1e-6, rtol=0)
    assert state.max_bond <= 6


def test_norms_of_states_cooled_for_long_stay_in_range():
    plus = torch.full((1, 6, 2), 0.5**0.5, dtype=torch.float32)
    state = canonicalize(product_state(plus), 0)
    field, step, count = 1.0, 0.8, 45
    exact = torch.linalg.eigvalsh(dense_ising(6, field))[0]
    gates = [
        (torch.linalg.matrix_exp(-step / 2 * bond_term(i, 6, field))).float() for i in range(5)
    ]
    norms = []
    for _ in range(count):
        for i in [*range(5), *reversed(range(5))]:
            state = apply_gate(state, gates[i], (i, i + 1), Truncation(max_bond=8))
        norms.append(log_norm(state))
    assert norms[-1] > 200  # exp(200) is beyond single precision
    rate = (norms[-1] - norms[-2])[0] / step
    assert_close(rate.double(), -exact, atol=0.25, rtol=0)  # a coarse step


def evolved(n_sites, steps, time, field=0.8, truncation=None):
    bits = torch.arange(n_sites) % 3 == 1
    start = basis_state(bits.long(), dtype=torch.complex128)
    return start, apply_circuit(
        start, trotter_ising(n_sites, steps, time, 1.0, field), None, truncation
    )


def test_real_time_converges_at_second_order_to_the_exact_evolution():
    n_sites, time, field = 6, 0.8, 0.8
    unitary = torch.linalg.matrix_exp(-1j * time * dense_ising(n_sites, field))
    errors = []
    for steps in (4, 8, 16, 32):
        start, state = evolved(n_sites, steps, time)
        errors.append((to_dense(state)[0] - unitary @ to_dense(start)[0]).norm())
    ratios = torch.stack(errors)[:-1] / torch.stack(errors)[1:]
    assert_close(ratios, torch.full_like(ratios, 4.0), atol=0.1, rtol=0)  # next order in the step
    assert errors[-1] < 1e-3
