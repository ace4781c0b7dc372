"""Heads that select amplitudes, scramble them, and code them on a trellis."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from torch.testing import assert_close

from mpsheads import Codes, MPSProjectionHead, load_codes, load_head, top_k
from mpsheads.heads import describe, freeze
from mpsheads.heads.amplitudes import code_layout
from mpsheads.mps import to_dense


def embeddings(rows, width, generator):
    """Features of unlike spread, with a mean, as encoders give them."""
    spread = torch.linspace(2, 0.2, width)
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    return torch.randn(rows, width, generator=generator) * spread @ turn + 0.3


@pytest.mark.parametrize("mixing", [0, 3, "full"])
def test_without_codes_it_is_some_rows_of_an_orthogonal_matrix(mixing, generator):
    head = MPSProjectionHead(12, 5, readout="amplitude", mixing=mixing, generator=generator)
    x = embeddings(30, 12, generator)
    rows = head(torch.eye(12)).T
    assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)
    assert_close(head(x), normalize(x) @ rows.T)
    assert_close(head.similarity(head(x), head(x)).diagonal(), torch.ones(30))
    amplitudes = to_dense(head.state(x)).flatten(1)[:, [16, 8, 4, 2, 1]]
    assert_close(amplitudes, head(x))
    assert head.compared_by == "cosine"


def test_scrambling_changes_no_cosine(generator):
    x = embeddings(40, 24, generator)
    settings = {"readout": "amplitude", "mixing": "full"}
    plain = MPSProjectionHead(24, 9, **settings).fit(x)
    coded = MPSProjectionHead(24, 9, bits=2.0, **settings, generator=generator).fit(x)
    assert_close(
        plain.similarity(plain(x), plain(x)),
        coded.eval().similarity(coded(x), coded(x)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_fitted_to_pairs_it_keeps_what_they_share(generator):
    """Queries and documents share three directions, and each have strong ones of their own."""
    turn, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
    shared = torch.randn(500, 3, generator=generator)
    own = 3 * torch.randn(2, 500, 4, generator=generator)
    zero = torch.zeros(500, 9)
    documents = torch.cat([shared, own[0], zero], 1) @ turn
    queries = torch.cat([shared, torch.zeros(500, 4), own[1], zero[:, :5]], 1) @ turn
    for mixing in (24, "full"):
        head = MPSProjectionHead(16, 3, readout="amplitude", mixing=mixing)
        head.fit(documents, queries)
        assert head(normalize(turn[:3])).norm(dim=1).min() > 0.95
        assert head.fit(documents)(normalize(turn[:3])).norm(dim=1).max() < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 13, 32, 47, 64, 96])
def test_a_budget_is_filled_and_more_bytes_keep_more(size, generator):
    x = embeddings(400, 96, generator)
    head = MPSProjectionHead.for_bytes(96, size, generator=generator).fit(x).eval()
    codes = head.code(x)
    assert size - 1 <= codes.bytes_per_vector <= size
    assert (codes.width, codes.bits) == (head.out_features, head.config["bits"])
    near = cosine_similarity(codes.dequantize(), head(x)).mean()
    smaller = MPSProjectionHead.for_bytes(96, size, generator=generator)
    coarse = smaller.fit(x).quantize(smaller(x), 1.0)
    assert near > 0.7
    if head.config["bits"] > 1:
        assert cosine_similarity(coarse.dequantize(), smaller(x)).mean() < near


def test_layouts_take_the_fewest_bits_of_most_features():
    layouts = {size: code_layout(384, size) for size in (16, 32, 48, 64, 96, 128, 384, 5000)}
    assert layouts == {
        16: (128, 1.0),
        32: (256, 1.0),
        48: (256, 1.5),
        64: (256, 2.0),
        96: (256, 3.0),
        128: (256, 4.0),
        384: (384, 8.0),
        5000: (384, 8.0),
    }
    assert code_layout(384, 32, 2) == (128, 2.0)
    assert MPSProjectionHead.for_bytes(384, 32, bits=2).out_features == 128
    with pytest.raises(ValueError, match="`bytes` must be at least 8, got 7"):
        MPSProjectionHead.for_bytes(384, 7)
    assert MPSProjectionHead.for_bytes(384, 32).config["bits"] == 1  # for other texts than fitted


@pytest.mark.slow
def test_codes_rank_as_what_they_stand_for(generator, tmp_path):
    x = embeddings(2500, 48, generator)
    head = MPSProjectionHead.for_bytes(48, 12, generator=generator).fit(x).eval()
    codes, zq = head.code(x), head(x[:20])
    scores = head.similarity(zq, codes)
    expected = cosine_similarity(zq[:, None], codes.dequantize()[None], dim=-1)
    assert_close(scores, expected)
    assert_close(head.similarity(zq, codes[:20], pairwise=True), scores[:, :20].diagonal())
    values, rows = top_k(zq, codes, 5, similarity=head.similarity)
    assert_close(values, scores.topk(5).values)
    assert (rows[:, 0] == torch.arange(20)).float().mean() > 0.9
    codes.save(tmp_path / "codes.safetensors")
    loaded = load_codes(tmp_path / "codes.safetensors")
    assert torch.equal(loaded.dequantize(), codes.dequantize())
    joined = Codes.cat([codes[:7], loaded[7:]])
    assert torch.equal(joined.packed, codes.packed)
    assert codes.nbytes == 2500 * 12
    assert codes[torch.arange(5)].packed.is_contiguous()
    other = MPSProjectionHead.for_bytes(48, 12, generator=generator).fit(x).code(x[:3])
    with pytest.raises(ValueError, match="of codes must agree"):
        Codes.cat([codes, other])


def test_empty_texts_and_the_mean_itself_are_coded(generator):
    x = embeddings(200, 24, generator)
    head = MPSProjectionHead.for_bytes(24, 8, generator=generator).fit(x)
    odd = torch.stack([torch.zeros(24), head.amplitudes.mean, 1e-30 * torch.ones(24)])
    assert_close(head.amplitudes.mean, torch.nn.functional.normalize(x).mean(0))
    codes = head.code(odd)
    assert codes.dequantize().isfinite().all()
    assert head.similarity(head(x[:4]), codes).isfinite().all()


@pytest.mark.parametrize("bits", [1, 1.5, 2, 3, 4, 8])
def test_training_meets_documents_as_far_off_as_their_codes(bits, generator):
    x = embeddings(400, 96, generator)
    head = MPSProjectionHead.for_bytes(96, int(8 * bits), bits=bits, generator=generator).fit(x)
    z = head(x)
    noisy = head.amplitudes.through_codes(z, head.mixing)
    words = head.code(x).dequantize()
    error, real = ((y - z).square().sum(1).mean() for y in (noisy, words))
    assert_close(error, real, rtol=0.15, atol=0)  # `ERRORS` are of long words, these are short
    near = (cosine_similarity(y, z, dim=1).mean() for y in (noisy, words))
    assert_close(*near, rtol=0.02, atol=0)


def test_training_goes_through_the_codes(generator):
    x = embeddings(300, 24, generator)
    head = MPSProjectionHead.for_bytes(24, 8, generator=generator).fit(x)
    q, d = x[:40] + 0.5 * torch.randn(40, 24, generator=generator), x[:40]
    smooth = head.similarity(head(q), head(d))
    head.train()
    assert not torch.equal(head.similarity(head(q), head(d)), smooth)
    torch.manual_seed(3)
    before = head.similarity(head(q), head(d)).diagonal().mean()
    before.backward()
    slope = head.mixing.weight.grad
    assert slope.isfinite().all()
    assert slope.abs().max() > 0
    with torch.no_grad():
        head.mixing.weight += 1e-2 * slope / slope.abs().max()
    torch.manual_seed(3)
    assert head.similarity(head(q), head(d)).diagonal().mean() > before


@pytest.mark.parametrize("mixing", [2, "full"])
def test_it_survives_a_folder(mixing, generator, tmp_path):
    x = embeddings(100, 24, generator)
    head = MPSProjectionHead.for_bytes(24, 8, mixing=mixing, generator=generator).fit(x)
    head.save_pretrained(tmp_path)
    loaded = load_head(tmp_path)
    assert torch.equal(loaded.code(x).packed, head.code(x).packed)
    assert loaded.config == head.config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 2.0}, '`readout` must be one of "amplitude"'),
        ({"readout": "amplitude", "bits": 2.5}, "`bits` must be one of"),
        ({"readout": "amplitude", "mixing": -1}, "`mixing` must be at least 0"),
        ({"mixing": "half"}, "`mixing`"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MPSProjectionHead(24, 8, **settings)
    plain = MPSProjectionHead(24, 8, readout="amplitude")
    assert torch.equal(plain.code(torch.ones(2, 24)), plain(torch.ones(2, 24)))
    with pytest.raises(ValueError, match="made without codes"):
        plain.quantize(torch.ones(2, 8))
    with pytest.raises(ValueError, match="rows"):
        plain.fit(torch.randn(5, 24), torch.randn(4, 24))


def test_frozen_it_is_one_matrix(generator):
    x = embeddings(50, 24, generator)
    head = MPSProjectionHead.for_bytes(24, 8, mixing=3, generator=generator).fit(x).eval()
    frozen = freeze(head)
    assert_close(frozen(x=x), head(x))
    assert torch.equal(frozen.quantize(frozen(x)).packed, head.code(x).packed)
    assert [name for name, _ in frozen.named_buffers() if name == "rows"] == ["rows"]


@pytest.mark.parametrize("mixing", [0, 3, "full"])
def test_in_half_precision_the_matrix_stays_orthogonal(mixing, generator):
    x = embeddings(100, 24, generator)
    settings = {"readout": "amplitude", "mixing": mixing, "bits": 2.0, "generator": generator}
    head = MPSProjectionHead(24, 16, **settings).fit(x).eval()
    exact, half = head.code(x), head.half()
    assert half(x.half()).dtype == torch.float16
    rows = half._kept_rows()
    assert_close(rows @ rows.T, torch.eye(16), atol=1e-3, rtol=0)  # angles of half precision
    near = cosine_similarity(half.code(x.half()).dequantize(), exact.dequantize())
    assert near.mean() > 0.97
    assert_close(freeze(half)(x.half()).float(), half(x.half()).float(), atol=1e-3, rtol=0)


def test_a_head_made_in_inference_mode_spoils_no_other(generator):
    x = embeddings(100, 24, generator)
    settings = {"readout": "amplitude", "mixing": "full", "bits": 2.0, "scramble": 123_456}
    with torch.inference_mode():
        MPSProjectionHead(24, 16, **settings).code(x)
    head = MPSProjectionHead(24, 16, **settings).fit(x).train()
    head.similarity(head(x[:4]), head(x[:4])).sum().backward()
    assert head.mixing.weight.grad.isfinite().all()


def test_it_is_described_by_its_codes(generator):
    text = describe(MPSProjectionHead.for_bytes(24, 8, generator=generator))
    for part in ("8 a vector in codes", "one particle on 24 sites", "4 bits a number"):
        assert part in text


def test_codes_and_their_centre_belong_together(generator, tmp_path):
    head = MPSProjectionHead.for_bytes(24, 8, generator=generator)
    codes = head.code(embeddings(3, 24, generator))
    with pytest.raises(ValueError, match="`centre` must have as many numbers as a vector"):
        replace(codes, centre=None)
    with pytest.raises(ValueError, match="`centre` must have"):
        replace(codes, centre=torch.zeros(3))
    head.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"in_features": 65536, "out_features": 65536}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="65,536 numbers in codes, at most 8,192"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    ("bytes", "numbers", "bits"), [(16, 84, 1.5), (32, 170, 1.5), (64, 256, 2), (96, 256, 3)]
)
def test_fitted_to_the_passages_searched_fewer_numbers_have_more_bits(bytes, numbers, bits):
    head = MPSProjectionHead.for_bytes(384, bytes, own=True)
    assert (head.out_features, head.config["bits"]) == (numbers, bits)
    assert head.bytes_per_vector == bytes
