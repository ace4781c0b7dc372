import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import gates
from mpsheads.mps.gate_factors import constant_factors, contract
from mpsheads.mps.gates import FAMILIES

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


def test_controlled_puts_the_control_first(generator):
    unitary = gates.unitary(torch.randn(4, dtype=torch.float64, generator=generator))
    assert_close(gates.controlled(unitary), oracle.controlled(unitary))


RANKS = {  # of the families whose operator-Schmidt rank is not 4; from (left bond, right bond)
    **dict.fromkeys(
        ["cp", "crx", "cry", "crz", "controlled-unitary", "rxx", "ryy", "rzz", "cx", "cz"], (2,)
    ),
    "ccx": (2, 2),
}


def angles_of(family, *batch, generator):
    return 3 * torch.randn(
        *batch, FAMILIES[family].num_parameters, dtype=torch.float64, generator=generator
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_gives_unitary_matrices_from_as_many_angles_as_it_names(family, generator):
    matrix = FAMILIES[family].matrix(angles_of(family, 6, generator=generator))
    eye = torch.eye(2 ** FAMILIES[family].num_sites, dtype=torch.complex128)
    assert_close(matrix @ matrix.mH, eye.expand(6, *eye.shape))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_factors_contract_to_the_matrix_with_the_rank_that_it_has(family, generator):
    angles = angles_of(family, 2, 3, generator=generator)
    factors = FAMILIES[family].factors(angles)
    matrix = FAMILIES[family].matrix(angles)
    assert_close(contract(factors), matrix)
    k = FAMILIES[family].num_sites
    bonds = tuple(factor.shape[-1] for factor in factors[:-1])
    assert bonds == RANKS.get(family, (4,) * (k - 1))
    for cut, bond in enumerate(bonds, 1):
        legs = matrix[0, 0].reshape(2**cut, 2 ** (k - cut), 2**cut, 2 ** (k - cut))
        values = torch.linalg.svdvals(legs.transpose(1, 2).reshape(4**cut, -1))
        assert int((values > 1e-9).sum()) == bond


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].num_parameters])
def test_gradients_of_matrix_and_factors_agree_with_finite_differences(family, generator):
    for scale in (0.0, 1.0):  # also at the identity
        angles = (scale * angles_of(family, 2, generator=generator)).requires_grad_()
        assert torch.autograd.gradcheck(FAMILIES[family].matrix, (angles,), fast_mode=True)
        assert torch.autograd.gradcheck(FAMILIES[family].factors, (angles,))  # some are constant


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_gates_are_complex_in_the_precision_of_the_angles(family, dtype):
    angles = torch.ones(FAMILIES[family].num_parameters, dtype=dtype)
    tensors = [FAMILIES[family].matrix(angles), *FAMILIES[family].factors(angles)]
    assert {tensor.dtype for tensor in tensors} == {dtype.to_complex()}


def test_interactions_are_exponentials_of_products_of_pauli_matrices(generator):
    angle = torch.randn((), dtype=torch.float64, generator=generator)
    for name, pauli in (("x", X), ("y", Y), ("z", Z)):
        matrix = FAMILIES[f"r{name}{name}"].matrix(angle[None])
        assert_close(matrix, rotation(torch.kron(pauli, pauli), angle))


def test_the_canonical_gate_is_the_exponential_of_all_three(generator):
    a, b, c = angles = torch.randn(3, dtype=torch.float64, generator=generator)
    total = a * torch.kron(X, X) + b * torch.kron(Y, Y) + c * torch.kron(Z, Z)
    assert_close(gates.canonical(angles), torch.linalg.matrix_exp(1j * total))


@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.0099, 0.0101, 1.0, 3.0])
def test_su2_is_the_exponential_of_its_vector_at_any_length(size, generator):
    axis = torch.randn(3, dtype=torch.float64, generator=generator)
    x, y, z = vector = size * axis / axis.norm()
    expected = torch.linalg.matrix_exp(-0.5j * (x * X + y * Y + z * Z))
    assert_close(gates.su2(vector), expected, atol=5e-15, rtol=0)


def test_su4_is_local_gates_around_the_canonical_one(generator):
    angles = torch.randn(15, dtype=torch.float64, generator=generator)
    a, b, c, d = (gates.su2(angles[i : i + 3]) for i in (0, 3, 9, 12))
    middle = gates.canonical(angles[6:9])
    assert_close(gates.su4(angles), torch.kron(a, b) @ middle @ torch.kron(c, d))


def test_fsim_and_givens_move_one_excitation(generator):
    theta, phi = torch.randn(2, dtype=torch.float64, generator=generator)
    hopping = (torch.kron(X, X) + torch.kron(Y, Y)) / 2
    both = torch.diag(torch.tensor([0, 0, 0, 1], dtype=torch.complex128))
    expected = torch.linalg.matrix_exp(-1j * (theta * hopping + phi * both))
    assert_close(gates.fsim(torch.stack([theta, phi])), expected)
    turn = (torch.kron(X, Y) - torch.kron(Y, X)) / 2
    assert_close(gates.givens(theta), torch.linalg.matrix_exp(1j * theta * turn))
    iswap = FAMILIES["iswap"].matrix(torch.zeros(0, dtype=torch.float64))
    assert_close(iswap, torch.linalg.matrix_exp(0.5j * torch.pi * hopping))


def test_constant_gates_are_those_of_the_textbook():
    def constant(name):
        return FAMILIES[name].matrix(torch.zeros(0, dtype=torch.float64))

    eye = torch.eye(2, dtype=torch.complex128)
    for name, pauli in (("id", eye), ("x", X), ("y", Y), ("z", Z)):
        assert_close(constant(name), pauli)
    assert_close(constant("h"), (X + Z) / 2**0.5)
    assert_close(constant("t") @ constant("t"), constant("s"))
    assert_close(constant("s") @ constant("s"), Z)
    assert_close(constant("sdg") @ constant("s"), eye)
    assert_close(constant("tdg") @ constant("t"), eye)
    assert_close(constant("cx"), oracle.controlled(X))
    assert_close(constant("cz"), oracle.controlled(Z))
    assert_close(constant("ccx"), oracle.controlled(oracle.controlled(X)))
    exchange = sum(torch.kron(pauli, pauli) for pauli in (eye, X, Y, Z)) / 2
    assert_close(constant("swap"), exchange)


def test_constant_factors_keep_zeros_and_ones_exact():
    for factor in constant_factors(gates.CONSTANTS["ccx"]):
        assert set(factor.reshape(-1).tolist()) <= {0, 1, -1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [0.0, 1e-44, 1e-20, 1e30, -1e30])
def test_extremes_of_angles_give_unitary_gates_and_finite_gradients(angle, dtype):
    for name, family in FAMILIES.items():
        angles = torch.full((family.num_parameters,), angle, dtype=dtype, requires_grad=True)
        matrix = family.matrix(angles)
        eye = torch.eye(len(matrix), dtype=matrix.dtype)
        assert_close(matrix @ matrix.mH, eye, atol=1e-5, rtol=0, msg=name)
        if family.num_parameters:
            torch.view_as_real(matrix).sum().backward()
            assert angles.grad.isfinite().all(), name
