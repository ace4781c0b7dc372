from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import staircase
from mpsheads.mps import (
    MPO,
    MPS,
    Circuit,
    Truncation,
    apply_circuit,
    apply_controlled,
    apply_gate,
    ising_hamiltonian,
    log_norm,
    mpo_to_dense,
    overlap,
    product_state,
    random_mps,
    to_dense,
)
from mpsheads.mps.canonical import canonicalize
from mpsheads.mps.evolve import apply_mpo
from mpsheads.mps.gates import ry, unitary
from tests.strategies import (
    SEEDS,
    assert_canonical,
    circuits,
    dense_circuit,
    dense_compress,
    dense_gate,
    gates,
    haar_unitary,
    random_product,
    source,
    states,
    tolerance,
    truncations,
)

DOUBLE = torch.complex128


@pytest.mark.slow
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
    amplitudes = random_product(batch, circuit.num_sites, dtype, generator)
    parameters = torch.randn(shape, dtype=amplitudes.real.dtype, generator=generator)

    state = apply_circuit(product_state(amplitudes), circuit, parameters)

    assert state.dtype == dtype
    atol = tolerance(dtype)
    for i, vector in enumerate(to_dense(state)):
        mine = parameters if shared else parameters[i]
        expected = dense_circuit(oracle.product_vector(amplitudes[i]), circuit, mine)
        assert_close(vector.to(torch.complex128), expected, atol=atol, rtol=0)
    assert_close(log_norm(state), torch.zeros_like(state.log_norm), atol=atol, rtol=0)


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


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_staircase_doubles_each_bond_once_a_layer_until_the_shorter_side_is_full(depth):
    circuit = staircase(8, depth)
    state = product_state(torch.ones(2, 8, 2, dtype=torch.complex64) / 2**0.5)
    after = apply_circuit(state, circuit, torch.ones(circuit.num_parameters))
    assert after.bond_dims == tuple(min(2**depth, 2**k) for k in (1, 2, 3, 4, 3, 2, 1))


def test_bad_arguments_are_named(generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    gate = unitary(torch.randn(4, generator=generator))
    with pytest.raises(ValueError, match=r"distinct and lie within 0\.\.2, got \[3\]"):
        apply_gate(state, gate, 3)
    with pytest.raises(ValueError, match="`sites` must be distinct"):
        apply_controlled(state, gate, 1, 1)
    with pytest.raises(ValueError, match=r"`matrix` must be .* with 4 levels"):
        apply_gate(state, gate, (0, 1))
    with pytest.raises(ValueError, match="one for all states, or for each of 2, got 3"):
        apply_gate(state, gate.expand(3, 2, 2), 0)
    with pytest.raises(TypeError, match=r"`matrix` is complex and the states are torch\.float32"):
        apply_gate(random_mps(2, 1, dtype=torch.float32), gate, 0)
    with pytest.raises(
        ValueError, match="number of sites must agree: `state` has 3, `circuit` has 4"
    ):
        apply_circuit(state, staircase(4), torch.zeros(28))


@st.composite
def states_and_gates(draw, **kwargs):
    state = draw(states(min_sites=1, max_sites=5, max_bond=3, **kwargs))
    return state, *draw(gates(state))


@given(given_gate=states_and_gates())
def test_gates_on_any_sites_of_any_dimension_give_the_dense_result(given_gate):
    state, matrix, sites = given_gate
    grown = apply_gate(state, matrix, sites)
    expected = dense_gate(to_dense(state), matrix, sites, state.phys_dims)
    assert_close(to_dense(grown), expected)
    assert grown.dtype == state.dtype
    for i in {*range(state.n_sites)} - {*range(min(sites), max(sites) + 1)}:
        assert grown.sites[i] is state.sites[i]


@given(given_gate=states_and_gates(phys_dims=(2, 3)), data=st.data())
def test_truncated_gates_keep_a_truthful_center_and_give_the_dense_result(given_gate, data):
    state, matrix, sites = given_gate
    center = data.draw(st.none() | st.integers(0, state.n_sites - 1))
    truncation = data.draw(truncations(max_bond=8))
    before = state if center is None else canonicalize(state, center)
    expected = dense_gate(to_dense(state), matrix, sites, state.phys_dims)
    assume((expected.norm(dim=1) > 1e-3).all())
    after = apply_gate(before, matrix, sites, truncation)
    found = to_dense(after)
    first, last = min(sites), max(sites)
    for i, vector in enumerate(expected):
        dense, dropped = dense_compress(vector, state.phys_dims, truncation, first, last - 1)
        assert_close(found[i], dense.to(state.dtype), atol=1e-8, rtol=0)  # gaps may be small
        assert_close(after.discarded_weight[i], dropped, atol=1e-9, rtol=0)
    if after.center is not None:
        assert_canonical(after, filled=truncation.cutoff > 0)
    if center is not None:
        outside = apply_gate(before, matrix, sites)
        if outside.center is not None:
            assert_canonical(outside)


@pytest.mark.parametrize("unitary_gate", [True, False])
def test_one_site_gates_leave_the_center_where_that_is_true(unitary_gate, generator):
    state = canonicalize(random_mps(4, 3, batch_size=2, dtype=DOUBLE, generator=generator), 1)
    matrix = torch.randn(2, 2, 2, dtype=DOUBLE, generator=generator)
    matrix = torch.linalg.qr(matrix)[0] if unitary_gate else matrix
    for site in range(4):
        after = apply_gate(state, matrix, site)
        assert after.center == (1 if unitary_gate or site == 1 else None)
        if after.center is not None:
            assert_canonical(after)
    traced = []
    torch.vmap(lambda gate: traced.append(apply_gate(state, gate, 0).center) or gate)(matrix)
    assert traced == [None]  # nobody looked whether the gate is unitary


def test_a_chain_of_truncated_gates_stays_local_and_canonical(generator):
    state = canonicalize(random_mps(8, 3, dtype=DOUBLE, generator=generator), 0)
    exact, norm = to_dense(state), log_norm(state)
    for i in [*range(7), *reversed(range(7))]:
        matrix = haar_unitary(4, generator)
        before, state = state, apply_gate(state, matrix, (i, i + 1), Truncation(max_bond=6))
        exact = dense_gate(exact, matrix, (i, i + 1), (2,) * 8)
        dropped = (state.discarded_weight - before.discarded_weight)[:, i]
        norm = norm + torch.log1p(-dropped) / 2
        assert state.center is not None
        assert_canonical(state)
        low, high = min(before.center, i), max(before.center, i + 1)
        for k in [*range(low), *range(high + 1, 8)]:
            assert state.sites[k] is before.sites[k]
    fidelity = oracle.fidelity(to_dense(state)[0], exact[0])
    assert 0.5 < state.fidelity_bound[0] <= fidelity + 1e-12
    assert_close(log_norm(state), norm)


CONTROLLED = torch.block_diag(torch.eye(2), torch.tensor([[0, 1.0], [1, 0]]))


@pytest.mark.parametrize("sites", [(0, 1), (1, 0), (0, 3), (4, 1)])
@pytest.mark.parametrize(
    ("matrix", "rank"),
    [
        (CONTROLLED, 2),
        (torch.diag(torch.tensor([1.0, 1, 1, -1])), 2),
        (torch.eye(4)[[0, 2, 1, 3]], 4),
        (torch.kron(torch.tensor([[0, 1.0], [1, 0]]), torch.tensor([[1.0, 0], [0, -1]])), 2),
        (torch.ones(4, 4), 4),
        (torch.zeros(4, 4), 1),
    ],
    ids=["cx", "cz", "swap", "x z", "dense", "zero"],
)
def test_constant_gates_multiply_the_bond_by_the_products_they_need(matrix, rank, sites, generator):
    state = product_state(random_product(2, 5, DOUBLE, generator))
    matrix = matrix.to(DOUBLE)
    after = apply_gate(state, matrix, sites)
    assert_close(to_dense(after), dense_gate(to_dense(state), matrix, sites, (2,) * 5))
    low, high = min(sites) + 2, max(sites) + 2
    narrow = narrow_between(low, high, generator)  # else a bond is at most twice its neighbour
    bonds = apply_gate(narrow, matrix, tuple(site + 2 for site in sites)).bond_dims
    assert bonds[low:high] == (rank,) * (high - low)
    assert bonds[:low] + bonds[high:] == narrow.bond_dims[:low] + narrow.bond_dims[high:]


def narrow_between(low, high, generator):
    """States of 9 sites with bonds of dimension 1 between two sites, and 4 elsewhere."""
    bonds = [1, 2, *(1 if low <= i < high else 4 for i in range(1, 7)), 2, 1]
    shapes = pairwise(bonds)
    sites = [torch.randn(2, a, 2, b, dtype=DOUBLE, generator=generator) for a, b in shapes]
    return MPS(tuple(sites), torch.zeros(2, dtype=torch.float64))


@pytest.mark.slow
def test_gates_that_need_gradients_have_full_rank_and_gradients_where_they_are_zero(generator):
    state = random_mps(3, 2, dtype=DOUBLE, generator=generator)
    matrix = CONTROLLED.to(DOUBLE).requires_grad_()
    phi = random_mps(3, 2, dtype=DOUBLE, generator=generator)

    def loss(gate, sites):
        return overlap(phi, apply_gate(state, gate, sites)).abs().sum()

    for sites in [(0, 1), (2, 0)]:
        assert torch.autograd.gradcheck(lambda gate, s=sites: loss(gate, s), (matrix,))
        (grad,) = torch.autograd.grad(loss(matrix, sites), matrix)
        assert (grad.abs() > 1e-6).all()
    three = torch.eye(8, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(lambda gate: loss(gate, (2, 0, 1)), (three,))
    narrow = narrow_between(3, 5, generator)
    assert apply_gate(narrow, matrix, (3, 5)).bond_dims[3:5] == (4, 4)


def test_controlled_gates_at_any_distance_may_be_truncated(generator):
    state = random_mps(5, 3, batch_size=2, dtype=DOUBLE, generator=generator)
    matrix = torch.randn(2, 2, 2, dtype=DOUBLE, generator=generator)
    for control, target in [(0, 3), (4, 2)]:
        exact = apply_controlled(state, matrix, control, target)
        cut = apply_controlled(state, matrix, control, target, Truncation(max_bond=2))
        first, last = sorted((control, target))
        for i, vector in enumerate(to_dense(exact)):
            full = torch.block_diag(torch.eye(2), matrix[i])
            expected = dense_gate(to_dense(state)[i : i + 1], full, (control, target), (2,) * 5)[0]
            assert_close(vector, expected)
            dense, dropped = dense_compress(
                vector, (2,) * 5, Truncation(max_bond=2), first, last - 1
            )
            assert_close(to_dense(cut)[i], dense, atol=1e-9, rtol=0)
            assert_close(cut.discarded_weight[i], dropped, atol=1e-10, rtol=0)


@pytest.mark.slow
@given(
    circuit=circuits(max_sites=7),
    batch=st.integers(1, 3),
    shared=st.booleans(),
    seed=SEEDS,
    dtype=st.sampled_from([torch.complex64, torch.complex128]),
)
def test_circuits_truncated_at_the_full_bond_dimension_are_exact(
    circuit, batch, shared, seed, dtype
):
    generator = source(seed)
    shape = (circuit.num_parameters,) if shared else (batch, circuit.num_parameters)
    amplitudes = random_product(batch, circuit.num_sites, dtype, generator)
    parameters = torch.randn(shape, dtype=amplitudes.real.dtype, generator=generator)
    truncation = Truncation(max_bond=2 ** (circuit.num_sites // 2))
    state = apply_circuit(product_state(amplitudes), circuit, parameters, truncation)
    cut = apply_circuit(product_state(amplitudes), circuit, parameters, Truncation(cutoff=1e-24))
    atol = 10 * tolerance(dtype)
    for i in range(batch):
        mine = parameters if shared else parameters[i]
        expected = dense_circuit(oracle.product_vector(amplitudes[i]), circuit, mine).to(dtype)
        assert_close(to_dense(state)[i], expected, atol=atol, rtol=0)
        assert_close(to_dense(cut)[i], expected, atol=atol, rtol=0)
    assert_close(state.fidelity_bound, torch.ones_like(state.log_norm), atol=1e-6, rtol=0)


@pytest.mark.slow
@given(circuit=circuits(max_sites=7), bond=st.integers(1, 4), seed=SEEDS)
def test_circuits_truncated_below_are_no_worse_than_their_bound(circuit, bond, seed):
    generator = source(seed)
    amplitudes = random_product(2, circuit.num_sites, DOUBLE, generator)
    parameters = torch.randn(2, circuit.num_parameters, dtype=torch.float64, generator=generator)
    state = apply_circuit(product_state(amplitudes), circuit, parameters, Truncation(bond))
    assert state.max_bond <= bond
    kept = (1 - state.discarded_weight).prod(1)  # a layer may drop on one bond twice
    assert (log_norm(state).exp() ** 2 >= kept - 1e-9).all()
    for i, vector in enumerate(to_dense(state)):
        expected = dense_circuit(oracle.product_vector(amplitudes[i]), circuit, parameters[i])
        assert state.fidelity_bound[i] <= oracle.fidelity(vector, expected) + 1e-7


@pytest.mark.slow
@given(circuit=circuits(max_sites=6), bond=st.sampled_from([None, 2]), seed=SEEDS)
def test_checkpointing_changes_neither_value_nor_gradient(circuit, bond, seed):
    generator = source(seed)
    amplitudes = random_product(2, circuit.num_sites, DOUBLE, generator)
    shape = (2, circuit.num_parameters)
    parameters = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    phi = random_mps(circuit.num_sites, 2, batch_size=2, dtype=DOUBLE, generator=generator)
    truncation = None if bond is None else Truncation(bond)
    results = []
    for checkpoint in (False, True):
        x = amplitudes.clone().requires_grad_()
        state = apply_circuit(
            product_state(x), circuit, parameters, truncation, checkpoint=checkpoint
        )
        value = overlap(phi, state).abs().sum() + state.discarded_weight.sum()
        value = value + 0 * parameters.sum()
        results.append((value, *torch.autograd.grad(value, (x, parameters))))
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected)


@given(circuit=circuits(max_sites=6), seed=SEEDS)
def test_a_circuit_is_undone_by_its_inverse(circuit, seed):
    state = random_mps(circuit.num_sites, 3, batch_size=2, dtype=DOUBLE, generator=source(seed))
    back = apply_circuit(apply_circuit(state, circuit), circuit.inverse())
    assert_close(to_dense(back), to_dense(state), atol=1e-12, rtol=0)


@given(
    state=states(min_sites=2, max_sites=4, max_bond=3, phys_dims=(2, 3)),
    seed=SEEDS,
    one=st.booleans(),
)
def test_operators_give_the_dense_result_for_one_or_one_for_each(state, seed, one):
    generator = source(seed)
    bonds = [
        1,
        *(int(b) for b in torch.randint(1, 4, (state.n_sites - 1,), generator=generator)),
        1,
    ]
    batch = 1 if one else len(state)
    operator = MPO(
        tuple(
            torch.randn(batch, left, d, d, right, dtype=state.dtype, generator=generator)
            for left, d, right in zip(bonds, state.phys_dims, bonds[1:], strict=False)
        )
    )
    exact = torch.einsum(
        "bij,bj->bi", mpo_to_dense(operator).expand(len(state), -1, -1), to_dense(state)
    )
    after = apply_mpo(state, operator)
    assert_close(to_dense(after), exact)
    assume((exact.norm(dim=1) > 1e-3).all())
    cut = apply_mpo(state, operator, Truncation(max_bond=2))
    for i, vector in enumerate(exact):
        expected, dropped = dense_compress(vector, state.phys_dims, Truncation(max_bond=2))
        assert_close(to_dense(cut)[i], expected, atol=1e-8 * float(vector.norm()), rtol=0)
        assert_close(cut.discarded_weight[i], dropped, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_gradients_through_a_truncated_circuit_agree_with_finite_differences(generator):
    circuit = Circuit(
        4,
        [("zyz", i) for i in range(4)]
        + [("su4", (0, 2)), ("fsim", (3, 1)), ("ccx", (1, 3, 0)), ("cp", (2, 3))],
    )
    amplitudes = random_product(2, 4, DOUBLE, generator)
    phi = random_mps(4, 2, batch_size=2, dtype=DOUBLE, generator=generator)
    parameters = torch.randn(2, circuit.num_parameters, dtype=torch.float64, generator=generator)

    def loss(p, x):
        state = apply_circuit(product_state(x), circuit, p, Truncation(max_bond=3))
        return overlap(phi, state).abs().sum() + state.discarded_weight.sum()

    assert torch.autograd.gradcheck(
        loss, (parameters.requires_grad_(), amplitudes.requires_grad_()), fast_mode=True
    )


def test_other_bad_arguments_are_named(generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    circuit = staircase(3)
    with pytest.raises(ValueError, match=r"`parameters` must be one for .* each of 2, got 3"):
        apply_circuit(state, circuit, torch.zeros(3, circuit.num_parameters))
    with pytest.raises(TypeError, match=r"Gates are complex and the states are torch\.float32"):
        apply_circuit(random_mps(3, 2, dtype=torch.float32), circuit)
    with pytest.raises(ValueError, match=r"must be one of qubits, got dimensions \(3, 3, 3\)"):
        apply_circuit(random_mps(3, 2, phys_dim=3), circuit)
    for wrong, message in (((0, 0), "distinct"), ((), "at least one site"), (-1, r"got \[-1\]")):
        with pytest.raises(ValueError, match=message):
            apply_gate(state, torch.eye(4), wrong)
    with pytest.raises(ValueError, match="one to three different sites"):
        apply_gate(random_mps(4, 2), torch.eye(16), (0, 1, 2, 3))
    operator = ising_hamiltonian(3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="number of sites must agree"):
        apply_mpo(random_mps(2, 1), operator)
    with pytest.raises(TypeError, match=r"`operator` is complex and the states are torch\.float32"):
        apply_mpo(random_mps(3, 1, dtype=torch.float32), operator)
    many = MPO(tuple(site.expand(3, -1, -1, -1, -1) for site in operator.sites))
    with pytest.raises(ValueError, match=r"`operator` must be one for .* each of 2, got 3"):
        apply_mpo(state, many)
