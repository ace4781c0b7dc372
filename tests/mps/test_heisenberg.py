import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import staircase
from mpsheads.mps import apply_circuit, product_state, to_dense
from mpsheads.mps import expectation as expectation_of_states
from mpsheads.mps.heisenberg import evolve_observable, pauli_string
from mpsheads.mps.products import as_rows, chain_expectation
from tests.strategies import bloch_components, circuits, dense_circuit, random_product

PAULIS = {
    "1": torch.eye(2, dtype=torch.complex128),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}


def in_products(observable, inputs, letters=(0, 1, 2, 3)):
    """Expectation values in product states, `inputs` over (sites, observables, letters, inputs)."""
    n_sites, count = inputs.shape[:2]
    components = inputs.permute(2, 0, 1, 3).flatten(1, 2)
    rows = [as_rows(range(site * count, (site + 1) * count)) for site in range(n_sites)]
    sites = [site[:, :, list(letters)] for site in observable.sites]
    return chain_expectation(sites, components, rows)


def expectation(vector, string):
    moved = vector
    for site, letter in enumerate(string):
        moved = oracle.apply_matrix(moved, PAULIS[letter], [site])
    return torch.vdot(vector, moved).real


@pytest.mark.slow
@given(circuit=circuits(max_sites=5), seed=st.integers(0, 1000), data=st.data())
def test_the_heisenberg_picture_is_the_schroedinger_picture(circuit, seed, data):
    """Complex input qubits, strings with Y, gates on one, two and three sites."""
    n_sites = circuit.num_sites
    string = data.draw(st.text("1XYZ", min_size=n_sites, max_size=n_sites))
    generator = torch.Generator().manual_seed(seed)
    shape = (2, circuit.num_parameters)
    parameters = torch.randn(shape, dtype=torch.float64, generator=generator)
    amplitudes = random_product(2, n_sites, torch.complex128, generator)
    paulis = torch.stack([PAULIS[letter] for letter in "XYZ"])
    inputs = torch.einsum("bso,kop,bsp->sbk", amplitudes.conj(), paulis, amplitudes).real

    observable = pauli_string(string, 2, dtype=torch.float64)
    observable = evolve_observable(observable, circuit, parameters)
    found = in_products(observable, inputs[..., None])[:, 0]
    state = apply_circuit(product_state(amplitudes), circuit, parameters)

    assert_close(found, expectation_of_states(state, string).real)
    for i in range(2):
        vector = dense_circuit(oracle.product_vector(amplitudes[i]), circuit, parameters[i])
        assert_close(found[i], expectation(vector, string))
    square = to_dense(observable).pow(2).sum(1)  # conjugation by a unitary keeps tr O**2
    assert_close(square, torch.ones_like(square))


def test_bonds_are_4_for_each_crossing_gate():
    circuit = staircase(7, 2)
    observable = evolve_observable(
        pauli_string("111111Z"), circuit, torch.ones(1, circuit.num_parameters)
    )
    assert observable.bond_dims == (4, 16, 16, 16, 16, 4)


def test_a_pauli_string_is_one_entry_among_all_strings():
    dense = to_dense(pauli_string("1Z", 2))
    assert_close(dense, torch.eye(16)[[3, 3]])


@pytest.mark.slow
def test_gradients_agree_with_finite_differences_also_at_the_identity(generator):
    circuit = staircase(3, 2)
    angles = 3 * torch.rand(3, 1, 2, dtype=torch.float64, generator=generator)

    def value(parameters):
        observable = pauli_string("11Z", dtype=torch.float64)
        observable = evolve_observable(observable, circuit, parameters)
        return in_products(observable, bloch_components(angles), (0, 1, 3))

    for point in (torch.zeros(1, 34), torch.randn(1, 34, generator=generator)):
        assert torch.autograd.gradcheck(value, (point.double().requires_grad_(),), fast_mode=True)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="letters of 1XYZ"):
        pauli_string("1A")
    with pytest.raises(ValueError, match="number of sites must agree"):
        evolve_observable(pauli_string("1Z"), staircase(3), torch.zeros(1, 17))
    with pytest.raises(ValueError, match="batch size must agree"):
        evolve_observable(pauli_string("11Z"), staircase(3), torch.zeros(2, 17))
