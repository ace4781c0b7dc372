"""Heads of any size, kind and dtype on any numbers: finite vectors and slopes, or one refusal."""

import math
import tempfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpsheads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
    TruncationHead,
    load_head,
    log_fidelity,
)
from tests.strategies import SEEDS, source

pytestmark = pytest.mark.slow

DTYPES = {torch.float32: 3e38, torch.float64: 1.7e308, torch.bfloat16: 3e38}
NUMBERS = [0.0, 1.0, -1.0, 1e-45, 1e-38, 1e-20, 1e-3, 30.0, 1e9, 1e18]
READOUTS = ("probability", "direction", "amplitude", "state")


@st.composite
def heads(draw):
    """A head of any kind, and the seed of its parameters."""
    features, generator = draw(st.integers(1, 40)), source(draw(SEEDS))
    kept = draw(st.integers(1, features))
    kind = draw(st.sampled_from([DenseHead, TruncationHead, PCAHead, ReferenceHead, *READOUTS]))
    if kind is PCAHead:
        x = torch.randn(kept + 5, features, generator=generator)
        return PCAHead(features, kept).fit(x)
    if kind is TruncationHead:
        return TruncationHead(features, kept)
    if kind is DenseHead:
        return DenseHead(features, kept, generator=generator)
    if kind is ReferenceHead:
        kept = draw(st.sampled_from([n for n in range(1, features + 1) if features % n == 0]))
        return ReferenceHead(features, kept, normalize=draw(st.booleans()), generator=generator)
    depth, bond_dim = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 4]))
    settings = {
        "depth": depth,
        "bond_dim": bond_dim,
        "mixing": draw(st.sampled_from([0, 1, 3, "full"])),
        "ansatz": draw(st.sampled_from(["staircase", "brickwork"])),
        "generator": generator,
    }
    if kind == "amplitude":
        settings["bits"] = draw(st.sampled_from([None, 1, 1.5, 2, 4]))
    if kind == "state":
        settings["ansatz"] = "staircase"
        kept *= 4  # bonds of 1 between blocks
    return MPSProjectionHead(features, kept, readout=kind, **settings)


@st.composite
def embeddings(draw, features, dtype):
    """Rows of unlike sizes; some equal, opposite, or of one number."""
    rows = draw(st.sampled_from([0, 1, 2, 3]))
    x = torch.randn(rows, features, dtype=torch.float64, generator=source(draw(SEEDS)))
    for row in x:
        how = draw(st.sampled_from(["noise", "scaled", "constant", "one", "first", "opposite"]))
        number = draw(st.sampled_from([*NUMBERS, DTYPES[dtype]]))
        if how == "scaled":
            row *= number
        elif how == "constant":
            row.fill_(number)
        elif how == "one":
            row.zero_()[draw(st.integers(0, features - 1))] = number
        elif how != "noise":
            row.copy_(x[0] if how == "first" else -x[0])
    return x.to(dtype)


@given(data=st.data(), head=heads(), dtype=st.sampled_from(list(DTYPES)))
def test_vectors_and_slopes_are_finite_or_refused(data, head, dtype):
    head = head.to(dtype)
    x = data.draw(embeddings(head.in_features, dtype)).requires_grad_()
    norms = torch.linalg.vector_norm(x, dim=1, dtype=torch.promote_types(dtype, torch.float32))
    if not norms.isfinite().all():
        with pytest.raises(ValueError, match="`x` must"):
            head(x)
        return
    z = head(x)
    assert z.shape == (len(x), head.out_features)
    assert z.isfinite().all()
    scores = head.similarity(z, z)
    assert scores.shape == (len(x), len(x))
    assert scores.isfinite().all()
    if z.requires_grad:
        wanted = [x, *(p for p in head.parameters() if p.requires_grad)]
        slopes = torch.autograd.grad(z.sum() + scores.sum(), wanted, allow_unused=True)
        assert all(slope is None or slope.isfinite().all() for slope in slopes)


@given(data=st.data(), head=heads())
def test_codes_and_saved_heads_give_the_same(data, head):
    head = head.eval()
    x = torch.randn(3, head.in_features, generator=source(data.draw(SEEDS)))
    z = head(x).detach()
    with tempfile.TemporaryDirectory() as folder:
        head.save_pretrained(folder)
        again = load_head(folder)
    assert torch.equal(again(x), z)
    bits = head.config.get("bits")
    if head.compared_by == "cosine" and bits is None:
        return
    state = head.config.get("readout") == "state"
    bits = bits or data.draw(st.sampled_from([8, 4] if state else [8, 4, 2, 1]))
    codes = head.quantize(z, bits)
    assert torch.equal(again.quantize(z, bits).packed, codes.packed)
    if codes.kind != "trellis":  # what codes stand for has these codes
        middles = codes.dequantize()
        assert torch.equal(head.quantize(middles, bits).packed, codes.packed)
    else:
        assert codes.dequantize().isfinite().all()


@given(data=st.data(), width=st.integers(1, 40), double=st.booleans(), pairwise=st.booleans())
def test_log_fidelity_of_any_angles_is_finite_with_finite_slopes(data, width, double, pairwise):
    dtype = torch.float64 if double else torch.float32
    generator = source(data.draw(SEEDS))
    ends = torch.tensor([0.0, 1e-38, 1e-7, math.pi / 2, math.pi - 1e-7, math.pi], dtype=dtype)
    zq, zd = (
        ends[torch.randint(len(ends), (3, width), generator=generator)].requires_grad_()
        for _ in "qd"
    )
    scores = log_fidelity(zq, zd, pairwise=pairwise)
    assert scores.isfinite().all()
    assert scores.max() <= 1e-5 * width
    slopes = torch.autograd.grad(scores.sum(), (zq, zd))
    assert all(slope.isfinite().all() for slope in slopes)
