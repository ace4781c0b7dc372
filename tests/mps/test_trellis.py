"""Trellis codes against every word of short rings, and against the limits of information."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads.mps import (
    Trellis,
    codewords,
    distance_to_code,
    log_partition,
    nearest_codewords,
    standard_trellis,
)
from mpsheads.mps.trellis import RATES, ring_steps
from mpsheads.similarity.packing import decode_bytes, pack_words


def small(window, shift, values, generator):
    return Trellis(torch.randn(2**window, values, generator=generator), shift)


def all_words(steps, shift):
    words = itertools.product(range(2**shift), repeat=steps)
    return torch.tensor(list(words), dtype=torch.uint8)


def test_a_word_reads_windows_of_a_ring():
    trellis = Trellis(torch.arange(16.0)[:, None], 1)
    bits = [1, 0, 0, 1, 1, 0, 1, 0]
    ring = [bits[i - 3] * 8 + bits[i - 2] * 4 + bits[i - 1] * 2 + bits[i] for i in range(8)]
    found = codewords(torch.tensor([bits], dtype=torch.uint8), trellis)
    assert found.tolist() == [list(map(float, ring))]
    assert (trellis.window, trellis.bond_dim) == (4, 8)


@given(
    shape=st.sampled_from([(3, 1, 1, 8), (4, 1, 2, 8), (4, 2, 1, 4), (5, 2, 2, 4), (4, 3, 1, 4)]),
    seed=st.integers(0, 99),
)
def test_contractions_of_the_ring_agree_with_every_word(shape, seed):
    window, shift, values, steps = shape
    generator = torch.Generator().manual_seed(seed)
    trellis = small(window, shift, values, generator)
    x = torch.randn(5, steps * values, generator=generator)
    words = codewords(all_words(steps, shift), trellis)
    distances = torch.cdist(x.double(), words.double()).square()
    exact = distance_to_code(x, trellis)
    assert_close(exact.double(), distances.amin(1), atol=1e-4, rtol=1e-4)
    for temperature in (0.1, 2.0):
        expected = torch.logsumexp(-distances / temperature, 1)
        found = log_partition(x, trellis, temperature).double()
        assert_close(found, expected, atol=1e-4, rtol=1e-4)
    cold = -1e-3 * log_partition(x, trellis, 1e-3)
    assert (cold <= exact + 1e-4).all()
    assert_close(cold, exact, atol=0.02, rtol=0.02)


@pytest.mark.slow
@given(shape=st.sampled_from([(4, 1, 1), (5, 2, 2), (6, 3, 1)]), seed=st.integers(0, 99))
def test_the_path_found_is_the_nearest_word(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    trellis = small(*shape, generator)
    x = torch.randn(6, 64 * shape[2], generator=generator)
    found = codewords(nearest_codewords(x, trellis), trellis)
    distance, exact = (found - x).square().sum(1), distance_to_code(x, trellis)
    assert (distance >= exact - 1e-3).all()
    assert_close(distance.mean(), exact.mean(), rtol=0.02, atol=0)


def test_a_short_ring_is_gone_round_more_than_once():
    ratios = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        trellis, x = small(4, 1, 1, generator), torch.randn(50, 8, generator=generator)
        distance = (codewords(nearest_codewords(x, trellis), trellis) - x).square().sum(1)
        ratios.append(distance.mean() / distance_to_code(x, trellis).mean())
    assert sum(ratios) / 20 < 1.07  # once: 1.12


def test_the_mean_word_is_the_derivative_of_the_partition_function(generator):
    trellis = small(4, 1, 1, generator)
    x = torch.randn(1, 8, generator=generator).double().requires_grad_()
    trellis = Trellis(trellis.values.double(), 1)
    (slope,) = torch.autograd.grad(log_partition(x, trellis, 0.7).sum(), x)
    words = codewords(all_words(8, 1), trellis)
    weights = (-(words - x).square().sum(1) / 0.7).softmax(0)
    assert_close(x + 0.35 * slope, (weights @ words)[None])


@pytest.mark.parametrize("bits", RATES)
def test_standard_codes_are_near_the_limit_and_beat_rounding(bits, generator):
    x = torch.randn(24, 256, generator=generator)
    trellis = standard_trellis(bits)
    error = (codewords(nearest_codewords(x, trellis), trellis) - x).square().mean()
    limit = 2.0 ** (-2 * bits)
    rounded = {1: 0.3634, 1.5: 0.2, 2: 0.1175, 3: 0.03454, 4: 0.009497}.get(bits, 2.72 * limit)
    assert limit < error < (0.82 if bits < 8 else 1.05) * rounded


@pytest.mark.slow
@pytest.mark.parametrize("bits", RATES)
@pytest.mark.parametrize("width", [1, 7, 250, 256])
def test_bytes_hold_the_word(bits, width, generator):
    trellis, x = standard_trellis(bits), torch.randn(3, width, generator=generator)
    words = nearest_codewords(x, trellis)
    packed = pack_words(words, trellis)
    assert packed.shape[1] == -(-ring_steps(width, trellis) * trellis.shift // 8)
    assert torch.equal(decode_bytes(packed, width, trellis), codewords(words, trellis)[:, :width])
    assert decode_bytes(packed[:0], width, trellis).shape == (0, width)


def test_rows_are_coded_alone_and_zeros_are_no_trouble(generator):
    trellis, x = standard_trellis(2.0), torch.randn(300, 64, generator=generator)
    x[7] = 0
    words = nearest_codewords(x, trellis)
    for row in (0, 7, 299):
        assert torch.equal(nearest_codewords(x[row : row + 1], trellis)[0], words[row])
    assert nearest_codewords(x[:0], trellis).shape == (0, 32)


def test_an_unknown_rate_is_refused():
    with pytest.raises(ValueError, match="`bits` must be one of"):
        standard_trellis(2.5)
