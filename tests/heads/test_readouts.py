import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads.similarity import cosine, quantize


def heads(generator, features=48, out=16, **given):
    """The same circuit read out as probabilities and as a direction."""
    found = []
    for readout in ("probability", "direction"):
        head = MPSProjectionHead(features, out, readout=readout, **given).double()
        found.append(head)
    with torch.no_grad():
        found[0].angles.normal_(generator=generator)
    found[1].load_state_dict(found[0].state_dict())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"depth": 3, "bond_dim": 2, "out": 4}])
def test_a_direction_is_that_of_all_expectation_values(given, generator):
    probability, direction = heads(generator, **given)
    assert probability.truncates == bool(given)
    x = torch.randn(7, 48, dtype=torch.float64, generator=generator)
    z = probability(x).cos()
    found = direction(x)
    assert_close(found, math.pi / 2 * (1 - z / z.norm(dim=1, keepdim=True)))
    assert found.min() >= 0
    assert found.max() <= math.pi
    assert_close((found - math.pi / 2).norm(dim=1), torch.full((7,), math.pi / 2).double())


def test_directions_rank_like_the_cosine(generator):
    _, direction = heads(generator, features=192, out=64)
    x = torch.randn(40, 192, dtype=torch.float64, generator=generator)
    z = direction(x)
    found = direction.similarity(z[:8], z[8:])
    cosines = cosine(z[:8] - math.pi / 2, z[8:] - math.pi / 2)
    # log cos^2(D/2) = -D^2/4 - D^4/96 - ...; the sum of D^2 is (pi^2 / 2) (1 - cos)
    differences = (z[:8, None] - z[8:]).pow(4).sum(-1)
    expected = -(math.pi**2 / 8) * (1 - cosines)
    assert ((found - expected).abs() <= differences / 90).all()
    assert found.min() > -(math.pi**2) / 4 * 1.1  # never far below zero


def test_a_vector_of_zeros_has_a_direction_and_a_finite_gradient():
    head = MPSProjectionHead(6, 2, readout="direction", depth=1)
    with torch.no_grad():
        head.angles.zero_()
    x = torch.zeros(2, 6, requires_grad=True)
    z = head(x)
    assert_close(z, torch.full((2, 2), math.pi / 2), atol=1e-3, rtol=0)
    z.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.angles.grad).all()


@pytest.mark.parametrize("bits", [4, 2, 1])
def test_codes_of_directions_fit_their_spread(bits, generator):
    _, head = heads(generator, features=192, out=64)
    z = head(torch.randn(400, 192, dtype=torch.float64, generator=generator)).detach()
    fitted, whole = head.quantize(z, bits), quantize(z, bits)
    assert fitted.bytes_per_vector == whole.bytes_per_vector
    errors = [(codes.dequantize(z.dtype) - z).square().mean() for codes in (fitted, whole)]
    assert errors[0] < errors[1] / 5
    spread = math.pi / 2 / math.sqrt(64)
    assert_close((z - math.pi / 2).square().mean().sqrt().item(), spread)
    # a normal distribution's, by Max 1960, table II: 0.3634 of the variance is lost by one bit
    lost = {1: 0.3634, 2: 0.1188, 4: 0.01154}[bits]
    assert errors[0].item() == pytest.approx(lost * spread**2, rel=0.5)


def test_a_head_of_one_number_keeps_its_codes_within_the_range():
    head = MPSProjectionHead(4, 1, readout="direction")
    codes = head.quantize(head(torch.randn(5, 4)), 2)
    assert codes.span == pytest.approx(1.0, abs=0.01)
    assert codes.dequantize().min() >= 0
