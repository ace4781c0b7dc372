import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    Truncation,
    basis_state,
    concatenate,
    ghz_state,
    product_state,
    random_mps,
    to_dense,
    trim_bonds,
    w_state,
)
from mpsheads.mps.canonical import canonicalize, compress
from tests.strategies import DTYPES, assert_canonical, states


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
    assert state.max_bond == max(ends)
    left, right = 1, 1
    for i, bond in enumerate(trimmed.bond_dims):
        left *= phys[i]
        assert bond <= left
    for i in range(n_sites - 1, 0, -1):
        right *= phys[i]
        assert trimmed.bond_dims[i - 1] <= right
    assert_close(to_dense(trimmed), to_dense(state), rtol=1e-10, atol=1e-10)


def sites(*shapes, dtype=torch.float32):
    return tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((), "at least one"),
        (sites((2, 1, 2, 3), (2, 2, 2, 1)), "Site 1 must have left bond 3, got 2"),
        (sites((2, 1, 2, 3)), "last right bond of `sites` must be 1, got 3"),
        ((*sites((2, 1, 2, 1)), *sites((2, 1, 2, 1), dtype=torch.float64)), "Site 1 must have"),
    ],
)
def test_sites_that_do_not_fit_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        MPS(tensors, torch.zeros(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_sites", [1, 2, 5])
def test_ghz_and_w_states_are_those_of_the_textbook(n_sites, dtype):
    levels = 2**n_sites
    ghz, w = torch.zeros(levels, dtype=dtype), torch.zeros(levels, dtype=dtype)
    ghz[0] = ghz[-1] = 0.5**0.5
    for site in range(n_sites):
        w[2**site] = n_sites**-0.5
    for maker, expected in ((ghz_state, ghz), (w_state, w)):
        state = maker(n_sites, 3, dtype=dtype)
        assert (state.dtype, state.batch_size) == (dtype, 3)
        assert state.bond_dims == (2,) * (n_sites - 1)
        assert_close(to_dense(state), expected.expand(3, -1))


@given(
    batches=st.lists(
        states(min_sites=4, max_sites=4, phys_dims=(2,), dtypes=(torch.float64,)),
        min_size=1,
        max_size=4,
    )
)
def test_joined_batches_hold_all_states_in_order(batches):
    joined = concatenate(batches)
    assert_close(to_dense(joined), torch.cat([to_dense(state) for state in batches]))
    assert len(joined) == sum(map(len, batches))
    assert joined.bond_dims == tuple(map(max, zip(*(s.bond_dims for s in batches), strict=True)))


def test_joined_batches_keep_their_records_and_a_common_center(generator):
    a, b = (random_mps(4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    a, b = (compress(canonicalize(state, 3), Truncation(max_bond=1)) for state in (a, b))
    joined = concatenate([a, b])
    assert joined.center == a.center == b.center == 3
    assert_canonical(joined)
    assert_close(joined.truncation_angle, torch.cat([a.truncation_angle, b.truncation_angle]))
    assert_close(joined[1].discarded_weight, b.discarded_weight)
    assert (joined.fidelity_bound < 1).all()
    assert concatenate([a, canonicalize(b, 0)]).center is None
    assert concatenate([a, random_mps(4, 2, dtype=torch.float64)]).center is None


def test_joining_states_that_differ_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        concatenate([])
    with pytest.raises(ValueError, match="number of sites must agree"):
        concatenate([random_mps(3, 2), random_mps(4, 2)])
    with pytest.raises(ValueError, match="dtype must agree"):
        concatenate([*[random_mps(3, 2)] * 2, random_mps(3, 2, dtype=torch.complex128)])


@pytest.mark.slow
@given(state=states(max_batch=4), data=st.data())
def test_any_index_takes_the_states_and_all_their_records(state, data):
    if state.n_sites > 1:
        state = compress(state, Truncation(max_bond=2))
    numbers = st.integers(-len(state), len(state) - 1)
    index = data.draw(
        numbers
        | st.lists(numbers, min_size=1, max_size=5)
        | st.slices(len(state)).filter(lambda s: (s.step or 1) > 0 and range(len(state))[s])
        | numbers.map(torch.tensor)
    )
    taken = state[index]
    rows = torch.arange(len(state))[index].reshape(-1)
    assert_close(to_dense(taken), to_dense(state)[rows])
    assert_close(taken.discarded_weight, state.discarded_weight[rows])
    assert_close(taken.truncation_angle, state.truncation_angle[rows])
    assert taken.center == state.center


def test_a_mask_takes_the_states_where_it_is_true(generator):
    state = random_mps(3, 2, batch_size=4, generator=generator)
    mask = torch.tensor([True, False, False, True])
    for same in (mask, mask.tolist(), tuple(mask.tolist())):
        assert_close(to_dense(state[same]), to_dense(state)[mask])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: product_state(torch.zeros(0, 3, 2)),
            r"at least one state, site and level, got shape \(0, 3, 2\)",
        ),
        (
            lambda: product_state(torch.full((1, 2, 2), math.nan)),
            "`amplitudes` must be finite, but row 0",
        ),
        (lambda: basis_state(torch.tensor([0, 2])), r"`bits` must be 0 or 1, got \[0, 2\]"),
        (lambda: basis_state(torch.tensor([0]), 0), "`batch_size` must be at least 1, got 0"),
        (lambda: ghz_state(0), "`n_sites` must be at least 1, got 0"),
        (lambda: w_state(2, -1), "`batch_size` must be at least 1, got -1"),
        (lambda: random_mps(2, 0), "`bond_dim` must be at least 1, got 0"),
        (
            lambda: MPS(sites((2, 1, 2, 1)), torch.zeros(2), center=1),
            r"`center` must be None or within 0\.\.0, got 1",
        ),
    ],
)
def test_arguments_that_no_state_has_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_bound_on_the_fidelity_follows_from_the_angle(generator):
    state = random_mps(3, 2, batch_size=4, dtype=torch.float64, generator=generator)
    angle = torch.tensor([0.0, 0.3, math.pi / 2, 5.0], dtype=torch.float64)
    bound = MPS(state.sites, state.log_norm, truncation_angle=angle).fidelity_bound
    assert_close(bound, torch.tensor([1, math.cos(0.3) ** 2, 0, 0], dtype=torch.float64))


def test_conversion_and_detach_keep_every_record(generator):
    state = random_mps(4, 4, batch_size=2, dtype=torch.complex128, generator=generator)
    state = compress(canonicalize(state, 3), Truncation(max_bond=2))
    for same in (state.to(torch.complex64), state.detach(), state.to("cpu")):
        assert same.center == state.center
        assert_close(same.discarded_weight.double(), state.discarded_weight, atol=1e-6, rtol=0)
        assert_close(same.truncation_angle.double(), state.truncation_angle, atol=1e-6, rtol=0)
    single = state.to(torch.complex64)
    assert (single.truncation_angle.dtype, single.log_norm.dtype) == (torch.float32,) * 2
    with pytest.raises(IndexError, match="`index` 2 is outside a batch of 2"):
        state[2]
