"""Light cones against the whole contraction and the oracle."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads.ansatz import brickwork, staircase
from mpsheads.mps import (
    Circuit,
    apply_circuit,
    bloch_vectors,
    expectation,
    local_expectations,
    product_state,
)
from mpsheads.mps.lightcone import find_cones
from tests.strategies import random_product

MIXED = Circuit(
    6, [("su4", (1, 0)), ("ccx", (4, 2, 3)), ("h", (5,)), ("cp", (5, 3)), ("swap", (0, 2))]
)


@pytest.mark.slow
@pytest.mark.parametrize("circuit", [brickwork(6, 2), staircase(6, 2), MIXED])
@pytest.mark.parametrize("shared", [True, False])
def test_one_site_values_agree_with_the_evolved_states(circuit, shared, generator):
    amplitudes = 2 * random_product(3, 6, torch.complex128, generator)
    shape = (circuit.num_parameters,) if shared else (3, circuit.num_parameters)
    parameters = torch.randn(shape, dtype=torch.float64, generator=generator)
    state = apply_circuit(product_state(amplitudes), circuit, parameters)
    found = [local_expectations(amplitudes, circuit, parameters, pauli) for pauli in "XYZ"]
    assert_close(torch.stack(found, dim=-1), bloch_vectors(state))


def test_strings_on_named_sites_agree_with_the_evolved_states(generator):
    circuit = brickwork(7, 2)
    amplitudes = random_product(2, 7, torch.complex128, generator)
    parameters = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    state = apply_circuit(product_state(amplitudes), circuit, parameters)
    places = [(5, 1), (0, 1), (3, 2)]
    found = local_expectations(amplitudes, circuit, parameters, "XZ", places)
    for column, (x, z) in zip(found.T, places, strict=True):
        letters = "".join({x: "X", z: "Z"}.get(site, "1") for site in range(7))
        assert_close(column, expectation(state, letters).real)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_inputs_of_any_norm_but_zero_give_the_same(size, generator):
    amplitudes, circuit = random_product(2, 3, torch.complex64, generator), staircase(3, 1)
    found = local_expectations(size * amplitudes, circuit)
    assert_close(found, local_expectations(amplitudes, circuit))
    amplitudes[1, 2] = 0
    with pytest.raises(ValueError, match="state 1 of the batch is zero"):
        local_expectations(amplitudes, circuit)


@pytest.mark.slow
def test_gradients_agree_with_finite_differences(generator):
    circuit = brickwork(4, 1)
    amplitudes = random_product(2, 4, torch.complex128, generator).requires_grad_()
    parameters = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(
        lambda a, p: local_expectations(a, circuit, p, "ZZ"),
        (amplitudes, parameters.requires_grad_()),
        fast_mode=True,
    )


@pytest.mark.slow
def test_a_long_chain_needs_few_forms_of_cones(generator):
    circuit = brickwork(64, 2)
    amplitudes = random_product(2, 64, torch.complex64, generator)
    parameters = torch.randn(circuit.num_parameters, generator=generator)
    found = local_expectations(amplitudes, circuit, parameters)
    state = apply_circuit(product_state(amplitudes), circuit, parameters)
    assert_close(found, bloch_vectors(state)[..., 2], atol=1e-5, rtol=0)
    assert len(find_cones(circuit, "Z", tuple((site,) for site in range(64)))) < 12


def test_the_circuits_own_parameters_are_the_default():
    circuit = Circuit(2, [("rx", 0, [1.0]), ("cx", (0, 1))])
    zeros = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.complex128)
    cosine = torch.tensor(1.0, dtype=torch.float64).cos()
    assert_close(local_expectations(zeros, circuit), cosine.expand(1, 2))


def test_a_site_without_gates_has_gradients_too(generator):
    circuit = Circuit(2, [("ry", 0, [0.3])])
    amplitudes = random_product(1, 2, torch.complex128, generator)
    for parameters in (circuit.parameters().double(), torch.ones(2, 1, dtype=torch.float64)):
        found = local_expectations(amplitudes, circuit, parameters.requires_grad_())
        slope = torch.autograd.grad(found[:, 1].sum(), parameters)[0]
        assert_close(slope, torch.zeros_like(parameters))


@pytest.mark.parametrize(("n_sites", "as_strings"), [(4, True), (5, False), (40, False)])
def test_small_windows_alone_are_held_as_all_their_strings(n_sites, as_strings):
    cones = find_cones(staircase(n_sites), "Z", ((n_sites - 1,),))
    assert [cone.rotations is not None for cone in cones] == [as_strings]


def test_bad_arguments_are_named(generator):
    circuit = brickwork(3, 1)
    amplitudes = random_product(2, 3, torch.complex64, generator)
    with pytest.raises(ValueError, match="`pauli` must be letters of XYZ"):
        local_expectations(amplitudes, circuit, pauli="A")
    with pytest.raises(ValueError, match="2 sites for each observable"):
        local_expectations(amplitudes, circuit, pauli="ZZ", sites=[1])
    with pytest.raises(ValueError, match="`sites` must be distinct"):
        local_expectations(amplitudes, circuit, pauli="ZZ", sites=[(1, 1)])
    with pytest.raises(ValueError, match=r"within 0\.\.2, got \[3\]"):
        local_expectations(amplitudes, circuit, sites=[3])
    with pytest.raises(ValueError, match="fits nowhere"):
        local_expectations(amplitudes, circuit, pauli="ZZZZ")
    with pytest.raises(ValueError, match="number of sites must agree"):
        local_expectations(amplitudes[:, :2], circuit)
    with pytest.raises(ValueError, match="batch size must agree"):
        local_expectations(amplitudes, circuit, torch.zeros(3, circuit.num_parameters))
