"""Packed matrix product states: round trips, and log-fidelity against dense vectors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import log_fidelity, oracle, quantize, state_log_fidelity
from mpsheads.mps import MPS, product_state, random_mps, to_dense
from mpsheads.similarity import pack_state, unpack_state


def states(n_sites, bond, rows, seed, dtype=torch.complex128):
    generator = torch.Generator().manual_seed(seed)
    return random_mps(n_sites, bond, batch_size=rows, dtype=dtype, generator=generator)


def by_dense_vectors(a, b):
    """Fidelities of all pairs, from state vectors."""
    left, right = to_dense(a).to(torch.complex128), to_dense(b).to(torch.complex128)
    return torch.stack([torch.stack([oracle.fidelity(q, d) for d in right]) for q in left])


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 7),
    bond=st.sampled_from([1, 2, 4]),
    rows=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    seed=st.integers(0, 1000),
    real=st.booleans(),
)
def test_it_is_the_fidelity_of_the_dense_vectors(n_sites, bond, rows, seed, real):
    dtype = torch.float64 if real else torch.complex128
    a, b = (
        states(n_sites, bond, rows[0], seed, dtype),
        states(n_sites, bond, rows[1], seed + 1, dtype),
    )
    zq, zd = pack_state(a), pack_state(b)
    found = state_log_fidelity(zq, zd, a.bond_dims)
    assert found.dtype == torch.float64
    assert_close(found.exp(), by_dense_vectors(a, b))
    few = min(rows)
    pairs = state_log_fidelity(zq[:few], zd[:few], a.bond_dims, pairwise=True)
    assert_close(pairs, found[:few, :few].diagonal())


@pytest.mark.parametrize("bond", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.float32])
def test_vectors_hold_the_sites_in_order_scaled_to_norm_one(bond, dtype):
    state = states(5, bond, 3, 0, dtype)
    vector = pack_state(state)
    assert vector.dtype == state.log_norm.dtype
    width = sum(2 * site[0].numel() for site in state.sites)
    assert vector.shape == (3, width)
    start = 0
    for site in state.sites:
        size = 2 * site[0].numel()
        part = vector[:, start : start + size]
        assert_close(part.norm(dim=1), torch.ones_like(part[:, 0]))
        complex_site = site if site.is_complex() else site + 0j
        real = torch.view_as_real(complex_site).flatten(1)
        assert_close(part, torch.nn.functional.normalize(real))
        start += size


@pytest.mark.parametrize("bond", [1, 2, 4])
def test_unpacked_states_are_packed_to_the_same_vectors(bond):
    state = states(6, bond, 3, 0)
    vector = pack_state(state)
    found = unpack_state(vector, state.bond_dims)
    assert found.bond_dims == state.bond_dims
    assert found.batch_size == 3
    assert_close(pack_state(found), vector)
    overlap = by_dense_vectors(found, state).diagonal()
    assert_close(overlap, torch.ones(3, dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize("bond", [1, 2])
def test_gradients_agree_with_finite_differences(bond):
    zq, zd = (pack_state(states(2, bond, 2, seed)).requires_grad_() for seed in (0, 1))
    bonds = states(2, bond, 1, 0).bond_dims
    for pairwise in (False, True):
        assert torch.autograd.gradcheck(
            lambda q, d, p=pairwise: state_log_fidelity(q, d, bonds, pairwise=p), (zq, zd)
        )
    sites = [site.requires_grad_() for site in states(2, bond, 1, 2).sites]
    log_norm = torch.zeros(1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *s: pack_state(MPS(s, log_norm)), sites)


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("n_sites", [1, 5, 40])
def test_orthogonal_and_identical_product_states_have_finite_gradients(n_sites, pairwise):
    up = product_state(torch.tensor([1.0, 0j]).expand(1, n_sites, 2))
    down = product_state(torch.tensor([0j, 1.0]).expand(1, n_sites, 2))
    bonds = (1,) * (n_sites - 1)
    for other, low, high in [(up, -1e-5, 1e-5), (down, -1e4, -15)]:
        zq, zd = pack_state(up).requires_grad_(), pack_state(other)
        value = state_log_fidelity(zq, zd, bonds, pairwise=pairwise)
        assert low <= value.item() <= high
        value.sum().backward()
        assert zq.grad.isfinite().all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("bond", [1, 2])
def test_codes_of_states_compare_as_what_they_stand_for(bits, bond):
    a, b = states(5, bond, 3, 0, torch.complex64), states(5, bond, 7, 1, torch.complex64)
    bonds = a.bond_dims
    zq, zd = pack_state(a), pack_state(b)
    q, d = (quantize(z, bits, kind="state", bond_dims=bonds) for z in (zq, zd))
    assert d.bytes_per_vector == -(-zd.shape[1] * bits // 8)
    for left, right in [(zq, d), (q, zd), (q, d)]:
        plain = [z if isinstance(z, torch.Tensor) else z.dequantize() for z in (left, right)]
        # one tile or several: sums in another order
        assert_close(
            log_fidelity(left, right), state_log_fidelity(*plain, bonds), rtol=1e-4, atol=1e-5
        )
        rows = log_fidelity(left, right[:3], pairwise=True)
        plain[1] = plain[1][:3]
        assert_close(rows, state_log_fidelity(*plain, bonds, pairwise=True))


def test_no_slope_comes_from_where_the_fidelity_of_a_qubit_is_zero():
    zq = torch.tensor([[1.0, 0, 0, 0, 0.6, 0, 0.8, 0]], dtype=torch.float64).requires_grad_()
    zd = torch.tensor([[0, 0, 1.0, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0, 0, 0]], dtype=torch.float64)
    held, free = (
        torch.autograd.grad(state_log_fidelity(zq, z[None], (1,)).sum(), zq)[0] for z in zd
    )
    assert held[0, :4].eq(0).all()
    assert_close(held[0, 4:], free[0, 4:])
    assert free[0, 2] > 0.5


def test_bad_arguments_are_named():
    vector = pack_state(states(3, 2, 2, 0))
    with pytest.raises(ValueError, match="`zq` must have 32 columns for 3 qubits"):
        state_log_fidelity(vector[:, :-1], vector[:, :-1], (2, 2))
    with pytest.raises(ValueError, match="`vector` must have 12 columns for 3 qubits"):
        unpack_state(vector, (1, 1))
    with pytest.raises(ValueError, match="`bond_dims` must be at least 1, got 0"):
        unpack_state(vector, (2, 0))
    with pytest.raises(ValueError, match="`vector` must be finite, but row 0"):
        unpack_state(vector / 0, (2, 2))
    with pytest.raises(ValueError, match="number of features must agree"):
        state_log_fidelity(vector, vector[:, 1:], (2, 2))
    product = pack_state(states(3, 1, 2, 0))
    product[1, 4:8] = 0
    with pytest.raises(ValueError, match="state 1 has norm 0"):
        state_log_fidelity(product, product, (1, 1))
    with pytest.raises(ValueError, match="norm above zero"):
        state_log_fidelity(0 * vector, vector, (2, 2))
    with pytest.raises(ValueError, match="must be of qubits, got physical dimensions"):
        pack_state(random_mps(3, 2, phys_dim=3))
    codes = quantize(vector, 8, kind="state", bond_dims=(2, 2))
    others = quantize(vector, 8, kind="state", bond_dims=(1,) * 7)
    with pytest.raises(ValueError, match="bond_dims of codes must agree"):
        log_fidelity(codes, others)
