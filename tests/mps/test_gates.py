import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import Circuit, gates

X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
Y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)


def rotation(pauli, angle):
    return torch.linalg.matrix_exp(-0.5j * angle * pauli)


def test_rotations_are_exponentials_of_pauli_matrices(generator):
    angle = torch.randn((), dtype=torch.float64, generator=generator)
    for gate, pauli in ((gates.rx, X), (gates.ry, Y), (gates.rz, Z)):
        assert_close(gate(angle), rotation(pauli, angle))


def test_zyz_and_unitary_are_their_products_of_rotations(generator):
    alpha, beta, gamma, delta = angles = torch.randn(4, dtype=torch.float64, generator=generator)
    product = rotation(Z, beta) @ rotation(Y, gamma) @ rotation(Z, delta)
    assert_close(gates.zyz(angles[1:]), product)
    assert_close(gates.unitary(angles), torch.exp(1j * alpha) * product)


def test_a_batch_of_angles_gives_a_batch_of_matrices(generator):
    angles = torch.randn(3, 5, 4, generator=generator)
    batch = gates.unitary(angles)
    assert batch.dtype == torch.complex64
    assert_close(batch[2, 1], gates.unitary(angles[2, 1]))


def test_controlled_puts_the_control_first(generator):
    unitary = gates.unitary(torch.randn(4, dtype=torch.float64, generator=generator))
    assert_close(gates.controlled(unitary), oracle.controlled(unitary))


@pytest.mark.parametrize("family", sorted(gates.FAMILIES))
def test_every_family_gives_unitary_matrices_from_as_many_angles_as_it_names(family, generator):
    _, count, matrix = gates.FAMILIES[family]
    unitary = matrix(torch.randn(6, count, dtype=torch.float64, generator=generator))
    assert_close(unitary @ unitary.mH, torch.eye(2, dtype=torch.complex128).expand(6, 2, 2))


def test_a_circuit_numbers_its_parameters_in_the_order_of_its_gates():
    circuit = Circuit.of(3, [("zyz", (0,)), ("controlled-unitary", (2, 0)), ("rx", (1,))])
    assert [operation.start for operation in circuit] == [0, 3, 7]
    assert circuit.num_parameters == 8
    assert str(circuit) == ("3 sites, 8 parameters\nzyz on 0\ncontrolled-unitary on 2, 0\nrx on 1")


def test_a_circuit_computes_each_gate_from_its_own_parameters(generator):
    circuit = Circuit.of(2, [("rx", (0,)), ("zyz", (1,)), ("rx", (1,))])
    parameters = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    matrices = circuit.matrices(parameters)
    assert_close(matrices["rx"], gates.rx(parameters[:, [0, 4]].T))
    assert_close(matrices["zyz"][0], gates.zyz(parameters[:, 1:4]))


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (("cnot", (0, 1)), '`gate` must be one of .*"zyz"'),
        (("zyz", (0, 1)), "takes 1 distinct sites"),
        (("controlled-unitary", (1, 1)), "takes 2 distinct sites"),
        (("zyz", (2,)), r"within 0\.\.1, got \(2,\)"),
    ],
)
def test_a_circuit_refuses_gates_that_do_not_fit(gate, message):
    with pytest.raises(ValueError, match=message):
        Circuit.of(2, [gate])


def test_a_circuit_refuses_parameters_of_another_number():
    with pytest.raises(ValueError, match="must hold 3 numbers on the last axis, got 4"):
        Circuit.of(1, [("zyz", (0,))]).matrices(torch.zeros(4))
