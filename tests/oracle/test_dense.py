import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads import oracle


def random_vector(n, generator):
    v = torch.randn(2**n, dtype=torch.complex128, generator=generator)
    return v / v.norm()


def random_density(dim, generator):
    a = torch.randn(dim, dim, dtype=torch.complex128, generator=generator)
    rho = a @ a.mH
    return rho / rho.trace()


def test_product_vector_is_the_kronecker_product_with_site_0_most_significant():
    one, zero = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    vector = oracle.product_vector([one, zero, zero])
    assert_close(vector, torch.eye(8, dtype=torch.complex128)[4])


@pytest.mark.parametrize("site", [0, 1, 2])
def test_a_one_site_matrix_equals_the_kronecker_product_with_identities(site, generator):
    vector, gate = random_vector(3, generator), torch.randn(2, 2, generator=generator)
    factors = [torch.eye(2, dtype=torch.complex128) for _ in range(3)]
    factors[site] = gate.to(torch.complex128)
    full = torch.kron(torch.kron(factors[0], factors[1]), factors[2])
    assert_close(oracle.apply_matrix(vector, gate, [site]), full @ vector)


def test_a_controlled_not_flips_the_target_only_where_the_control_is_1():
    flip = oracle.controlled(torch.tensor([[0.0, 1], [1, 0]]))
    basis = torch.eye(8, dtype=torch.complex128)
    for bits, expected in {0b001: 0b101, 0b000: 0b000, 0b111: 0b011, 0b110: 0b110}.items():
        out = oracle.apply_matrix(basis[bits], flip, [2, 0])  # control on site 2, target on site 0
        assert_close(out, basis[expected])


def test_partial_trace_of_a_bell_pair_is_maximally_mixed_and_keeps_the_named_order(generator):
    bell = torch.tensor([1.0, 0, 0, 1], dtype=torch.complex128) / 2**0.5
    assert_close(oracle.partial_trace(bell, [1]), torch.eye(2, dtype=torch.complex128) / 2)
    a, b = (random_vector(1, generator) for _ in range(2))
    both = torch.kron(a, b)
    swapped = torch.kron(b, a)
    assert_close(oracle.partial_trace(both, [1, 0]), torch.outer(swapped, swapped.conj()))


def test_uhlmann_fidelity_of_pure_states_and_of_one_qubit_by_its_bloch_formula(generator):
    a, b = (random_vector(2, generator) for _ in range(2))
    pure = oracle.uhlmann_fidelity(torch.outer(a, a.conj()), torch.outer(b, b.conj()))
    assert_close(pure, oracle.fidelity(a, b), atol=1e-7, rtol=0)  # roots of rounded zeros
    rho, sigma = (random_density(2, generator) for _ in range(2))
    det = (torch.linalg.det(rho) * torch.linalg.det(sigma)).real.sqrt()
    assert_close(oracle.uhlmann_fidelity(rho, sigma), (rho @ sigma).trace().real + 2 * det)


def test_a_pauli_matrix_applies_each_letter_to_its_site(generator):
    vector = random_vector(3, generator)
    expected = vector
    for site, letter in enumerate("ZYX"):
        expected = oracle.apply_matrix(expected, oracle.pauli_matrix(letter), [site])
    assert_close(oracle.pauli_matrix("ZYX") @ vector, expected)
    one, x, y, z = (oracle.pauli_matrix(letter) for letter in "1XYZ")
    assert_close(x @ y, 1j * z)
    assert_close(y @ y, one)


def test_schmidt_values_and_entropies_of_known_states(generator):
    bell = torch.tensor([1.0, 0, 0, 2], dtype=torch.complex128)
    values = oracle.schmidt_values(bell, 2)
    assert_close(values**2, torch.tensor([0.8, 0.2], dtype=torch.float64))
    rho = oracle.partial_trace(bell, [0]) / 5
    assert_close(oracle.renyi_entropy(rho, 1).item(), -0.8 * math.log(0.8) - 0.2 * math.log(0.2))
    assert_close(oracle.renyi_entropy(rho, 2).item(), -math.log(0.68))
    assert_close(oracle.renyi_entropy(rho, math.inf).item(), -math.log(0.8))
    pure = random_vector(2, generator)
    assert oracle.renyi_entropy(torch.outer(pure, pure.conj()), 1).abs() < 1e-12


@pytest.mark.parametrize("sites", [[0, 0], [3], [-1]])
def test_sites_that_repeat_or_do_not_exist_are_refused(sites, generator):
    with pytest.raises(ValueError, match=r"distinct and within 0..2"):
        oracle.partial_trace(random_vector(3, generator), sites)


def test_a_vector_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"2\*\*n numbers, got 6"):
        oracle.partial_trace(torch.ones(6), [0])
