import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import MPS, basis_state, product_state, random_mps, to_dense, trim_bonds

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_state_is_the_kronecker_product_of_its_sites(dtype, generator):
    amplitudes = torch.randn(3, 4, 2, dtype=dtype, generator=generator)
    state = product_state(amplitudes)
    dense = to_dense(state)
    assert dense.dtype == dtype
    assert state.bond_dims == (1, 1, 1)
    for row, vector in zip(amplitudes, dense, strict=True):
        assert_close(
            vector,
            oracle.product_vector(row).to(dtype)
            if dtype.is_complex
            else oracle.product_vector(row).real.to(dtype),
        )


def test_a_basis_state_has_one_amplitude_at_its_bits():
    dense = to_dense(basis_state(torch.tensor([1, 0, 1]), batch_size=2))
    assert_close(dense, torch.eye(8, dtype=torch.complex64)[[5, 5]])


def test_the_log_norm_multiplies_the_amplitudes(generator):
    state = random_mps(3, 2, batch_size=2, dtype=torch.float64, generator=generator)
    louder = MPS(state.sites, state.log_norm + 2)
    assert_close(to_dense(louder), to_dense(state) * torch.e**2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_states_have_the_bonds_asked_for_and_norms_near_1(dtype, generator):
    state = random_mps(9, 4, batch_size=200, dtype=dtype, generator=generator)
    assert state.dtype == dtype
    assert state.bond_dims == (2, 4, 4, 4, 4, 4, 4, 2)
    assert 0.8 < to_dense(state).norm(dim=1).pow(2).mean() < 1.25
    assert not torch.equal(state.sites[0][0], state.sites[0][1])


def test_a_generator_makes_random_states_repeatable():
    first, second = (random_mps(4, 2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert_close(to_dense(first), to_dense(second), atol=0, rtol=0)


@given(
    n_sites=st.integers(1, 6),
    bonds=st.lists(st.integers(1, 20), min_size=5, max_size=5),
    phys=st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_trimmed_bonds_fit_both_sides_and_the_state_is_the_same(n_sites, bonds, phys):
    generator = torch.Generator().manual_seed(n_sites)
    ends = [1, *bonds[: n_sites - 1], 1]
    sites = tuple(
        torch.randn(2, ends[i], phys[i], ends[i + 1], dtype=torch.float64, generator=generator)
        for i in range(n_sites)
    )
    state = MPS(sites, torch.zeros(2, dtype=torch.float64))
    trimmed = trim_bonds(state)
    left, right = 1, 1
    for i, bond in enumerate(trimmed.bond_dims):
        left *= phys[i]
        assert bond <= left
    for i in range(n_sites - 1, 0, -1):
        right *= phys[i]
        assert trimmed.bond_dims[i - 1] <= right
    assert_close(to_dense(trimmed), to_dense(state), rtol=1e-10, atol=1e-10)


def test_members_of_a_batch_are_taken_by_index_slice_and_tensor(generator):
    state = random_mps(4, 3, batch_size=5, dtype=torch.float64, generator=generator)
    dense = to_dense(state)
    assert len(state) == 5
    assert_close(to_dense(state[3]), dense[3:4])
    assert_close(to_dense(state[-1]), dense[4:])
    assert_close(to_dense(state[1:3]), dense[1:3])
    assert_close(to_dense(state[torch.tensor([4, 0])]), dense[[4, 0]])
    with pytest.raises(IndexError, match="`index` 5 is outside a batch of 5"):
        state[5]


def test_conversion_moves_the_log_norm_with_the_sites(generator):
    state = random_mps(3, 2, generator=generator).to(torch.complex128)
    assert (state.dtype, state.log_norm.dtype) == (torch.complex128, torch.float64)


def test_detach_cuts_the_gradient(generator):
    amplitudes = torch.randn(1, 2, 2, generator=generator, requires_grad=True)
    assert product_state(amplitudes).sites[0].requires_grad
    assert not product_state(amplitudes).detach().sites[0].requires_grad


def sites(*shapes, dtype=torch.float32):
    return tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((), "at least one"),
        (sites((2, 1, 2, 3), (2, 2, 2, 1)), "Site 1 must have left bond 3, got 2"),
        (sites((2, 1, 2, 3)), "last right bond must be 1, got 3"),
        ((*sites((2, 1, 2, 1)), *sites((2, 1, 2, 1), dtype=torch.float64)), "Site 1 must have"),
    ],
)
def test_sites_that_do_not_fit_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        MPS(tensors, torch.zeros(2))
