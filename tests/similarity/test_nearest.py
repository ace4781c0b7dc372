"""The closest documents: against a full sort, with ties, and on codes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import MPSProjectionHead, cosine, log_fidelity, quantize, top_k


def angles(rows, width, seed, spread=math.pi, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(rows, width, dtype=dtype, generator=generator) - 0.5
    return math.pi / 2 + spread * values


def by_sorting(scores, k):
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places[:, :k]


@given(k=st.integers(1, 12), levels=st.integers(1, 4), seed=st.integers(0, 1000))
def test_the_best_are_those_of_a_stable_sort(k, levels, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (5, 9), generator=generator).double()
    rows, columns = (torch.arange(n).double()[:, None] for n in (5, 9))
    found = top_k(
        rows, columns, k, similarity=lambda q, d: scores[q[:, 0].long()][:, d[:, 0].long()]
    )
    assert_close(found, by_sorting(scores, k))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 8, 2])
def test_many_documents_of_like_similarity_come_block_by_block(bits):
    zq, zd = angles(300, 3, 0), angles(16500, 3, 1)
    zd[16390:] = zd[:110]  # ties across blocks
    documents = zd if bits is None else quantize(zd, bits)
    values, places = top_k(zq, documents, 4)
    expected = by_sorting(log_fidelity(zq, documents), 4)
    assert_close(values, expected[0])
    assert (places == expected[1]).float().mean() > 0.99  # rounding may exchange a tie's members


def test_any_similarity_and_fewer_documents_than_wanted():
    x, y = angles(3, 5, 0) - 1, angles(4, 5, 1) - 1
    assert_close(top_k(x, y, 9, similarity=cosine), by_sorting(cosine(x, y), 4))
    values, places = top_k(x, y, 2)
    assert values.shape == places.shape == (3, 2)
    assert top_k(x[:0], y, 2)[0].shape == (0, 2)
    assert not top_k(x.requires_grad_(), y, 2)[0].requires_grad


def test_more_documents_than_a_block_are_wanted_of_falling_similarity():
    near = torch.ones(4, 1)
    far = torch.linspace(1, 0, 16500)[:, None]
    _, places = top_k(near, far, 16450, similarity=lambda q, d: q @ d.T)
    assert_close(places, torch.arange(16450).expand(4, -1))


def test_autocast_takes_no_precision_from_cosines_and_centres(generator):
    x = torch.randn(40, 12, generator=generator)
    head = MPSProjectionHead.for_bytes(12, 8, generator=generator).fit(1 + x)
    z, codes = head(x), head.code(x)
    expected = cosine(z, z), cosine(z, z, pairwise=True), cosine(z, codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close((cosine(z, z), cosine(z, z, pairwise=True), cosine(z, codes)), expected)
        assert_close(head.quantize(z).centre, codes.centre)


def test_bad_arguments_are_named():
    z = angles(3, 6, 0, 1)
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        top_k(z, z, 0)
    with pytest.raises(ValueError, match="bits of codes must agree"):
        top_k(quantize(z, 8), quantize(z, 4), 1)
    with pytest.raises(ValueError, match="The similarity is NaN"):
        top_k(z, z, 1, similarity=lambda q, d: q @ d.T * math.nan)
