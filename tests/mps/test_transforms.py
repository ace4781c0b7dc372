"""The free functions under `torch.func` and `torch.utils._pytree`."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils import _pytree

from mpsheads.ansatz import brickwork
from mpsheads.mps import (
    MPS,
    Circuit,
    Truncation,
    apply_circuit,
    apply_controlled,
    apply_gate,
    apply_mpo,
    ising_hamiltonian,
    log_fidelity,
    log_norm,
    overlap,
    product_state,
    random_mps,
    to_dense,
    trim_bonds,
)
from mpsheads.mps.canonical import add, canonicalize, compress, from_dense
from mpsheads.mps.heisenberg import evolve_observable, pauli_string
from tests.strategies import random_product

DTYPE = torch.complex128
CIRCUIT = brickwork(4, 2) + Circuit(
    4, [("ccx", (3, 0, 2)), ("su4", (2, 0)), ("h", 1), ("fsim", (1, 3)), (torch.eye(4), (0, 1))]
)
CUT = Truncation(max_bond=2)


@pytest.fixture
def fixed(generator):
    return random_mps(4, 2, dtype=DTYPE, generator=generator)


@pytest.fixture
def start(generator):
    return product_state(random_product(1, 4, DTYPE, generator))


FUNCTIONS = {
    "circuit": lambda start, p: apply_circuit(start, CIRCUIT, p),
    "truncated circuit": lambda start, p: apply_circuit(start, CIRCUIT, p, CUT),
    "canonicalize": lambda start, p: canonicalize(apply_circuit(start, CIRCUIT, p), 1),
    "compress": lambda start, p: compress(canonicalize(apply_circuit(start, CIRCUIT, p), 1), CUT),
    "add": lambda start, p: add(start, apply_circuit(start, CIRCUIT, p)),
    "gates": lambda start, p: apply_gate(
        apply_gate(canonicalize(start, 1), torch.diag_embed(p[:4] + 0j), (2, 0), CUT),
        torch.diag_embed(p[:2] + 1j),
        1,
    ),
    "controlled": lambda start, p: apply_controlled(start, torch.diag_embed(p[:2] + 0j), 3, 1, CUT),
    "operator": lambda start, p: apply_mpo(
        apply_circuit(start, CIRCUIT, p), ising_hamiltonian(4, dtype=DTYPE), CUT
    ),
    "trim": lambda start, p: trim_bonds(add(*[apply_circuit(start, CIRCUIT, p)] * 2)),
    "from dense": lambda start, p: from_dense(p[None, :16] + 0j, 2, CUT),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_free_functions_can_be_vmapped_and_differentiated(name, start, fixed, generator):
    shape = (3, CIRCUIT.num_parameters)
    batch = torch.randn(shape, dtype=torch.float64, generator=generator)

    def vector(p):
        return to_dense(FUNCTIONS[name](start, p))[0]

    def loss(p):
        state = FUNCTIONS[name](start, p)
        return (log_fidelity(state, fixed) + log_norm(state) + state.truncation_angle).sum()

    vectors = torch.func.vmap(vector)(batch)
    gradients = torch.func.vmap(torch.func.grad(loss))(batch)
    alone = torch.func.grad(loss)(batch[0])
    for i in range(3):
        point = batch[i].clone().requires_grad_()
        assert_close(vectors[i], vector(batch[i]))
        expected = torch.autograd.grad(loss(point), point)[0]
        assert_close(gradients[i], expected)
        if i == 0:
            assert_close(alone, expected)


def test_states_go_in_and_out_of_vmap(generator, fixed):
    """Each leaf has one more axis in front; inside, states are batches as ever."""
    states = [random_mps(4, 3, batch_size=2, dtype=DTYPE, generator=generator) for _ in range(3)]
    stacked = _pytree.tree_map(lambda *leaves: torch.stack(leaves), *states)
    cut = torch.func.vmap(lambda state: compress(state, CUT))(stacked)
    numbers = torch.func.vmap(overlap, in_dims=(0, None))(stacked, fixed[[0, 0]])
    for i, state in enumerate(states):
        expected = compress(state, CUT)
        found = _pytree.tree_map(lambda leaf, i=i: leaf[i], cut)
        assert isinstance(found, MPS)
        assert_close(to_dense(found), to_dense(expected))
        assert_close(found.discarded_weight, expected.discarded_weight)
        assert_close(numbers[i], overlap(state, fixed[[0, 0]]))


def test_gradients_with_respect_to_a_state_are_a_state(generator, fixed):
    state = random_mps(4, 2, batch_size=2, dtype=DTYPE, generator=generator)

    def loss(x):
        return log_fidelity(x, fixed[[0, 0]]).sum() + log_norm(x).sum()

    found = torch.func.grad(loss)(state)
    leaves = [site.clone().requires_grad_() for site in state.sites]
    norm = state.log_norm.clone().requires_grad_()
    expected = torch.autograd.grad(loss(MPS(tuple(leaves), norm)), [*leaves, norm])
    assert isinstance(found, MPS)
    for a, b in zip([*found.sites, found.log_norm], expected, strict=True):
        assert_close(a, b)


def test_a_state_is_a_pytree_with_all_of_its_fields(generator):
    state = random_mps(4, 4, batch_size=2, generator=generator)
    state = compress(canonicalize(state, 3), Truncation(max_bond=1))
    leaves, spec = _pytree.tree_flatten(state)
    assert len(leaves) == 4 + 3
    back = _pytree.tree_unflatten(leaves, spec)
    assert back.center == state.center == 3
    for a, b in zip(_pytree.tree_leaves(back), leaves, strict=True):
        assert a is b
    assert _pytree.tree_map(torch.clone, {"a": [state]})["a"][0].n_sites == 4
    assert spec != _pytree.tree_structure(canonicalize(state, 0))  # the centre is no tensor


def test_observables_evolve_under_vmap(generator):
    batch = torch.randn(3, CIRCUIT.num_parameters, dtype=torch.float64, generator=generator)
    observable = pauli_string("X1YZ", dtype=torch.float64)
    mapped = torch.func.vmap(
        lambda p: to_dense(evolve_observable(observable, CIRCUIT, p[None]))[0]
    )(batch)
    together = evolve_observable(pauli_string("X1YZ", 3, dtype=torch.float64), CIRCUIT, batch)
    assert_close(mapped, to_dense(together))
