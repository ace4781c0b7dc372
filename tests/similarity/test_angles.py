"""Exact log-fidelity of angle vectors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import approximate_log_fidelity, assume_finite, cosine, fidelity, log_fidelity, oracle
from mpsheads.heads.readouts import probability_angle


def angles(rows, width, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return math.pi * torch.rand(rows, width, dtype=dtype, generator=generator)


def plain(zq, zd):
    return ((zq[:, None] - zd) / 2).cos().square().log().sum(-1)


@given(
    width=st.integers(1, 9),
    rows=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_log_fidelity_is_that_of_the_oracles_product_states(width, rows, seed, dtype):
    zq, zd = angles(rows[0], width, seed, dtype), angles(rows[1], width, seed + 1, dtype)
    found = log_fidelity(zq, zd)
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


@pytest.mark.parametrize("far", [1.5, 3.0, 3.1415])
def test_log_fidelity_stays_exact_where_products_of_overlaps_underflow(far):
    zq = torch.full((2, 200), 1e-3, dtype=torch.float64)
    zd = torch.stack([zq[0] + far * 0.999, zq[0] + 0.1])
    expected = plain(zq.float().double(), zd.float().double())
    found = log_fidelity(zq.float(), zd.float())
    # cos(D/2) near D = pi is as uncertain as D is in single precision
    assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_angles_out_of_range_have_the_fidelity_of_their_states():
    zq, zd = angles(3, 7, 0), angles(4, 7, 1)
    zd[1, :3] += 2 * math.pi  # the amplitudes change their signs, the state does not
    assert_close(log_fidelity(zq, zd), plain(zq, zd))
    assert_close(log_fidelity(zq[:3], zd[:3], pairwise=True), plain(zq, zd)[:, :3].diagonal())


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("width", [1, 3, 8, 40])
def test_opposite_ends_give_a_finite_value_and_gradient(width, pairwise):
    zero = torch.zeros(1, width, requires_grad=True)
    value = log_fidelity(zero, torch.full((1, width), math.pi), pairwise=pairwise)
    assert value.isfinite().all()
    assert value < -30 * width**0.5
    value.sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("width", [5, 6])
def test_gradients_agree_with_finite_differences(width):
    zq, zd = (angles(3, width, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(log_fidelity, (zq, zd))
    assert torch.autograd.gradcheck(lambda z: log_fidelity(z, z), (zq,))
    assert torch.autograd.gradcheck(lambda z: log_fidelity(z, zd.detach()), (zq,))
    rows = torch.autograd.gradcheck(lambda q, d: log_fidelity(q, d, pairwise=True), (zq, zd))
    assert rows


def test_gradients_of_many_tiles_are_those_of_the_formula():
    zq, zd = angles(300, 7, 0).requires_grad_(), angles(1100, 7, 1).requires_grad_()
    weight = angles(300, 1100, 2)
    found = torch.autograd.grad((log_fidelity(zq, zd) * weight).sum(), (zq, zd))
    expected = torch.autograd.grad((plain(zq, zd) * weight).sum(), (zq, zd))
    assert_close(found, expected)


def test_gradients_hold_the_vectors_alone():
    saved = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x)
    zq, zd = angles(30, 12, 0).requires_grad_(), angles(50, 12, 1).requires_grad_()
    with hooks:
        value = log_fidelity(zq, zd).sum()
    assert sum(x.numel() for x in saved) == zq.numel() + zd.numel()
    value.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_are_computed_in_single_precision(dtype):
    zq, zd = angles(4, 30, 0).to(dtype).requires_grad_(), angles(5, 30, 1).to(dtype)
    expected = log_fidelity(zq.float(), zd.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = log_fidelity(zq, zd)
        found.sum().backward()
        rows = log_fidelity(zq, zd[:4], pairwise=True)
    assert found.dtype == rows.dtype == torch.float32
    assert_close(found, expected)
    assert_close(rows, expected.diagonal())
    assert zq.grad.dtype == dtype
    (slope,) = torch.autograd.grad(expected.sum(), zq)
    assert_close(zq.grad, slope)
    assert log_fidelity(zq.detach(), zd.double()).dtype == torch.float64


def test_vmap_and_grad_of_torch_func_agree_with_the_plain_call():
    zq, zd = angles(6, 5, 0), angles(4, 5, 1)
    blocks = torch.func.vmap(lambda z: log_fidelity(z, zd))(zq.view(2, 3, 5))
    assert_close(blocks.flatten(0, 1), log_fidelity(zq, zd))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        blocks = torch.func.vmap(lambda z: log_fidelity(z, zd.float()))(zq.float().view(2, 3, 5))
    assert_close(blocks.flatten(0, 1), log_fidelity(zq.float(), zd.float()))
    zq = zq.requires_grad_()
    slope = torch.func.grad(lambda z: log_fidelity(z, zd).sum())(zq.detach())
    assert_close(slope, torch.autograd.grad(log_fidelity(zq, zd).sum(), zq)[0])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_rows_give_no_rows(shape):
    zq, zd = (torch.rand(rows, 4, requires_grad=True) for rows in shape)
    found = log_fidelity(zq, zd)
    assert found.shape == shape
    found.sum().backward()
    assert zq.grad.eq(0).all()
    assert zd.grad.eq(0).all()


def test_where_vectors_are_assumed_finite_nan_stays_where_it_is():
    zq, zd = angles(2, 4, 0), angles(3, 4, 1)
    zd[1, 2] = math.nan
    with assume_finite():
        found = log_fidelity(zq, zd)
    assert found[:, 1].isnan().all()
    assert found[:, [0, 2]].isfinite().all()
    with pytest.raises(ValueError, match="`zd` must be finite, but row 1 holds NaN or infinity"):
        log_fidelity(zq, zd)


@pytest.mark.parametrize("place", [0, 2099])
def test_only_the_tile_that_needs_it_is_held_at_the_floor(place):
    zq, zd = angles(2, 4, 0, torch.float32), angles(2100, 4, 1, torch.float32)
    expected = log_fidelity(zq, zd)
    zd[place] = zq[0] + math.pi
    found = log_fidelity(zq, zd)
    assert found[0, place] < -50
    others = torch.arange(2100) != place
    assert_close(found[:, others], expected[:, others], atol=1e-4, rtol=1e-4)


def test_cosine_is_that_of_torch_and_zero_for_a_zero_vector():
    x, y = angles(3, 6, 0) - 1, angles(4, 6, 1) - 1
    expected = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=-1)
    assert_close(cosine(x, y), expected)
    assert_close(cosine(0 * x, y), 0 * expected)


def test_bad_arguments_are_named():
    z = angles(2, 4, 0)
    with pytest.raises(ValueError, match="number of features must agree: `zq` has 4, `zd` has 3"):
        log_fidelity(z, z[:, :3])
    with pytest.raises(ValueError, match="number of rows must agree: `zq` has 2, `zd` has 1"):
        log_fidelity(z, z[:1], pairwise=True)
    with pytest.raises(ValueError, match="device must agree"):
        log_fidelity(z, z.to("meta"))
    with pytest.raises(ValueError, match="number of features must agree"):
        cosine(z, z[:, :3])
    with pytest.raises(ValueError, match="number of features must agree"):
        approximate_log_fidelity(z, z[:, :3])


@given(spread=st.floats(0.01, 1.0), seed=st.integers(0, 1000))
def test_the_approximation_is_a_bound_by_the_distance_that_is_close_for_like_angles(spread, seed):
    zq, zd = (math.pi / 2 + spread * (angles(4, 6, seed + i) / math.pi - 0.5) for i in (0, 1))
    found = approximate_log_fidelity(zq, zd)
    assert_close(found, -torch.cdist(zq, zd).square() / 4)
    excess = found - log_fidelity(zq, zd)
    assert excess.min() > -1e-12
    differences = (zq[:, None] - zd).abs()
    assert (excess <= 1.2e-2 * differences.pow(4).sum(-1) + 1e-12).all()  # D^4/96 and so on
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = approximate_log_fidelity(zq.bfloat16(), zd.bfloat16())
    assert_close(low, approximate_log_fidelity(zq.bfloat16().float(), zd.bfloat16().float()))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2.3e7), (torch.float64, 1.7e16)])
@pytest.mark.parametrize("pairwise", [False, True])
def test_slopes_are_bounded_where_the_fidelity_is_zero(pairwise, dtype, bound):
    """`-tan(D/2)` an angle, bounded by how far the dtype's pi is off; below 1,500 of a head."""
    for width in (1, 2, 3, 7):
        zero = torch.zeros(1, width, dtype=dtype, requires_grad=True)
        log_fidelity(zero, torch.full_like(zero, math.pi), pairwise=pairwise).sum().backward()
        assert 0.5 * bound < zero.grad.abs().max() < bound
    zq, zd = (probability_angle(torch.tensor([[end, 0.3]])).requires_grad_() for end in (1.0, -1.0))
    log_fidelity(zq, zd, pairwise=pairwise).sum().backward()
    assert 1000 < zq.grad.abs().max() < 1500
