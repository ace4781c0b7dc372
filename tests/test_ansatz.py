import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import (
    brickwork,
    ghz,
    irredundant_staircase,
    qft,
    staircase,
    trotter_ising,
)
from tests.strategies import dense_circuit

ANSATZE = [staircase, brickwork]


def dense_unitary(circuit):
    angles = circuit.parameters(torch.float64)
    columns = torch.eye(2**circuit.num_sites, dtype=torch.complex128)
    return torch.stack([dense_circuit(v, circuit, angles) for v in columns], -1)


def pauli_sum(n_sites, letters):
    """Sum over all places of a product of Pauli matrices on neighbouring sites."""
    matrices = {"X": [[0, 1], [1, 0]], "Z": [[1, 0], [0, -1]]}
    columns = torch.eye(2**n_sites, dtype=torch.complex128)
    total = torch.zeros_like(columns)
    for first in range(n_sites - len(letters) + 1):
        moved = columns
        for site, letter in enumerate(letters, first):
            matrix = torch.tensor(matrices[letter], dtype=torch.complex128)
            moved = torch.stack([oracle.apply_matrix(v, matrix, [site]) for v in moved])
        total = total + moved.T
    return total


def pairs(circuit):
    return [op.sites for op in circuit if len(op.sites) == 2]


@pytest.mark.slow
@pytest.mark.parametrize("n_sites", [1, 2, 5])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("ansatz", "count"),
    [
        (staircase, lambda n: 7 * n - 4),
        (brickwork, lambda n: 7 * n - 4),
    ],
)
def test_ansatze_have_the_parameters_of_their_docstrings_and_start_at_the_identity(
    ansatz, count, n_sites, depth
):
    circuit = ansatz(n_sites, depth)
    assert (circuit.num_sites, circuit.num_parameters) == (n_sites, depth * count(n_sites))
    assert_close(dense_unitary(circuit), torch.eye(2**n_sites, dtype=torch.complex128))


@pytest.mark.parametrize(
    ("readout", "counts"), [("probability", [(3, -1), (9, -7)]), ("state", [(7, -7), (12, -12)])]
)
@pytest.mark.parametrize("n_sites", [3, 8])
def test_irredundant_staircases_have_the_parameters_of_their_docstring(n_sites, readout, counts):
    for depth, (slope, rest) in enumerate(counts, 1):
        circuit = irredundant_staircase(n_sites, depth, readout)
        assert circuit.num_parameters == slope * n_sites + rest


def test_bonds_come_in_the_order_of_the_docstrings():
    assert pairs(staircase(4)) == [(0, 1), (1, 2), (2, 3)]
    assert pairs(brickwork(5)) == [(0, 1), (2, 3), (1, 2), (3, 4)]
    assert pairs(brickwork(6, 2)) == [(0, 1), (2, 3), (4, 5), (1, 2), (3, 4)] * 2


def test_the_light_cone_of_brickwork_grows_by_two_sites_a_layer():
    for depth in (1, 2, 3):
        for site in (20, 21):
            window = brickwork(40, depth).light_cone([site])[1]
            assert max(site - window[0], window[-1] - site) <= 2 * depth


@pytest.mark.parametrize("n_sites", [1, 2, 5])
def test_qft_is_the_discrete_fourier_transform(n_sites):
    size = 2**n_sites
    powers = torch.outer(torch.arange(size), torch.arange(size)).double()
    expected = torch.exp(2j * math.pi * powers / size) / math.sqrt(size)
    assert_close(dense_unitary(qft(n_sites)), expected)


@pytest.mark.parametrize("n_sites", [1, 2, 5])
def test_ghz_makes_two_equal_amplitudes(n_sites):
    expected = torch.zeros(2**n_sites, dtype=torch.complex128)
    expected[0] = expected[-1] = 0.5**0.5
    assert_close(dense_unitary(ghz(n_sites))[:, 0], expected)


@pytest.mark.slow
def test_trotter_steps_converge_with_the_square_of_their_length():
    hamiltonian = -0.8 * pauli_sum(4, "ZZ") - 1.3 * pauli_sum(4, "X")
    exact = torch.linalg.matrix_exp(-0.6j * hamiltonian)
    errors = []
    for steps in (8, 16):
        circuit = trotter_ising(4, steps, time=0.6, coupling=0.8, field=1.3)
        errors.append(torch.linalg.matrix_norm(dense_unitary(circuit) - exact, ord=2).item())
    assert errors[0] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_trotter_without_a_field_is_exact():
    exact = torch.linalg.matrix_exp(0.9j * pauli_sum(3, "ZZ"))
    assert_close(dense_unitary(trotter_ising(3, 1, time=0.9, field=0.0)), exact)


@pytest.mark.parametrize("circuit", [*ANSATZE, trotter_ising])
def test_sizes_below_1_are_refused(circuit):
    with pytest.raises(ValueError, match="`n_sites` must be at least 1, got 0"):
        circuit(0, 1)
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        circuit(2, 0)
