"""Kernels for a card against the library, under Triton's interpreter where there is no card."""

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("triton")

import mpsheads
from benchmarks.gpu import kernels
from mpsheads import mps
from mpsheads.similarity import quantize_trellis
from mpsheads.similarity.packing import _byte_table

pytestmark = pytest.mark.slow
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize(("wide", "kept"), [(24, 8), (48, 24), (40, 40)])
def test_a_fused_head_computes_what_the_head_does(wide, kept):
    head = mpsheads.MPSProjectionHead(wide, kept, generator=torch.Generator().manual_seed(0))
    head.fit(torch.randn(300, wide, generator=torch.Generator().manual_seed(1)))
    head.to(DEVICE)
    x = numbers(19, wide)
    assert_close(kernels.FusedHead.of(head)(x), head(x).detach(), rtol=1e-4, atol=1e-4)


def test_log_fidelity_of_all_pairs():
    zq, zd = (3 * numbers(rows, 21, seed=rows).sigmoid() for rows in (5, 70))
    expected = mpsheads.log_fidelity(zq, zd)
    assert_close(kernels.log_fidelity(zq, zd), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_scores_of_codes(bits):
    z, q = numbers(70, 64), numbers(3, 64, seed=1)
    codes = quantize_trellis(z, bits, centre=torch.zeros(64, device=DEVICE), span=0.5)
    trellis = mps.standard_trellis(bits)
    table = _byte_table(trellis, like=codes.packed, dtype=torch.float16)
    expected = q @ codes.words().T
    assert_close(kernels.code_scores(q, codes, table), expected, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("bits", [1, 1.5, 2])
def test_nearest_codewords(bits):
    trellis, x = mps.standard_trellis(bits), numbers(3, 48)
    words = kernels.nearest_codewords(x, trellis)
    found, best = (
        (mps.codewords(w, trellis) - x).square().sum(1)
        for w in (words, mps.nearest_codewords(x, trellis))
    )
    assert_close(found, best, rtol=1e-4, atol=1e-4)
