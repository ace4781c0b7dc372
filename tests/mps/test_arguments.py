"""Every public function of the tensor rooms names what is wrong with its arguments."""

import inspect
import math
import pickle
import re

import jaxtyping
import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.testing import assert_close

import mpsheads.ansatz as ansatz
import mpsheads.mps as mps
import mpsheads.oracle as oracle
from mpsheads.mps import (
    MPO,
    MPS,
    Circuit,
    Truncation,
    apply_circuit,
    apply_gate,
    apply_mpo,
    compress,
    expectation,
    from_dense,
    ising_hamiltonian,
    local_expectations,
    overlap,
    partial_trace,
    product_state,
    random_mps,
    reduced_density_matrix,
    schmidt_values,
    standard_trellis,
    to_dense,
)
from mpsheads.mps.gates import FAMILIES
from tests.later import Later

pytestmark = pytest.mark.slow

interop = Later("mpsheads.interop")


@pytest.fixture(autouse=True)
def without_other_checks(monkeypatch, request):
    """As users have it: the annotations are not checked by jaxtyping and beartype."""
    if "one_state_meets" in request.node.name:
        return
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def state(n_sites=3, batch=2, dtype=torch.complex64):
    source = torch.Generator().manual_seed(0)
    return random_mps(n_sites, 2, batch_size=batch, dtype=dtype, generator=source)


CIRCUIT = ansatz.brickwork(3)
ANGLES = torch.linspace(0, 1, CIRCUIT.num_parameters)
ISING = ising_hamiltonian(3)
MIXED = partial_trace(state(4), [0, 1, 2])
SHORT = torch.linspace(-1, 1, 16).reshape(2, 8)
WORDS = torch.zeros(2, 8, dtype=torch.uint8)
TRELLIS = standard_trellis(4)

CALLS = {  # right arguments of every public function
    mps: {
        "MPO": (ISING.sites,),
        "MPS": (state().sites, state().log_norm),
        "Circuit": (3, [("ry", (0,), [0.3])]),
        "Operation": ("ry", (0,), 0),
        "PurifiedMPS": (MIXED.sites, MIXED.log_norm),
        "Trellis": (TRELLIS.values, 4),
        "Truncation": (2, 0.1),
        "add": (state(), state()),
        "apply_circuit": (state(), CIRCUIT, ANGLES, Truncation(2)),
        "apply_controlled": (state(), torch.eye(2), 0, 1),
        "apply_gate": (state(), torch.eye(4), (0, 1)),
        "apply_mpo": (state(), ISING),
        "basis_state": ([0, 1], 2),
        "bloch_vectors": (state(),),
        "canonicalize": (state(), 1),
        "codewords": (WORDS, TRELLIS),
        "compress": (state(), Truncation(1)),
        "concatenate": ([state(), state()],),
        "contraction_path": ("ij,jk->ik", (2, 3), (3, 4)),
        "correlation": (state(), "X", torch.eye(2)),
        "distance_to_code": (SHORT, TRELLIS),
        "entanglement_entropy": (state(), 0),
        "expectation": (state(), torch.eye(2), 0),
        "fidelity_matrix": (state(), state()),
        "from_dense": (SHORT, 2),
        "ghz_state": (3, 2),
        "heisenberg_hamiltonian": (3, 1.0),
        "inner_distance": (state(), state()),
        "ising_hamiltonian": (3, 1.0, 0.5),
        "local_expectations": (torch.ones(2, 3, 2), CIRCUIT, ANGLES, "Z", [0, 1]),
        "log_fidelity": (state(), state()),
        "log_fidelity_matrix": (state(), state()),
        "log_norm": (state(),),
        "log_partition": (SHORT, TRELLIS, 0.5),
        "log_probability": (state(), torch.zeros(2, 4, 3, dtype=torch.int64)),
        "measure": (state(), [0, 1]),
        "mixed_expectation": (MIXED, torch.eye(2), 0),
        "mixed_fidelity": (MIXED, state()),
        "mixed_purity": (MIXED,),
        "mixed_to_dense": (MIXED,),
        "mixed_trace": (MIXED,),
        "mpo_to_dense": (ISING,),
        "nearest_codewords": (SHORT, TRELLIS),
        "one_particle_state": (SHORT,),
        "one_site_density_matrices": (state(),),
        "overlap": (state(), state()),
        "overlap_matrix": (state(), state()),
        "partial_trace": (state(), [0]),
        "pauli_sum": ({"XX1": 1.0, "1ZZ": 2.0}, 3),
        "product_state": (torch.ones(2, 3, 2),),
        "project": (state(), {0: 1}),
        "purification": (MIXED,),
        "purity": (state(), [0]),
        "random_mps": (3, 2),
        "reduced_density_matrix": (state(), [0, 1]),
        "renyi_entropy": (state(), 2.0, 0),
        "sample": (state(), 4),
        "schmidt_values": (state(), 0),
        "standard_trellis": (2,),
        "to_dense": (state(),),
        "to_vidal": (state(),),
        "trim_bonds": (state(), 0, 2),
        "variance": (state(), ISING),
        "w_state": (3, 2),
    },
    CIRCUIT: {
        "on": ([0, 1, 2], 4),
        "light_cone": ([0],),
        "factors": (ANGLES,),
        "unitaries": (ANGLES,),
        "with_parameters": (ANGLES,),
        "draw": (80,),
        "parameters": (torch.float32,),
    },
    state(): {"__getitem__": (0,)},
    ansatz: {
        "staircase": (3, 1),
        "brickwork": (3, 1),
        "brickwork_bonds": (3,),
        "ghz": (3,),
        "qft": (3,),
        "trotter_ising": (3, 2, 1.0),
        "irredundant": (3, [(0, 1)], [2]),
        "irredundant_staircase": (3, 1),
    },
    oracle: {
        "product_vector": (torch.ones(3, 2),),
        "apply_matrix": (torch.ones(8), torch.eye(4), [0, 1]),
        "controlled": (torch.eye(2),),
        "partial_trace": (torch.ones(8), [0]),
        "pauli_matrix": ("XX",),
        "schmidt_values": (torch.ones(8), 2),
        "renyi_entropy": (torch.eye(2) / 2, 2.0),
        "fidelity": (torch.ones(4), torch.ones(4)),
        "uhlmann_fidelity": (torch.eye(2) / 2, torch.eye(2) / 2),
    },
    interop: {
        "to_quimb": (state(),),
        "to_quimb_gates": (CIRCUIT, ANGLES),
        "from_quimb": ([],),
        "to_tensornetwork": (state(),),
        "from_tensornetwork": ([],),
        "to_qiskit": (CIRCUIT, ANGLES),
        "from_qiskit": (None,),
        "to_qasm": (CIRCUIT, 3),
        "from_qasm": ("OPENQASM 3; qubit q;",),
    },
}
ROWS = [(place, name) for place, calls in CALLS.items() for name in calls]
REFUSED_ANYWAY = ("from_quimb", "from_tensornetwork", "from_qiskit")
NEEDS_NUMBERS = ("to_quimb", "to_tensornetwork", "to_quimb_gates", "to_qiskit", "with_parameters")
NAMED = re.compile("`|Gate |Site ")
ANYTHING = [
    *(None, "nonsense", b"x", object(), True, 2.5, -1, 0, 40, math.nan, {}, {7: 1}),
    *([], (1, 2, 3, 4, 5, 6, 7), [0.5], ["a"], [None], [(0,)], [0, 0], [9]),
    *(np.array([1.5]), np.zeros((2, 2, 2, 2)), torch.zeros(0), torch.tensor(1.0)),
]


def near_misses(right, meta):
    """Arguments of the right type that fit to nothing else."""
    if isinstance(right, torch.Tensor):
        other = right.float() if right.dtype == torch.int64 else right.to(torch.int64)
        yield from (right[0], right[None], right[..., :0], other, torch.cat([right, right]))
        yield from (torch.cat([right, right], -1), right.to(torch.complex64), right > 0)
        yield from (right.double(), right.half(), right - 5, right * math.nan)
        yield from [right.to("meta")] * meta
    elif isinstance(right, MPS):
        flat = [site * 0 for site in right.sites]
        yield from (state(4), state(3, 3), state(3, 1), state(1), ISING)
        yield from (state(dtype=torch.float32), state(dtype=torch.complex128))
        yield from (product_state(torch.ones(2, 3, 3)), MPS.unchecked(flat, right.log_norm))
        yield from [right.to("meta")] * meta
    elif isinstance(right, MPO):
        yield from (ising_hamiltonian(4), ising_hamiltonian(3, torch.ones(3)), state())
        yield from (ising_hamiltonian(3, dtype=torch.float32), *[right.to("meta")] * meta)
    elif isinstance(right, Circuit):
        yield from (ansatz.brickwork(4), Circuit(3, []))
    elif isinstance(right, list | tuple):
        yield from ([*right, *right], right[:-1], *right[:1], [1.5] * len(right), list(right))
    elif isinstance(right, dict):
        yield from ({9: 0}, {0: 9}, {"A": 1}, {"XXX": "a"}, {0: None}, {"0": 0}, {0: [1, 2, 3]})
    elif isinstance(right, torch.dtype):
        yield from (torch.int64, torch.float16, torch.complex64)


def test_every_public_function_has_a_row():
    for module in (ansatz, oracle):
        own = [name for name, f in vars(module).items() if inspect.isfunction(f)]
        own = [name for name in own if getattr(module, name).__module__ == module.__name__]
        assert {name for name in own if name[0] != "_"} == set(CALLS[module])
    assert set(mps.__all__) == set(CALLS[mps])
    assert set(__import__("mpsheads.interop").interop.__all__) == set(CALLS[interop])


@pytest.mark.parametrize(("place", "name"), ROWS, ids=[name for _, name in ROWS])
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments_are_named(place, name):
    function, right = getattr(place, name), CALLS[place][name]
    if name not in REFUSED_ANYWAY:
        function(*right)
    allowed = (IndexError,) if name == "__getitem__" else ()  # what a sequence raises
    meta = name not in NEEDS_NUMBERS and place is not oracle
    for i, argument in enumerate(right):
        for wrong in [*ANYTHING, *near_misses(argument, meta)]:
            arguments = [*right[:i], wrong, *right[i + 1 :]]
            try:
                function(*arguments)
            except allowed:
                pass
            except (ValueError, TypeError) as error:
                if not NAMED.search(str(error)):
                    raise


def test_arrays_columns_and_their_numbers_are_welcome():
    import polars

    z, angles = np.diag([1.0, -1.0]), ANGLES.double().numpy()
    double = state(dtype=torch.complex128)
    one = np.int64(1)
    table = [
        (expectation(double, z, one), expectation(double, torch.from_numpy(z), 1)),
        (apply_circuit(double, CIRCUIT, angles), apply_circuit(double, CIRCUIT, ANGLES.double())),
        (apply_gate(double, z, one), apply_gate(double, torch.from_numpy(z), 1)),
        (from_dense(SHORT.numpy(), one * 2), from_dense(SHORT)),
        (
            reduced_density_matrix(double, np.array([2, 0])),
            reduced_density_matrix(double, [2, 0]),
        ),
        (
            local_expectations(SHORT.reshape(1, 8, 2)[:, :3].numpy(), CIRCUIT, angles, "Z", [one]),
            local_expectations(SHORT.reshape(1, 8, 2)[:, :3], CIRCUIT, ANGLES, "Z", [1]),
        ),
        (schmidt_values(double, one), schmidt_values(double, 1)),
        (CIRCUIT.with_parameters(angles).parameters(), ANGLES),
        (compress(double, Truncation(one)), compress(double, Truncation(1))),
        (mps.basis_state(np.array([1, 0]), one), mps.basis_state([1, 0])),
        (mps.basis_state(polars.Series([1, 0])), mps.basis_state([1, 0])),
    ]
    for found, expected in table:
        if isinstance(found, MPS):
            found, expected = to_dense(found), to_dense(expected)
        assert isinstance(found, torch.Tensor)
        assert_close(found, expected)
    gates = [("ry", (one,), np.array([0.3])), (z, [one - 1]), ("rx", one, 0.5)]
    assert Circuit(one * 2, gates) == Circuit(2, [("ry", 1, [0.3]), (z, 0), ("rx", 1, [0.5])])
    assert random_mps(one * 70, one * 2).n_sites == 70


def test_gradients_pass_the_door_beside_arrays():
    angles = ANGLES.clone().requires_grad_()
    value = expectation(apply_circuit(state(), CIRCUIT, angles), np.diag([1.0, -1.0]), 0)
    value.real.sum().backward()
    assert angles.grad.abs().sum() > 0


def test_a_function_behind_the_door_can_be_pickled():
    assert pickle.loads(pickle.dumps(overlap)) is overlap


def test_one_state_meets_many_parameters_gates_and_operators():
    one, many = state(batch=1), state(batch=1)[[0, 0, 0]]
    angles = torch.linspace(0, 3, 3 * CIRCUIT.num_parameters).reshape(3, -1)
    matrices = torch.linspace(0, 1, 12).reshape(3, 2, 2)
    operators = ising_hamiltonian(3, torch.arange(3.0))
    product = torch.linspace(-1, 1, 6).reshape(1, 3, 2)
    for function in (
        lambda x: to_dense(apply_circuit(x, CIRCUIT, angles)),
        lambda x: to_dense(apply_gate(x, matrices, 1)),
        lambda x: to_dense(mps.apply_controlled(x, matrices, 2, 0)),
        lambda x: to_dense(apply_mpo(x, operators)),
        lambda x: expectation(x, matrices, 0),
        lambda x: expectation(x, operators),
        lambda x: mps.variance(x, operators),
        lambda x: mps.correlation(x, matrices, "Z"),
    ):
        assert_close(function(one), function(many))
    assert_close(
        local_expectations(product, CIRCUIT, angles),
        local_expectations(product.expand(3, -1, -1), CIRCUIT, angles),
    )
    with pytest.raises(ValueError, match=r"`bra` has 1, `ket` has 3. .* `bra\[\[0\] \* 3\]`"):
        overlap(one, many)
    with pytest.raises(ValueError, match="number of sites must agree: `bra` has 3, `ket` has 4"):
        overlap(one, state(4))


def cut(angles):
    """What truncation, Schmidt values, partial traces or local observables make of a circuit."""
    return apply_circuit(state(dtype=torch.complex128), CIRCUIT, angles)


SECOND = {
    "truncation": lambda a: to_dense(compress(cut(a), Truncation(1))).abs().sum(),
    "schmidt values": lambda a: schmidt_values(cut(a)).sum(),
    "canonical form": lambda a: to_dense(mps.canonicalize(cut(a), 0)).abs().sum(),
    "local": lambda a: local_expectations(torch.ones(1, 3, 2).double(), CIRCUIT, a).sum(),
    "local, alone": lambda a: (
        local_expectations(torch.ones(1, 1, 2).double(), Circuit(1, [("ry", 0)]), a[:1]).sum()
        + a.square().sum()
    ),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_raise_where_they_would_be_wrong(name):
    angles = ANGLES.double()
    loss = SECOND[name]
    assert torch.autograd.gradcheck(loss, angles.clone().requires_grad_(), fast_mode=True)
    with pytest.raises(NotImplementedError, match="Second derivatives"):
        torch.autograd.functional.hessian(loss, angles)


ZEROS = product_state(torch.eye(2, dtype=torch.complex128)[[0] * 5][None])
DEEP = ansatz.brickwork(5, 2)
RANDOM, XX = state(5, 1, ZEROS.dtype), FAMILIES["rxx"].matrix
FORWARD = {
    "product states": lambda a: expectation(apply_circuit(ZEROS, DEEP, a), "ZZ", (1, 2)).real,
    "a gate with zeros": lambda a: (
        expectation(apply_gate(RANDOM, XX(a[:1] - a[:1].detach()), (0, 2)), "Z1111").real
    ),
    "local": lambda a: local_expectations(torch.ones(1, 5, 2).double(), DEEP, a).sum(1),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward_mode_and_vmap_agree_with_backward(name):
    loss = FORWARD[name]
    angles = torch.linspace(0, 1, DEEP.num_parameters, dtype=torch.float64)
    tangent = angles.cos()
    slope = torch.func.jacrev(loss)(angles) @ tangent
    assert_close(torch.func.jvp(loss, (angles,), (tangent,))[1], slope)
    with forward_ad.dual_level():
        dual = loss(forward_ad.make_dual(angles, tangent))
        assert_close(forward_ad.unpack_dual(dual).tangent, slope)
    both = torch.func.vmap(loss)(torch.stack([angles, tangent]))
    assert_close(both, torch.stack([loss(angles), loss(tangent)]))


def test_forward_mode_is_refused_by_name():
    with pytest.raises(NotImplementedError, match="forward mode AD"):
        torch.func.jvp(SECOND["truncation"], (ANGLES.double(),), (ANGLES.double(),))
    with pytest.raises(NotImplementedError, match="Second derivatives"):
        torch.func.jacrev(torch.func.jacrev(SECOND["truncation"]))(ANGLES.double())


def test_a_truncation_is_checked_when_it_is_made():
    for wrong in ({"max_bond": 2.5}, {"max_bond": "2"}, {"cutoff": "0"}, {"max_bond": True}):
        with pytest.raises(TypeError, match=f"`{next(iter(wrong))}` must be"):
            Truncation(**wrong)
