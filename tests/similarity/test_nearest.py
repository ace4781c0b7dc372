"""The closest documents: against a full sort, with ties, on codes, and by the bound."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import cosine, log_fidelity, quantize, top_k
from mpsheads.similarity import nearest


def angles(rows, width, seed, spread=math.pi, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(rows, width, dtype=dtype, generator=generator) - 0.5
    return math.pi / 2 + spread * values


def by_sorting(scores, k):
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places[:, :k]


@given(
    k=st.integers(1, 12),
    levels=st.integers(1, 4),
    block=st.integers(1, 11),
    seed=st.integers(0, 1000),
)
def test_the_best_are_those_of_a_stable_sort_whatever_the_blocks(k, levels, block, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (5, 9), generator=generator).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_QUERIES", 2)
        patch.setattr(nearest, "_DOCUMENTS", block)
        rows, columns = (torch.arange(n).double()[:, None] for n in (5, 9))
        found = top_k(
            rows, columns, k, similarity=lambda q, d: scores[q[:, 0].long()][:, d[:, 0].long()]
        )
    assert_close(found, by_sorting(scores, k))


@pytest.mark.parametrize("bits", [None, 8, 2])
@pytest.mark.parametrize("candidates", [None, 10, 39, 99])
@pytest.mark.parametrize("spread", [0.5, math.pi])
def test_candidates_give_the_same_result(bits, candidates, spread, monkeypatch):
    monkeypatch.setattr(nearest, "_QUERIES", 3)
    monkeypatch.setattr(nearest, "_DOCUMENTS", 16)
    zq, zd = angles(7, 12, 0, spread), angles(40, 12, 1, spread)
    documents = zd if bits is None else quantize(zd, bits)
    values, places = top_k(zq, documents, 4, candidates=candidates)
    expected = by_sorting(log_fidelity(zq, documents), 4)
    assert_close(values, expected[0])
    assert_close(places, expected[1])
    codes = quantize(zq, bits or 4)
    found = top_k(codes, quantize(zd, bits or 4), 4, candidates=candidates)
    assert_close(found[0], log_fidelity(codes, quantize(zd, bits or 4)).topk(4).values)


def test_like_vectors_are_proven_by_the_bound_and_unlike_ones_compared_with_all(monkeypatch):
    compared = []

    def counted(zq, zd, **options):
        compared.append(len(zq))
        return log_fidelity(zq, zd, **options)

    monkeypatch.setattr(nearest, "log_fidelity", counted)
    zd = angles(400, 16, 1, 0.4)
    top_k(zd[:5] + 0.01, zd, 3, candidates=20, similarity=counted)
    assert not compared
    # a document that the bound puts last and first is not far enough: one angle differs by 3.1
    far = torch.full((30, 1), 0.02, dtype=torch.float64)
    top_k(far[:2] + 3.1, far, 3, candidates=5, similarity=counted)
    assert compared == [2]


def test_any_similarity_and_fewer_documents_than_wanted():
    x, y = angles(3, 5, 0) - 1, angles(4, 5, 1) - 1
    assert_close(top_k(x, y, 9, similarity=cosine), by_sorting(cosine(x, y), 4))
    values, places = top_k(x, y, 2)
    assert values.shape == places.shape == (3, 2)
    assert top_k(x[:0], y, 2)[0].shape == (0, 2)
    assert not top_k(x.requires_grad_(), y, 2)[0].requires_grad


def test_bad_arguments_are_named():
    z = angles(3, 6, 0, 1)
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        top_k(z, z, 0)
    with pytest.raises(ValueError, match="`candidates` must be at least `k`, 2, got 1"):
        top_k(z, z, 2, candidates=1)
    with pytest.raises(ValueError, match="`candidates` is for the `log_fidelity` of angles"):
        top_k(z, z, 2, candidates=2, similarity=cosine)
    codes = quantize(z[:, :4] / 4, 8, kind="state")
    with pytest.raises(ValueError, match="`candidates` is for the `log_fidelity` of angles"):
        top_k(codes, codes, 2, candidates=2)
    with pytest.raises(ValueError, match="The bits of codes must agree"):
        top_k(quantize(z, 8), quantize(z, 4), 1, candidates=2)
    with pytest.raises(ValueError, match="The similarity is NaN"):
        top_k(z * math.nan, z, 1)
