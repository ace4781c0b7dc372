"""States that go to another package and come back keep their amplitudes."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.interop import from_quimb, from_tensornetwork, to_quimb, to_tensornetwork
from mpsheads.mps import (
    MPS,
    fidelity_matrix,
    log_norm,
    mpo_to_dense,
    product_state,
    random_mps,
    to_dense,
)
from tests.later import Later

pytestmark = pytest.mark.slow

qtn = Later("quimb.tensor")
tn = Later("tensornetwork")

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
PACKAGES = [(to_quimb, from_quimb), (to_tensornetwork, from_tensornetwork)]


def states_of(n_sites, bond_dim, batch_size, dtype, generator, log_norm=0.3) -> MPS:
    state = random_mps(n_sites, bond_dim, batch_size=batch_size, dtype=dtype, generator=generator)
    return MPS(state.sites, state.log_norm + log_norm * torch.arange(1, batch_size + 1))


def dense_of_tensornetwork(state) -> np.ndarray:
    vector = np.ones((1, 1))
    for i in range(len(state)):
        tensor = np.asarray(state.get_tensor(i))
        vector = np.einsum("al,lpr->apr", vector, tensor).reshape(-1, tensor.shape[2])
    return vector[:, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_sites", [1, 5])
def test_quimb_sees_the_same_amplitudes_and_overlaps(n_sites, dtype, generator):
    state = states_of(n_sites, 3, 2, dtype, generator)
    dense = to_dense(state)
    sent = to_quimb(state)
    for member, vector in zip(sent, dense, strict=True):
        assert member.to_dense().dtype == vector.numpy().dtype
        assert_close(torch.from_numpy(np.asarray(member.to_dense())).reshape(-1), vector)
    overlap = torch.tensor(complex(sent[0].H @ sent[1]), dtype=torch.complex128)
    wanted = torch.vdot(dense[0], dense[1]).to(torch.complex128)
    single = dtype in (torch.float32, torch.complex64)
    assert_close(overlap, wanted, **({"rtol": 1e-5, "atol": 1e-5} if single else {}))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_sites", [1, 5])
def test_tensornetwork_sees_the_same_amplitudes(n_sites, dtype, generator):
    state = states_of(n_sites, 3, 2, dtype, generator)
    for member, vector in zip(to_tensornetwork(state), to_dense(state), strict=True):
        assert_close(torch.from_numpy(dense_of_tensornetwork(member)).to(dtype), vector)


@pytest.mark.parametrize(("send", "fetch"), PACKAGES)
@given(
    n_sites=st.integers(1, 7),
    bond_dim=st.integers(1, 4),
    batch_size=st.integers(1, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 10_000),
)
def test_a_round_trip_returns_the_same_states(
    send, fetch, n_sites, bond_dim, batch_size, dtype, seed
):
    generator = torch.Generator().manual_seed(seed)
    state = states_of(n_sites, bond_dim, batch_size, dtype, generator)
    back = fetch(send(state))
    assert (back.dtype, back.bond_dims) == (state.dtype, state.bond_dims)
    assert_close(to_dense(back), to_dense(state))


@pytest.mark.parametrize(("send", "fetch"), PACKAGES)
def test_states_of_different_bonds_and_dtypes_form_one_batch(send, fetch, generator):
    small = states_of(5, 1, 1, torch.float32, generator)
    large = states_of(5, 4, 1, torch.complex128, generator)
    back = fetch([*send(small), *send(large)])
    assert (back.dtype, back.bond_dims) == (torch.complex128, large.bond_dims)
    assert_close(to_dense(back), torch.cat([to_dense(small).to(torch.complex128), to_dense(large)]))


@pytest.mark.parametrize(("send", "fetch"), PACKAGES)
def test_nothing_is_shared_with_the_states_that_were_sent(send, fetch, generator):
    state = states_of(3, 2, 2, torch.float64, generator)
    before = to_dense(state)
    sent = send(state)
    back = fetch(sent)
    for member in sent:
        for tensor in member.tensors:
            (tensor.data if hasattr(tensor, "modify") else tensor)[...] = 7
    assert_close(to_dense(state), before)
    assert_close(to_dense(back), before)


@pytest.mark.parametrize(("send", "fetch"), PACKAGES)
def test_a_long_chain_of_small_norm_does_not_underflow(send, fetch, generator):
    state = states_of(400, 2, 1, torch.float32, generator, log_norm=-300.0)
    assert_close(log_norm(fetch(send(state))), log_norm(state), rtol=1e-5, atol=1e-3)


def test_a_state_with_gradients_is_sent_without_them():
    amplitudes = torch.ones(1, 3, 2, requires_grad=True)
    back = from_quimb(to_quimb(product_state(amplitudes)))
    assert not back.sites[0].requires_grad


def test_the_exponent_of_quimb_becomes_the_log_norm():
    sent = qtn.MPS_rand_state(4, 2, dtype="complex128", seed=1)
    sent.exponent = 2.5
    back = from_quimb([sent])
    assert_close(back.log_norm, torch.tensor([2.5 * math.log(10)], dtype=torch.float64))
    assert_close(to_dense(back)[0], torch.from_numpy(np.asarray(sent.to_dense())).reshape(-1))


@pytest.mark.parametrize("n_sites", [1, 4])
def test_operators_of_quimb_keep_their_matrices(n_sites):
    operators = [qtn.MPO_rand(n_sites, bond, dtype="complex128", seed=bond) for bond in (2, 3)]
    operators[1].exponent = 0.5
    expected = torch.stack([torch.from_numpy(np.asarray(o.to_dense())) for o in operators])
    assert_close(mpo_to_dense(from_quimb(operators)), expected)
    assert_close(mpo_to_dense(from_quimb(operators[0])), expected[:1])
    with pytest.raises(TypeError, match=r"`states\[1\]` must be a MatrixProductOperator"):
        from_quimb([operators[0], qtn.MPS_rand_state(n_sites, 2)])


def test_a_circuit_of_quimb_agrees_with_the_oracle():
    circuit = qtn.CircuitMPS(4)
    circuit.apply_gate("H", 0)
    circuit.apply_gate("U3", 0.3, 0.7, -1.1, 2)
    circuit.apply_gate("CNOT", 0, 3)
    state = from_quimb([circuit.psi])
    vector = oracle.product_vector(torch.eye(2)[[0, 0, 0, 0]])
    hadamard = torch.tensor([[1, 1], [1, -1]]) / math.sqrt(2)
    vector = oracle.apply_matrix(vector, hadamard, [0])
    u3 = torch.from_numpy(np.array(qtn.circuit.u3_gate_param_gen([0.3, 0.7, -1.1])))
    vector = oracle.apply_matrix(vector, u3, [2])
    flip = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    vector = oracle.apply_matrix(vector, oracle.controlled(flip), [0, 3])
    assert_close(to_dense(state)[0], vector, check_dtype=False, rtol=1e-6, atol=1e-6)


def test_tensornetwork_can_canonicalise_what_it_is_sent(generator):
    state = states_of(5, 3, 1, torch.complex128, generator)
    (sent,) = to_tensornetwork(state)
    canonical = tn.FiniteMPS(sent.tensors, backend="numpy")
    assert_close(fidelity_matrix(from_tensornetwork([canonical]), state), torch.ones(1, 1).double())


@pytest.mark.parametrize(("send", "fetch"), PACKAGES)
def test_wrong_states_are_refused_by_name(send, fetch, generator):
    three = send(states_of(3, 2, 1, torch.float64, generator))
    four = send(states_of(4, 2, 1, torch.float64, generator))
    with pytest.raises(TypeError, match=r"`states` must be one state or a sequence, got NoneType"):
        fetch(None)
    assert_close(to_dense(fetch(three[0])), to_dense(fetch(three)))
    with pytest.raises(TypeError, match=r"`states\[1\]` must be a \w+, got <class 'str'>"):
        fetch([three[0], "state"])
    with pytest.raises(ValueError, match="`states` must hold at least one"):
        fetch([])
    with pytest.raises(ValueError, match="number of sites must agree"):
        fetch([three[0], four[0]])


def test_a_cyclic_state_is_refused():
    ring = qtn.MPS_rand_state(5, 2, cyclic=True)
    with pytest.raises(ValueError, match=r"`states\[0\]` must have open ends"):
        from_quimb([ring])


@pytest.mark.parametrize(
    ("module", "send"), [("quimb.tensor", to_quimb), ("tensornetwork", to_tensornetwork)]
)
def test_a_missing_package_is_named_with_the_extra_that_installs_it(module, send, monkeypatch):
    state = random_mps(3, 2)
    monkeypatch.setitem(sys.modules, module, None)
    message = rf'needs the package `{module}`\. Install it with: pip install "mpsheads\[interop\]"'
    with pytest.raises(ImportError, match=message):
        send(state)
