import itertools
import math
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import Circuit, Operation, gates
from mpsheads.mps.gate_factors import contract
from tests.strategies import circuits, dense_circuit, haar_unitary, operation_matrix

ANY = circuits(max_sites=6, max_gates=12)


def basis_columns(num_sites):
    return torch.eye(2**num_sites, dtype=torch.complex128)


def dense_unitary(circuit, parameters):
    columns = [dense_circuit(v, circuit, parameters) for v in basis_columns(circuit.num_sites)]
    return torch.stack(columns, -1)


def angles_of(circuit):
    return circuit.parameters(torch.float64)


@given(circuit=ANY, batch=st.sampled_from([None, 1, 3]), seed=st.integers(0, 1000))
def test_factors_are_the_gates_with_their_sites_from_left_to_right(circuit, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (circuit.num_parameters,) if batch is None else (batch, circuit.num_parameters)
    parameters = torch.randn(shape, dtype=torch.float64, generator=generator)
    factors = circuit.factors(parameters)
    unitaries = circuit.unitaries(parameters)
    members = {kind: iter(range(len(tensors[0]))) for kind, tensors in factors.items()}
    for operation, unitary in zip(circuit, unitaries, strict=True):
        place = next(members[operation.kind])
        mine = tuple(tensor[place] for tensor in factors[operation.kind])
        assert {tensor.ndim for tensor in mine} == {5}
        assert {len(tensor) for tensor in mine} <= {1, batch or 1}
        assert (mine[0].shape[1], mine[-1].shape[-1]) == (1, 1)
        matrix = contract(mine).expand(batch or 1, -1, -1)
        matrix = matrix if batch else matrix[0]
        # the same operator on 3 sites, by the oracle: sites as named against sites sorted
        ranks = [sorted(operation.sites).index(site) for site in operation.sites]
        for i, one in enumerate(unitary if batch else [unitary]):
            columns = [
                oracle.apply_matrix(v, one, ranks) for v in basis_columns(len(operation.sites))
            ]
            assert_close((matrix[i] if batch else matrix), torch.stack(columns, -1))
    assert all(next(rest, None) is None for rest in members.values())


@pytest.mark.parametrize("sites", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("gate", ["ccx", "haar"])
def test_three_site_gates_take_their_sites_in_any_order(gate, sites, generator):
    matrix = haar_unitary(8, generator) if gate == "haar" else gate
    circuit = Circuit(3, [(matrix, sites)])
    ((kind, factors),) = circuit.factors(torch.zeros(0, dtype=torch.float64)).items()
    assert kind == circuit.operations[0].kind
    expected = dense_unitary(circuit, angles_of(circuit))
    assert_close(contract(factors)[0, 0], expected, atol=1e-12, rtol=0)
    bonds = tuple(factor.shape[-1] for factor in factors[:-1])
    assert bonds == ((4, 4) if gate == "haar" else (2, 2))


def test_fixed_matrices_of_one_rank_are_computed_together(generator):
    haar = [(haar_unitary(4, generator), (0, 1)) for _ in range(5)]
    circuit = Circuit(2, [*haar, (gates.FAMILIES["cz"].matrix(torch.zeros(0)), (0, 1))])
    factors = circuit.factors(torch.zeros(0))
    assert sorted(tensors[0].shape[0] for tensors in factors.values()) == [1, 5]
    assert sorted(kind.bonds for kind in factors) == [(2,), (4,)]
    assert {tensor.dtype for tensors in factors.values() for tensor in tensors} == {torch.complex64}


@pytest.mark.slow
@given(circuit=ANY)
def test_a_circuit_and_its_inverse_are_the_identity(circuit):
    assert circuit.inverse().inverse() == circuit
    assert circuit.inverse().num_parameters == circuit.num_parameters
    product = dense_unitary(circuit.inverse(), angles_of(circuit)) @ dense_unitary(
        circuit, angles_of(circuit)
    )
    assert_close(product, basis_columns(circuit.num_sites), atol=1e-12, rtol=0)


@pytest.mark.slow
@given(first=circuits(3, 6), second=circuits(3, 6))
def test_a_sum_applies_the_second_after_the_first_with_parameters_side_by_side(first, second):
    first, second = first.on(range(first.num_sites), 3), second.on(range(second.num_sites), 3)
    both = first + second
    assert both.values == first.values + second.values
    product = dense_unitary(second, angles_of(second)) @ dense_unitary(first, angles_of(first))
    assert_close(dense_unitary(both, angles_of(both)), product)


def test_a_circuit_can_be_placed_on_other_sites(generator):
    circuit = Circuit(2, [("su4", (0, 1)), ("rx", (1,))])
    parameters = torch.randn(16, dtype=torch.float64, generator=generator)
    placed = circuit.on((3, 1), 4)
    assert [op.sites for op in placed] == [(3, 1), (1,)]
    vector = torch.randn(16, dtype=torch.complex128, generator=generator)
    expected = oracle.apply_matrix(vector, dense_unitary(circuit, parameters), (3, 1))
    assert_close(dense_circuit(vector, placed, parameters), expected)


@given(circuit=ANY, data=st.data())
def test_a_light_cone_gives_the_reduced_state_of_the_whole_circuit(circuit, data):
    sites = data.draw(st.sets(st.integers(0, circuit.num_sites - 1), min_size=1, max_size=2))
    sites = tuple(sorted(sites))
    cone, window = circuit.light_cone(sites)
    assert set(sites) <= set(window)
    assert list(window) == sorted(window)
    assert cone.num_sites == len(window)
    assert cone.num_parameters == circuit.num_parameters
    generator = torch.Generator().manual_seed(1)
    qubits = torch.randn(circuit.num_sites, 2, dtype=torch.complex128, generator=generator)
    qubits = qubits / qubits.norm(dim=-1, keepdim=True)
    whole = dense_circuit(oracle.product_vector(qubits), circuit, angles_of(circuit))
    part = dense_circuit(oracle.product_vector(qubits[[*window]]), cone, angles_of(cone))
    inner = [window.index(site) for site in sites]
    assert_close(oracle.partial_trace(part, inner), oracle.partial_trace(whole, sites))


def test_a_light_cone_leaves_out_what_cannot_matter():
    circuit = Circuit(
        5, [("rx", 4), ("cx", (0, 1)), ("cx", (1, 2)), ("rx", 1), ("cx", (3, 4)), ("rz", 2)]
    )
    cone, window = circuit.light_cone([2])
    assert window == (0, 1, 2)
    assert [(op.gate, op.sites, op.start) for op in cone] == [
        ("cx", (0, 1), 1),
        ("cx", (1, 2), 1),
        ("rz", (2,), 2),
    ]


def test_values_are_the_angles_that_the_circuit_came_with():
    circuit = Circuit(2, [("rx", 0, [0.5]), ("h", 1), ("fsim", (0, 1), torch.tensor([1.0, 2]))])
    assert circuit.values == (0.5, 1.0, 2.0)
    assert_close(circuit.parameters(torch.float64), torch.tensor([0.5, 1, 2]).double())
    assert circuit.parameters().dtype == torch.float32
    assert Circuit(1, [("zyz", 0)]).values == (0.0, 0.0, 0.0)
    changed = circuit.with_parameters(torch.tensor([3.0, 4.0, 5.0]))
    assert changed.values == (3.0, 4.0, 5.0)
    assert changed.operations == circuit.operations


def flat(circuit, parameters):
    return [t for tensors in circuit.factors(parameters).values() for t in tensors]


EVERY = Circuit(
    4,
    [(name, tuple(range(family.num_sites))) for name, family in gates.FAMILIES.items()]
    + [(name, (3, 1)) for name, family in gates.FAMILIES.items() if family.num_sites == 2]
    + [("ccx", (2, 0, 3)), (gates.FAMILIES["swap"].matrix(torch.zeros(0)), (2, 3))],
)
EVERY = EVERY + EVERY.inverse()


@pytest.mark.slow
def test_factors_can_be_vmapped_over_parameters_and_differentiated(generator):
    shape = (3, EVERY.num_parameters)
    parameters = torch.randn(shape, dtype=torch.float64, generator=generator)
    mapped = torch.func.vmap(lambda p: flat(EVERY, p), out_dims=0)(parameters)
    for found, expected in zip(mapped, flat(EVERY, parameters), strict=True):
        expected = expected.expand(-1, 3, *expected.shape[2:])
        assert_close(found.squeeze(2).movedim(0, 1), expected)
    matrices = torch.func.vmap(EVERY.unitaries)(parameters)
    for found, expected in zip(matrices, EVERY.unitaries(parameters), strict=True):
        assert_close(found, expected)

    def loss(p):
        return sum((t * t * (1 + 2j)).real.sum() for t in flat(EVERY, p))

    point = parameters[0].requires_grad_()
    (expected,) = torch.autograd.grad(loss(point), point)
    assert_close(torch.func.grad(loss)(parameters[0].detach()), expected)
    per_sample = torch.func.vmap(torch.func.grad(loss))(parameters.detach())
    assert_close(per_sample[0], expected)


@pytest.mark.slow
def test_factors_and_matrices_follow_the_device_of_the_parameters():
    parameters = torch.zeros(2, EVERY.num_parameters, device="meta")
    for _ in range(2):  # the second time from what the first has kept
        tensors = [*flat(EVERY, parameters), *EVERY.unitaries(parameters)]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {tensor.device.type for tensor in flat(EVERY, torch.zeros(parameters.shape))} == {"cpu"}


@pytest.mark.slow
def test_a_circuit_survives_pickling_and_has_a_hash_of_this_process():
    code = (
        "import pickle, sys; from mpsheads.mps import Circuit\n"
        "sys.stdout.buffer.write(pickle.dumps(Circuit(2, [('h', 0), ('rx', 1, [0.5])])))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    there, here = pickle.loads(run.stdout), Circuit(2, [("h", 0), ("rx", 1, [0.5])])
    assert {there: 1}[here] == 1
    assert pickle.loads(pickle.dumps(EVERY)) == EVERY
    assert hash(EVERY) == hash(EVERY.inverse().inverse())


def test_gates_and_operations_number_their_parameters_alike():
    circuit = Circuit(3, [("ry", (0,)), Operation("rx", (1,), 2), ("rz", 2, [0.5])])
    assert [operation.start for operation in circuit] == [0, 2, 3]
    assert circuit.values == (0.0, 0.0, 0.0, 0.5)
    assert Circuit(3, circuit.operations, circuit.values) == circuit
    assert Circuit(3, [("ry", 0), ("rz", 1, [0.5])], [1.0, 2.0]).values == (1.0, 2.0)
    with pytest.raises(ValueError, match="`values` must be 2 finite numbers or more, got 1"):
        Circuit(3, [("ry", 0), ("rz", 1)], [1.0])


@given(circuit=ANY)
def test_matrices_are_those_of_the_families(circuit):
    parameters = angles_of(circuit)
    for operation, matrix in zip(circuit, circuit.unitaries(parameters), strict=True):
        assert_close(matrix, operation_matrix(operation, parameters))


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (("cnot", (0, 1)), '`gate` must be one of .*"zyz"'),
        (("zyz", (0, 1)), "takes 1 distinct sites"),
        (("controlled-unitary", (1, 1)), "takes 2 distinct sites"),
        (("zyz", (2,)), r"within 0\.\.1, got \(2,\)"),
        (("rx", 0, [1.0, 2.0]), 'Gate "rx" takes 1 angles'),
        (("h", 0, [1.0]), 'Gate "h" takes 0 angles'),
        (("rx", 0, [math.nan]), "`values` must be 1 finite numbers or more, got 1, 0 of them"),
        (([[1, 0], [0, 1.1]], 0), r"must be unitary, .* by up to 0\.21"),
        (([[1, 0], [0, math.nan]], 0), "must be unitary, .* by up to nan"),
        (([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 0), "2 x 2, 4 x 4 or 8 x 8, got 3 rows"),
        (([[1, 0], [0, 1]], (0, 1)), 'Gate "matrix" takes 1 distinct sites'),
        (([1, 0], 0), "`matrix` must have two axes, got 1"),
    ],
)
def test_a_circuit_refuses_gates_that_do_not_fit(gate, message):
    with pytest.raises(ValueError, match=message):
        Circuit(2, [gate])


def test_a_circuit_refuses_parameters_of_another_shape():
    circuit = Circuit(1, [("zyz", (0,))])
    for wrong in (torch.zeros(4), torch.zeros(2, 2, 3)):
        with pytest.raises(ValueError, match="must hold 3 numbers on the last axis"):
            circuit.factors(wrong)
        with pytest.raises(ValueError, match="must hold 3 numbers on the last axis"):
            circuit.unitaries(wrong)
        with pytest.raises(ValueError, match="must hold 3 numbers on the last axis"):
            circuit.with_parameters(wrong.flatten())
    with pytest.raises(ValueError, match="device must agree: `parameters` has meta, `states` has"):
        circuit.given(torch.zeros(3, device="meta"), torch.zeros(1))


def test_other_mistakes_are_named():
    circuit = Circuit(2, [("h", 0)])
    with pytest.raises(ValueError, match="number of sites must agree: `first` has 2"):
        circuit + Circuit(3, [])
    with pytest.raises(ValueError, match="number of sites must agree"):
        circuit.on((1, 1), 3)
    with pytest.raises(ValueError, match="agree: `circuit` has 2, `sites` has 3"):
        circuit.on((0, 1, 1), 3)
    with pytest.raises(ValueError, match=r"within 0\.\.2, got \(3,\)"):
        circuit.on((3, 1), 3)
    with pytest.raises(ValueError, match=r"`sites` must lie within 0\.\.1, got \(2,\)"):
        circuit.light_cone([2])
    with pytest.raises(ValueError, match='`matrix` goes with gate "matrix" alone'):
        Operation("matrix", (0,), 0)
    with pytest.raises(ValueError, match="`num_sites` must be at least 1"):
        Circuit(0, [])


def test_operations_that_name_the_same_parameter_share_it(generator):
    shared = Circuit(2, (Operation("rx", (0,), 0), Operation("rx", (1,), 0)))
    assert shared.num_parameters == 1
    angle = torch.randn(1, dtype=torch.float64, generator=generator)
    separate = Circuit(2, [("rx", 0), ("rx", 1)])
    assert_close(dense_unitary(shared, angle), dense_unitary(separate, angle.expand(2)))
