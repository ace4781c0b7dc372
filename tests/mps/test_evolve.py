import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import staircase
from mpsheads.mps import (
    apply_circuit,
    apply_controlled,
    apply_gate,
    log_norm,
    product_state,
    random_mps,
    to_dense,
)
from mpsheads.mps.gates import ry, unitary
from tests.mps.circuits import circuits, dense_circuit, random_product, tolerance


@given(
    circuit=circuits(),
    batch=st.integers(1, 3),
    seed=st.integers(0, 1000),
    shared=st.booleans(),
    dtype=st.sampled_from([torch.complex64, torch.complex128]),
)
def test_random_circuits_give_the_oracles_amplitudes_with_norm_1(
    circuit, batch, seed, shared, dtype
):
    generator = torch.Generator().manual_seed(seed)
    shape = (circuit.num_parameters,) if shared else (batch, circuit.num_parameters)
    amplitudes = random_product(batch, circuit.n_sites, dtype, generator)
    parameters = torch.randn(shape, dtype=amplitudes.real.dtype, generator=generator)

    state = apply_circuit(product_state(amplitudes), circuit, parameters)

    assert state.dtype == dtype
    atol = tolerance(dtype)
    for i, vector in enumerate(to_dense(state)):
        mine = parameters if shared else parameters[i]
        expected = dense_circuit(oracle.product_vector(amplitudes[i]), circuit, mine)
        assert_close(vector.to(torch.complex128), expected, atol=atol, rtol=0)
    assert_close(log_norm(state), torch.zeros_like(state.log_norm), atol=atol, rtol=0)


@given(circuit=circuits(max_sites=6), seed=st.integers(0, 1000))
def test_a_batch_equals_its_members_one_by_one(circuit, seed):
    generator = torch.Generator().manual_seed(seed)
    amplitudes = random_product(4, circuit.n_sites, torch.complex128, generator)
    parameters = torch.randn(4, circuit.num_parameters, dtype=torch.float64, generator=generator)
    together = to_dense(apply_circuit(product_state(amplitudes), circuit, parameters))
    for i in range(4):
        alone = apply_circuit(product_state(amplitudes[i : i + 1]), circuit, parameters[i : i + 1])
        assert_close(together[i : i + 1], to_dense(alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("control", "target"), [(0, 1), (3, 1), (0, 4), (2, 3)])
def test_real_states_stay_real_under_real_gates(control, target, dtype, generator):
    angle = torch.randn(3, dtype=dtype, generator=generator)
    amplitudes = random_product(3, 5, dtype, generator)
    gate = ry(angle).real
    state = apply_controlled(product_state(amplitudes), gate, control, target)
    state = apply_gate(state, gate[0], 2)
    assert state.dtype == dtype
    for i, vector in enumerate(to_dense(state)):
        expected = oracle.product_vector(amplitudes[i])
        expected = oracle.apply_matrix(expected, oracle.controlled(gate[i]), [control, target])
        expected = oracle.apply_matrix(expected, gate[0], [2])
        assert_close(vector.double(), expected.real, atol=tolerance(dtype), rtol=0)


@pytest.mark.parametrize("sites", [(0, 1), (1, 0), (0, 3), (4, 2)])
def test_any_two_site_matrix_is_applied_exactly_unitary_or_not(sites, generator):
    state = random_mps(5, 2, batch_size=2, dtype=torch.complex128, generator=generator)
    matrix = torch.randn(2, 4, 4, dtype=torch.complex128, generator=generator)
    after = to_dense(apply_gate(state, matrix, sites))
    for i, vector in enumerate(to_dense(state)):
        assert_close(after[i], oracle.apply_matrix(vector, matrix[i], sites))


def test_sites_of_any_dimension_take_gates_of_their_size(generator):
    state = random_mps(3, 2, phys_dim=3, batch_size=2, dtype=torch.float64, generator=generator)
    one = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    two = torch.randn(9, 9, dtype=torch.float64, generator=generator)
    after = to_dense(apply_gate(apply_gate(state, one, 1), two, (2, 0)))
    for i, vector in enumerate(to_dense(state)):
        expected = oracle.apply_matrix(vector, one, [1], phys_dim=3)
        expected = oracle.apply_matrix(expected, two, [2, 0], phys_dim=3)
        assert_close(after[i], expected.real)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_staircase_doubles_each_bond_once_a_layer_until_the_shorter_side_is_full(depth):
    circuit = staircase(8, depth)
    state = product_state(torch.ones(2, 8, 2, dtype=torch.complex64) / 2**0.5)
    after = apply_circuit(state, circuit, torch.ones(circuit.num_parameters))
    assert after.bond_dims == tuple(min(2**depth, 2**k) for k in (1, 2, 3, 4, 3, 2, 1))


def test_a_staircase_has_the_gates_of_its_docstring():
    circuit = staircase(3, 2)
    layer = ["zyz"] * 3 + ["controlled-unitary"] * 2
    assert [operation.gate for operation in circuit] == layer * 2
    assert [op.sites for op in circuit][3:5] == [(0, 1), (1, 2)]
    assert circuit.num_parameters == 2 * 17


def test_gradients_through_a_circuit_agree_with_finite_differences_also_at_the_identity(generator):
    circuit = staircase(3, 2)
    amplitudes = random_product(2, 3, torch.complex128, generator)

    def amplitude_of(parameters):
        return to_dense(apply_circuit(product_state(amplitudes), circuit, parameters))

    for parameters in (torch.zeros(34), torch.randn(34, generator=generator)):
        point = parameters.double().requires_grad_()
        assert torch.autograd.gradcheck(amplitude_of, (point,))


def test_bad_arguments_are_named(generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    gate = unitary(torch.randn(4, generator=generator))
    with pytest.raises(ValueError, match=r"`sites` must lie within 0\.\.2, got \(3,\)"):
        apply_gate(state, gate, 3)
    with pytest.raises(ValueError, match="one to three different sites"):
        apply_controlled(state, gate, 1, 1)
    with pytest.raises(ValueError, match="`matrix` must be 4 x 4 here"):
        apply_gate(state, gate, (0, 1))
    with pytest.raises(ValueError, match=r"\(2, out, in\), got \(3, 2, 2\)"):
        apply_gate(state, gate.expand(3, 2, 2), 0)
    with pytest.raises(TypeError, match=r"gate is complex and the states are torch.float32"):
        apply_gate(random_mps(2, 1, dtype=torch.float32), gate, 0)
    with pytest.raises(ValueError, match="`state` has 3 sites, `circuit` 4"):
        apply_circuit(state, staircase(4), torch.zeros(28))
