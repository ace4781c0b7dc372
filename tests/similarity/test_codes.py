"""Codes of few bits: what they hold, and what is computed from them."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import Codes, load_codes, log_fidelity, quantize
from mpsheads import fidelity as exponential
from mpsheads.similarity.codes import quantize_trellis


def angles(rows, width, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return math.pi * torch.rand(rows, width, dtype=dtype, generator=generator)


@given(
    bits=st.sampled_from([8, 4, 2, 1]),
    width=st.integers(1, 20),
    rows=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_a_number_moves_by_half_a_cell_at_most(bits, width, rows, seed):
    z = angles(rows, width, seed, torch.float64)
    codes = quantize(z, bits)
    assert codes.packed.dtype == torch.uint8
    assert codes.shape == (rows, width)
    assert len(codes) == rows
    assert codes.bytes_per_vector == codes.packed.shape[1] == math.ceil(width * bits / 8)
    half = math.pi / 2 ** (bits + 1)
    assert ((codes.dequantize(torch.float64) - z).abs() <= half + 1e-6).all()
    assert_close(quantize(codes.dequantize(), bits).packed, codes.packed)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_the_ends_of_the_range_fall_into_the_last_cells(bits):
    found = quantize(torch.tensor([[0.0, math.pi, -1e-6, math.pi + 1e-6]]), bits).dequantize()
    half = math.pi / 2 ** (bits + 1)
    assert_close(found, torch.tensor([[half, math.pi - half] * 2]))
    half_precision = torch.tensor([[3.140625, 0.0]], dtype=torch.bfloat16)
    assert quantize(half_precision, bits).dequantize().dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4, 2, 1])
@pytest.mark.parametrize("width", [1, 9, 64])
def test_codes_compare_as_the_numbers_they_stand_for(bits, width):
    zq, zd = angles(3, width, 0), angles(7, width, 1)
    q, d = quantize(zq, bits), quantize(zd, bits)
    for left in (zq, q):
        for right in (zd, d):
            plain = [z.dequantize() if isinstance(z, Codes) else z for z in (left, right)]
            expected = log_fidelity(*plain)
            assert_close(log_fidelity(left, right), expected, rtol=1e-5, atol=1e-5)
            rows = log_fidelity(left, right[:3], pairwise=True)
            assert_close(rows, expected[:, :3].diagonal(), rtol=1e-5, atol=1e-5)
            assert_close(exponential(left, right), log_fidelity(left, right).exp())


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_queries_in_other_precisions_and_with_gradients(bits):
    zq, codes = angles(3, 10, 0, torch.float64).requires_grad_(), quantize(angles(7, 10, 1), bits)
    expected = log_fidelity(zq, codes.dequantize(torch.float64))
    found = log_fidelity(zq, codes)
    assert_close(found, expected)
    assert_close(log_fidelity(zq.detach(), codes), expected.detach())
    slope, wanted = (torch.autograd.grad(x.sum(), zq)[0] for x in (found, expected))
    assert_close(slope, wanted)
    assert_close(log_fidelity(zq.detach() + 2 * math.pi, codes), expected.detach())  # once around
    half = log_fidelity(zq.detach().bfloat16(), codes)
    assert half.dtype == torch.float32


def test_rows_are_sliced_moved_and_written(tmp_path):
    codes = quantize(angles(6, 15, 0), 4)
    assert_close(codes[1:3].packed, codes.packed[1:3])
    assert_close(codes[torch.tensor([4, 0])].dequantize(), codes.dequantize()[[4, 0]])
    assert codes.to("meta").device.type == "meta"
    assert_close(Codes.cat([codes[:2], codes[2:]]).packed, codes.packed)
    codes.save(tmp_path / "codes.safetensors")
    found = load_codes(tmp_path / "codes.safetensors")
    assert_close(found.packed, codes.packed)
    assert (found.bits, found.width, found.kind, found.bond_dims) == (4, 15, "angle", ())
    states = quantize(torch.rand(2, 32), 8, kind="state", bond_dims=(2, 2))
    states.save(tmp_path / "states.safetensors")
    assert load_codes(tmp_path / "states.safetensors").bond_dims == (2, 2)
    torch.save(codes, tmp_path / "codes.pt")
    again = torch.load(tmp_path / "codes.pt", weights_only=False)
    assert_close(again.dequantize(), codes.dequantize())


def test_files_that_hold_something_else_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"packed": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"does not hold codes that `Codes\.save` wrote"):
        load_codes(tmp_path / "other.safetensors")
    (tmp_path / "text").write_text("no codes at all")
    with pytest.raises(ValueError, match="does not hold codes"):
        load_codes(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        load_codes(tmp_path / "none")


def test_bad_vectors_are_named():
    z = angles(2, 6, 0)
    with pytest.raises(ValueError, match="`bits` must be one of 8, 4, 2, 1 for 'angle' vectors"):
        quantize(z, 3)
    with pytest.raises(ValueError, match="`bits` must be one of 8, 4 for 'state' vectors, got 2"):
        quantize(z, 2, kind="state", bond_dims=())
    with pytest.raises(ValueError, match="`kind` must be one of"):
        quantize(z, 8, kind="angles")
    with pytest.raises(ValueError, match="row 1 holds NaN or infinity"):
        quantize(torch.tensor([[1.0], [math.nan]]), 8)
    with pytest.raises(ValueError, match=r"lie in \[0, 3\.1416\] .* row 1 holds 3\.2 in column 0"):
        quantize(torch.tensor([[1.0], [3.2]]), 8)
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\] for 'state' vectors, but row 0"):
        quantize(torch.tensor([[1.1, 0, 0, 0]]), 8, kind="state")
    with pytest.raises(ValueError, match="`z` must have 32 columns for 3 qubits"):
        quantize(z / 4, 8, kind="state", bond_dims=(2, 2))
    with pytest.raises(TypeError, match="bond_dims"):
        quantize(z, 8, kind="state", bond_dims=2)
    with pytest.raises(ValueError, match="`bond_dims` must be at least 1, got 0"):
        quantize(z, 8, kind="state", bond_dims=(2, 0))
    with pytest.raises(ValueError, match="`bond_dims` belongs to states, but `kind` is 'angle'"):
        quantize(z, 8, bond_dims=(2,))


def test_codes_that_do_not_fit_are_named():
    z = angles(2, 6, 0)
    codes = quantize(z, 4)
    with pytest.raises(ValueError, match="bits of codes must agree: `zq` has 4, `zd` has 8"):
        log_fidelity(codes, quantize(z, 8))
    with pytest.raises(ValueError, match="kind of codes must agree"):
        log_fidelity(quantize(z[:, :4] / 4, 4), quantize(z[:, :4] / 4, 4, kind="state"))
    with pytest.raises(ValueError, match="number of features must agree: `zq` has 6, `zd` has 5"):
        log_fidelity(codes, quantize(z[:, :5], 4))
    with pytest.raises(ValueError, match="number of features must agree"):
        log_fidelity(z[:, :5], codes)
    with pytest.raises(ValueError, match="device must agree"):
        log_fidelity(z, codes.to("meta"))
    with pytest.raises(ValueError, match="number of rows must agree"):
        log_fidelity(z[:1], codes, pairwise=True)
    with pytest.raises(ValueError, match="`parts` must hold at least one"):
        Codes.cat([])
    with pytest.raises(TypeError, match="Index codes with a slice"):
        codes[0]
    with pytest.raises(
        ValueError, match="`packed` must have 2 bytes a row for 3 numbers of 4 bits"
    ):
        Codes(torch.zeros(2, 3, dtype=torch.uint8), 4, 3)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_cells_may_fill_the_middle_of_the_range_alone(bits, generator):
    """Numbers within the span move by half a cell, those beyond it go to its outermost cells."""
    span = 0.3
    low, high = math.pi / 2 * (1 - span), math.pi / 2 * (1 + span)
    inside = low + (high - low) * torch.rand(50, 24, generator=generator)
    codes = quantize(inside, bits, span=span)
    half = (high - low) / 2 ** (bits + 1)
    assert (codes.dequantize() - inside).abs().max() <= half + 1e-6
    ends = quantize(torch.tensor([[0.0, math.pi]]), bits, span=span).dequantize()
    assert_close(ends, torch.tensor([[low + half, high - half]]))
    assert_close(codes.levels()[codes.numbers().int()], codes.dequantize())


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_codes_with_a_span_are_compared_like_what_they_stand_for(bits, generator):
    z = math.pi * (0.5 + 0.1 * torch.randn(9, 21, generator=generator)).clamp(0, 1)
    codes = quantize(z, bits, span=0.4)
    expected = log_fidelity(z[:4], codes.dequantize())
    assert_close(log_fidelity(z[:4], codes), expected, atol=1e-4, rtol=1e-4)
    assert_close(log_fidelity(codes, codes), log_fidelity(codes.dequantize(), codes.dequantize()))


def test_a_span_is_kept_in_the_file_and_checked(tmp_path, generator):
    z = math.pi * torch.rand(3, 8, generator=generator)
    codes = quantize(z, 4, span=0.25)
    codes.save(tmp_path / "codes.safetensors")
    again = load_codes(tmp_path / "codes.safetensors")
    assert again.span == 0.25
    assert torch.equal(again.dequantize(), codes.dequantize())
    with pytest.raises(ValueError, match="span of codes"):
        log_fidelity(codes, quantize(z, 4))
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="`span` must lie in"):
            quantize(z, 4, span=wrong)


def test_codes_around_a_centre_that_is_not_finite_are_refused(tmp_path):
    codes = quantize_trellis(torch.ones(2, 64), 2, centre=torch.zeros(64), span=1.0)
    replace(codes, centre=torch.full((64,), torch.nan)).save(tmp_path / "codes")
    with pytest.raises(ValueError, match=r"does not hold codes .*`centre` must be finite"):
        load_codes(tmp_path / "codes")
