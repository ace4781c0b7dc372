"""The approximate log-fidelity, and the error that it states."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import approximate_log_fidelity, log_fidelity
from mpsheads.similarity import approximation_error

SERIES = {
    1: lambda x: -(x**2) / 4,
    2: lambda x: 1 - (x / 2**0.5).cosh(),
    3: lambda x: -3 * x**2 / 16 + (1 - (x * 2**0.5).cosh()) / 16,
}


def near(rows, width, spread, seed, dtype=torch.float64):
    """Angles within `spread / 2` of pi/2."""
    generator = torch.Generator().manual_seed(seed)
    return math.pi / 2 + spread * (torch.rand(rows, width, dtype=dtype, generator=generator) - 0.5)


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("chunk", [None, 3])
def test_it_is_the_sum_of_its_series(terms, chunk):
    zq, zd = near(3, 5, 3, 0), near(7, 5, 3, 1)
    expected = SERIES[terms](zq[:, None] - zd).sum(-1)
    assert_close(approximate_log_fidelity(zq, zd, terms=terms, chunk=chunk), expected)


@given(terms=st.sampled_from([1, 2, 3]), spread=st.floats(0.01, math.pi), seed=st.integers(0, 1000))
def test_it_lies_above_the_exact_value_and_within_its_error(terms, spread, seed):
    zq, zd = near(4, 6, spread, seed), near(5, 6, spread, seed + 1)
    excess = approximate_log_fidelity(zq, zd, terms=terms) - log_fidelity(zq, zd)
    differences = (zq[:, None] - zd).abs()
    bound = 6 * approximation_error(float(differences.max()), terms=terms)
    assert excess.min() > -1e-12
    assert excess.max() <= bound + 1e-12


@pytest.mark.parametrize(
    ("terms", "at_half", "at_one", "at_right_angle"),
    [(1, 6.7e-4, 1.2e-2, 7.7e-2), (2, 8.5e-6, 5.9e-4, 1.1e-2), (3, 1.2e-7, 3.3e-5, 1.6e-3)],
)
def test_the_error_grows_with_the_difference(terms, at_half, at_one, at_right_angle):
    found = [approximation_error(x, terms=terms) for x in (0.5, 1.0, math.pi / 2, 3.0)]
    assert found == sorted(found)
    for error, limit in zip(found, (at_half, at_one, at_right_angle), strict=False):
        assert 0.9 * limit < error < limit
    assert approximation_error(0.0, terms=terms) == 0
    assert approximation_error(math.pi, terms=terms) == math.inf


def test_single_precision_is_as_good_as_the_sum_allows():
    zq, zd = near(4, 256, 1, 0, torch.float32), near(5, 256, 1, 1, torch.float32)
    for terms in (1, 2, 3):
        found = approximate_log_fidelity(zq, zd, terms=terms)
        exact = approximate_log_fidelity(zq.double(), zd.double(), terms=terms)
        assert found.dtype == torch.float32
        assert_close(found.double(), exact, rtol=0, atol=1e-4)  # of sums of 256 numbers near 1


def test_gradients_agree_with_finite_differences():
    zq, zd = (near(2, 3, 2, seed).requires_grad_() for seed in (0, 1))
    for terms in (1, 2, 3):
        assert torch.autograd.gradcheck(
            lambda q, d, t=terms: approximate_log_fidelity(q, d, terms=t, chunk=1), (zq, zd)
        )


def test_half_precision_under_autocast_is_computed_in_single_precision():
    zq, zd = near(2, 9, 1, 0).bfloat16(), near(3, 9, 1, 1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = approximate_log_fidelity(zq, zd)
    assert_close(found, approximate_log_fidelity(zq.float(), zd.float()))
    assert approximate_log_fidelity(zq, zd[:0]).shape == (2, 0)


def test_bad_arguments_are_named():
    z = near(2, 4, 1, 0)
    with pytest.raises(ValueError, match="`terms` must be 1, 2 or 3, got 4"):
        approximate_log_fidelity(z, z, terms=4)
    with pytest.raises(ValueError, match="`terms` must be 1, 2 or 3, got 0"):
        approximation_error(1.0, terms=0)
    with pytest.raises(ValueError, match=r"`max_difference` must lie in \[0, pi\], got 4"):
        approximation_error(4.0)
    with pytest.raises(ValueError, match="number of angles must agree"):
        approximate_log_fidelity(z, z[:, 1:])
    with pytest.raises(ValueError, match="`chunk` must be at least 1"):
        approximate_log_fidelity(z, z, chunk=0)
