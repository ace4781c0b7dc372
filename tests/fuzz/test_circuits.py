"""Random circuits of all gates, with extremes of angles, against the oracle."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpsheads import oracle
from mpsheads.mps import (
    Circuit,
    Truncation,
    apply_circuit,
    expectation,
    local_expectations,
    product_state,
    to_dense,
)
from tests.strategies import circuits, dense_circuit, random_product, source

pytestmark = pytest.mark.slow

ANGLES = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-320, 5e-324, 1e-160, 1e-8, 1e30, -1e30, 1e300]),
    st.integers(-8, 8).map(lambda quarters: quarters * math.pi / 4),
    st.floats(-10, 10),
)


@st.composite
def extreme_circuits(draw):
    circuit = draw(circuits(max_sites=8, max_gates=12))
    count = circuit.num_parameters
    values = draw(st.lists(ANGLES, min_size=count, max_size=count))
    return Circuit(circuit.num_sites, circuit.operations, values)


@settings(suppress_health_check=list(HealthCheck))
@given(
    circuit=extreme_circuits(),
    batch=st.integers(1, 3),
    shared=st.booleans(),
    dtype=st.sampled_from([torch.complex64, torch.complex128]),
    truncation=st.sampled_from([None, Truncation(16), Truncation(), Truncation(cutoff=1e-14)]),
    seed=st.integers(0, 1000),
)
def test_circuits_agree_with_the_oracle_and_have_finite_gradients(
    circuit, batch, shared, dtype, truncation, seed
):
    amplitudes = random_product(1 if not shared else batch, circuit.num_sites, dtype, source(seed))
    own = circuit.parameters(amplitudes.real.dtype)
    if dtype == torch.complex64:  # whose sums of larger angles are rounded by more than a turn
        own = own.clamp(-50, 50)
    angles = (own if shared else own.expand(batch, -1).clone()).requires_grad_()
    state = apply_circuit(product_state(amplitudes), circuit, angles, truncation)
    assert (state.batch_size, state.dtype) == (batch, dtype)
    found = to_dense(state.detach()).to(torch.complex128)
    single = dtype == torch.complex64
    starts = amplitudes if shared else amplitudes.expand(batch, -1, -1)
    for vector, start in zip(found, starts, strict=True):
        expected = dense_circuit(oracle.product_vector(start), circuit, own.detach().double())
        torch.testing.assert_close(
            vector, expected, rtol=0, atol=1e-4 if single else 1e-6 if truncation else 1e-11
        )
    values = local_expectations(amplitudes, circuit, angles)
    z = torch.tensor([[1, 0], [0, -1]], dtype=dtype)
    measured = torch.stack(
        [expectation(state, z, site).real for site in range(circuit.num_sites)], 1
    )
    torch.testing.assert_close(values, measured, rtol=0, atol=1e-4 if single else 1e-6)
    if circuit.num_parameters:
        (values.sum() + measured.square().sum()).backward()
        assert angles.grad.isfinite().all()


@given(circuit=extreme_circuits(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_circuits_on_real_states_are_refused_clearly(circuit, dtype):
    amplitudes = torch.ones(1, circuit.num_sites, 2, dtype=dtype)
    with pytest.raises(TypeError, match="Convert them first"):
        apply_circuit(product_state(amplitudes), circuit)
