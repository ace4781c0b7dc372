"""Pauli rotations against evolved observables; products of components against sums."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from mpsheads.ansatz import irredundant_staircase
from mpsheads.mps import Circuit, to_dense
from mpsheads.mps.gates import FAMILIES
from mpsheads.mps.heisenberg import evolve_observable, live_steps, pauli_string
from mpsheads.mps.products import as_rows, chain_expectation, dense_expectation
from mpsheads.mps.rotations import _PARTS, as_rotations, rotate

ROTATIONS = Circuit(
    4,
    [
        *(("zyz", 0), ("rx", 3), ("cry", (0, 1)), ("ry", 2), ("rzz", (3, 1)), ("crx", (2, 0))),
        *(("rz", 2), ("p", 1), ("cp", (2, 1)), ("crz", (3, 2)), ("rxx", (0, 2)), ("ryy", (1, 2))),
        ("controlled-unitary", (3, 0)),
    ],
)


def rotated(string, circuit, parameters):
    return rotate(string, as_rotations(circuit), parameters)


@pytest.mark.parametrize("circuit", [ROTATIONS, ROTATIONS.inverse()])
@pytest.mark.parametrize("string", ["1XYZ", "Z111"])
def test_rotations_and_chains_agree_gradients_included(circuit, string, generator):
    assert as_rotations(circuit) is not None
    parameters = torch.randn(
        3, circuit.num_parameters, dtype=torch.float64, generator=generator, requires_grad=True
    )
    found = rotated(string, circuit, parameters)
    start = pauli_string(string, 3, dtype=torch.float64)
    slow = to_dense(evolve_observable(start, circuit, parameters)).T
    assert_close(found, slow)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    assert_close(
        *(torch.autograd.grad((value * weights).sum(), parameters)[0] for value in (found, slow))
    )
    traced = torch.func.vmap(lambda row: rotated(string, circuit, row[None])[:, 0])(parameters)
    assert_close(traced.T, found)


@pytest.mark.parametrize("family", sorted(_PARTS))
def test_every_gate_that_is_rotations_is_the_rotations(family, generator):
    circuit = Circuit(3, [(family, (2, 0)[: FAMILIES[family].num_sites])])
    parameters = torch.randn(1, circuit.num_parameters, dtype=torch.float64, generator=generator)
    for string in ("X1Z", "Y1X", "Z1Y"):
        start = pauli_string(string, dtype=torch.float64)
        slow = to_dense(evolve_observable(start, circuit, parameters))[0]
        assert_close(rotated(string, circuit, parameters)[:, 0], slow)


@pytest.mark.slow
@pytest.mark.parametrize("components", [2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_expectations_in_product_states_are_sums_over_strings(components, width, generator):
    inputs = torch.randn(
        components, 8, 3, dtype=torch.float64, generator=generator, requires_grad=True
    )
    places = [(0, 1), (5, 1), (3, 7), (2, 2), (4, 5)][:width]
    rows = [as_rows(place) for place in places]
    observable = torch.randn(
        (components + 1) ** width, 2, dtype=torch.float64, generator=generator, requires_grad=True
    )
    found = dense_expectation(observable, inputs, rows)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    with_one = torch.cat([torch.ones(1, 8, 3, dtype=torch.float64), inputs])
    for number, string in enumerate(itertools.product(range(components + 1), repeat=width)):
        for o in range(2):
            term = observable[number, o]
            for letter, place in zip(string, places, strict=True):
                term = term * with_one[letter, place[o]]
            expected[o] = expected[o] + term
    assert_close(found, expected)
    traced = torch.func.vmap(lambda x: dense_expectation(observable, x, rows))(inputs[None])
    assert_close(traced[0], expected)
    weights = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    for mine, theirs in zip(
        *(
            torch.autograd.grad((value * weights).sum(), (observable, inputs))
            for value in (found, expected)
        ),
        strict=True,
    ):
        assert_close(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "chain"])
def test_expectations_do_not_depend_on_what_fits_the_cache(kind, generator):
    states = 20_000  # six times what is worked on at once
    inputs = torch.randn(2, 24, states, dtype=torch.float64, generator=generator)
    sites = [torch.randn(8, 1, 3, 1, dtype=torch.float64, generator=generator) for _ in range(3)]
    rows = [slice(8 * i, 8 * i + 8, 1) for i in range(3)]
    dense = [torch.einsum("oapb,obqc,ocrd->pqro", *sites).flatten(0, 2)]
    tensors = dense if kind == "dense" else sites

    def value_and_grads(inputs):
        own = [tensor.detach().requires_grad_() for tensor in (inputs, *tensors)]
        if kind == "dense":
            found = dense_expectation(own[1], own[0], rows)
        else:
            found = chain_expectation(own[1:], own[0], rows)
        return found, torch.autograd.grad(found.square().sum(), own)

    value, (grad, *grads) = value_and_grads(inputs)
    parts = [value_and_grads(part) for part in inputs.split(500, dim=2)]
    assert_close(value, torch.cat([part for part, _ in parts], 1))
    assert_close(grad, torch.cat([found[0] for _, found in parts], 2))
    for i, total in enumerate(grads, 1):
        assert_close(total, sum(found[i] for _, found in parts))


@pytest.mark.parametrize("components", [2, 3])
def test_chains_are_their_dense_observables_gradients_included(components, generator):
    bonds = [1, 3, 4, 2, 1]
    sites = [
        torch.randn(5, left, components + 1, right, dtype=torch.float64, generator=generator)
        for left, right in itertools.pairwise(bonds)
    ]
    inputs = torch.randn(components, 20, 3, dtype=torch.float64, generator=generator)
    rows = [slice(0, 5, 1), (7, 3, 3, 19, 0), slice(5, 15, 2), slice(15, 20, 1)]
    tensors = [tensor.requires_grad_() for tensor in (inputs, *sites)]
    dense = torch.einsum("oapb,obqc,ocrd,odse->pqrso", *sites).flatten(0, 3)
    weights = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    expected = dense_expectation(dense, inputs, rows)
    wanted = torch.autograd.grad((expected * weights).sum(), tensors)
    traced = torch.func.vmap(lambda x: chain_expectation(sites, x, rows))(inputs[None])
    assert_close(traced[0], expected)
    found = chain_expectation(sites, inputs, rows)
    assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), tensors), wanted, strict=True
    ):
        assert_close(mine, theirs)


@pytest.mark.parametrize("string", ["111111Z", "Z1X11YZ"])
def test_bonds_that_are_always_zero_are_left_out(string, generator):
    circuit = irredundant_staircase(7, 2)
    parameters = torch.randn(3, circuit.num_parameters, dtype=torch.float64, generator=generator)
    start = pauli_string(string, 3, dtype=torch.float64)
    found = evolve_observable(start, circuit, parameters, live_steps(string, circuit))
    whole = evolve_observable(start, circuit, parameters)
    assert_close(to_dense(found), to_dense(whole))
    if string == "111111Z":
        assert max(found.bond_dims) == 8 < max(whole.bond_dims)
