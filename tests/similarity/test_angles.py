import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import cosine, fidelity, log_fidelity, oracle


def angles(rows, width, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return math.pi * torch.rand(rows, width, dtype=dtype, generator=generator)


def plain(zq, zd):
    return ((zq[:, None] - zd) / 2).cos().square().log().sum(-1)


@given(
    width=st.integers(1, 9),
    rows=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    chunk=st.none() | st.integers(1, 6),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_log_fidelity_is_that_of_the_oracles_product_states(width, rows, chunk, seed, dtype):
    zq, zd = angles(rows[0], width, seed, dtype), angles(rows[1], width, seed + 1, dtype)
    found = log_fidelity(zq, zd, chunk=chunk)
    assert found.dtype == dtype
    dense = [
        [oracle.product_vector(torch.stack([(z / 2).cos(), (z / 2).sin()], -1)) for z in part]
        for part in (zq, zd)
    ]
    expected = torch.stack(
        [torch.stack([oracle.fidelity(q, d) for d in dense[1]]) for q in dense[0]]
    )
    atol = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(found.exp().double(), expected, atol=atol, rtol=0)
    assert_close(fidelity(zq, zd), found.exp())


@pytest.mark.parametrize("width", [1, 48, 256, 1000])
def test_log_fidelity_stays_exact_where_the_fidelity_underflows(width):
    zq, zd = angles(3, width, 0, torch.float32), angles(4, width, 1, torch.float32)
    expected = plain(zq.double(), zd.double())
    assert_close(log_fidelity(zq, zd).double(), expected, rtol=1e-5, atol=1e-5)


def test_log_fidelity_is_symmetric_and_zero_for_equal_vectors():
    zq, zd = angles(3, 10, 0), angles(4, 10, 1)
    assert_close(log_fidelity(zq, zd), log_fidelity(zd, zq).T)
    assert_close(log_fidelity(zq, zq).diagonal(), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("width", [1, 3, 8, 40])
def test_opposite_ends_give_a_finite_value_and_gradient(width):
    zero = torch.zeros(1, width, requires_grad=True)
    value = log_fidelity(zero, torch.full((1, width), math.pi))
    assert value.isfinite().all()
    assert value < -30 * width**0.5
    value.sum().backward()
    assert zero.grad.isfinite().all()


def test_gradients_agree_with_finite_differences_across_chunks():
    zq, zd = (angles(3, 6, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda q, d: log_fidelity(q, d, chunk=2), (zq, zd))


def test_cosine_is_that_of_torch_and_zero_for_a_zero_vector():
    x, y = angles(3, 6, 0) - 1, angles(4, 6, 1) - 1
    expected = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=-1)
    assert_close(cosine(x, y), expected)
    assert_close(cosine(0 * x, y), 0 * expected)


def test_bad_arguments_are_named():
    z = angles(2, 4, 0)
    with pytest.raises(ValueError, match="number of angles must agree: `zq` has 4, `zd` has 3"):
        log_fidelity(z, z[:, :3])
    with pytest.raises(ValueError, match="`chunk` must be at least 1 or None, got 0"):
        log_fidelity(z, z, chunk=0)
    with pytest.raises(ValueError, match="number of features must agree"):
        cosine(z, z[:, :3])
