"""Cosines over words of a trellis, by decoding and by tables, beside what the words stand for."""

import pytest
import torch
from torch.nn.functional import normalize

from mpsheads.mps.trellis import RATES
from mpsheads.similarity import Codes, cosine, scan, top_k
from mpsheads.similarity.codes import code_bytes


def _codes(rows: int, width: int, bits: float, generator: torch.Generator) -> Codes:
    shape = (rows, code_bytes(width, bits, trellis=True))
    packed = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    centre = torch.randn(width, generator=generator)
    return Codes(packed, bits, width, "trellis", (), 0.3, centre)


@pytest.mark.parametrize("bits", RATES)
@pytest.mark.parametrize("queries", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("tables", [True, False])
def test_cosines_are_those_of_what_codes_stand_for(monkeypatch, bits, queries, tables, generator):
    if tables:
        monkeypatch.setattr(scan, "WORTH", 1)
        monkeypatch.setattr(scan, "MANY", 4)  # some rows at a time
    codes = _codes(10, 37, bits, generator)
    zq = torch.randn(queries, 37, generator=generator)
    wanted = normalize(zq) @ normalize(codes.dequantize()).T
    torch.testing.assert_close(cosine(zq, codes), wanted, atol=1e-5, rtol=0)
    assert cosine(zq, codes[:0]).shape == (queries, 0)


def test_a_gradient_goes_through_decoding_and_is_that_of_the_words(generator):
    codes = _codes(6, 20, 2.0, generator)
    zq = torch.randn(3, 20, generator=generator, requires_grad=True)
    wanted = normalize(zq) @ normalize(codes.dequantize()).T
    (gradient,) = torch.autograd.grad(wanted.sum(), zq)
    (same,) = torch.autograd.grad(cosine(zq, codes).sum(), zq)
    torch.testing.assert_close(same, gradient)
    assert cosine(zq.double(), codes).dtype == torch.float64


def test_a_word_that_lies_at_zero_has_cosine_zero(generator):
    codes = _codes(1, 20, 2.0, generator)
    centre = -0.3 * codes.words()[0]
    codes = Codes(codes.packed, 2.0, 20, "trellis", (), 0.3, centre)
    assert float(cosine(torch.ones(1, 20), codes).abs()) < 1e-3


@pytest.mark.parametrize("queries", [1, 5])
def test_the_closest_of_more_rows_than_are_read_at_once(queries, generator):
    codes = _codes(scan.MANY + 9, 8, 4.0, generator)
    zq = torch.randn(queries, 8, generator=generator)
    scores = normalize(zq.double()) @ normalize(codes.dequantize().double()).T
    found, rows = top_k(zq, codes, 5, similarity=cosine)
    torch.testing.assert_close(found.double(), scores.topk(5).values, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.gather(1, rows), found.double(), atol=1e-5, rtol=0)
