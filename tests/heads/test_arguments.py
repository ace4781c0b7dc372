"""Wrong arguments of heads and similarities: every one is refused by name, and NumPy is welcome."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import (
    Circuit,
    Codes,
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
    TruncationHead,
    approximate_log_fidelity,
    assume_finite,
    cosine,
    fidelity,
    load_codes,
    load_head,
    log_fidelity,
    make_head,
    quantize,
    state_log_fidelity,
    top_k,
)
from mpsheads.heads import compress_vectors, freeze, head_size_in_bytes
from mpsheads.heads.amplitudes import code_layout
from mpsheads.similarity import pack_state, quantize_trellis, unpack_state

ONES = torch.ones(2, 4)


@pytest.fixture(autouse=True)
def without_other_checks():
    """The library's own checks alone, not those that the other tests run under."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def changed(value):
    x = ONES.clone()
    x[1, 2] = value
    return x


BAD_VECTORS = {
    "none": (None, TypeError, "floating-point tensor, got (NoneType|int)"),
    "list": ([[1.0] * 4] * 2, TypeError, "floating-point tensor, got list"),
    "integers": (ONES.long(), TypeError, "floating-point tensor, got torch.int64"),
    "complex": (ONES + 0j, TypeError, "floating-point tensor, got torch.complex64"),
    "an array of integers": (ONES.long().numpy(), TypeError, "got torch.int64|got ndarray"),
    "one axis": (ONES[0], ValueError, r"shape \(batch, .*\), got \(4,\)"),
    "three axes": (ONES[None], ValueError, r"shape \(batch, .*\), got \(1, 2, 4\)"),
    "other width": (ONES[:, :3], ValueError, "3"),
    "nan": (changed(math.nan), ValueError, "must be finite, but row . holds NaN or infinity"),
    "infinity": (changed(-math.inf), ValueError, "must be finite, but row . holds NaN or inf"),
    "too large": (changed(3e38), ValueError, r"norms below 1\.8e\+19, but row . is longer|lie in"),
    "another device": (ONES.to("meta"), ValueError, "device must agree|on the device"),
}
FOUR = {
    "dense": lambda: DenseHead(4, 2),
    "pca": lambda: PCAHead(4, 2).fit(torch.eye(4)),
    "truncation": lambda: TruncationHead(4, 2),
    "reference": lambda: ReferenceHead(4, 2),
    "direction": lambda: MPSProjectionHead(4, 2),
    "probability": lambda: MPSProjectionHead(4, 2, readout="probability"),
    "state": lambda: MPSProjectionHead(4, 8, readout="state"),
    "truncating": lambda: MPSProjectionHead(4, 1, 1, 3),
    "amplitude": lambda: MPSProjectionHead(4, 2, readout="amplitude"),
    "codes": lambda: MPSProjectionHead(4, 3, readout="amplitude", mixing="full", bits=2),
}
TAKING = {
    **{f"head {name}": lambda x, make=make: make()(x) for name, make in FOUR.items()},
    "frozen": lambda x: freeze(MPSProjectionHead(4, 2))(x),
    "frozen amplitudes": lambda x: freeze(FOUR["codes"]())(x),
    "head.state": lambda x: MPSProjectionHead(4, 2).state(x),
    "head.code": lambda x: FOUR["codes"]().code(x),
    "mps fit": lambda x: MPSProjectionHead(4, 2).fit(x),
    "queries of fit": lambda x: MPSProjectionHead(4, 2).fit(
        torch.eye(4)[:2], 0 if x is None else x
    ),
    "pca fit": lambda x: PCAHead(4, 1).fit(x),
    "compress_vectors": lambda x: compress_vectors(DenseHead(4, 2), x),
    "head.quantize": lambda x: MPSProjectionHead(8, 4).quantize(x, 8),
    "trellis of a head": lambda x: MPSProjectionHead(8, 4, readout="amplitude", bits=2).quantize(x),
    "quantize": lambda x: quantize(x, 4, kind="state"),
    "trellis": lambda x: quantize_trellis(x, 2, centre=torch.zeros(4), span=1.0),
    "centre": lambda x: quantize_trellis(
        ONES, 2, centre=x[1] if getattr(x, "ndim", 0) == 2 else x, span=1.0
    ),
    "unpack_state": lambda x: unpack_state(x, ()),
}
for function in (log_fidelity, fidelity, approximate_log_fidelity, cosine):
    TAKING[f"zq of {function.__name__}"] = lambda x, function=function: function(x, ONES)
    TAKING[f"zd of {function.__name__}"] = lambda x, function=function: function(ONES, x)
TAKING["zd of top_k"] = lambda x: top_k(ONES, x, 1)
TAKING["zd of codes"] = lambda x: log_fidelity(x, quantize(ONES, 8))
TAKING["zq of states"] = lambda x: state_log_fidelity(x, ONES, ())
TAKING["zq of a head"] = lambda x: MPSProjectionHead(8, 4).similarity(x, ONES)
TAKING["zd of a dense head"] = lambda x: DenseHead(8, 4).similarity(ONES, x, pairwise=True)
NO_DEVICE = (
    "head truncation",
    "mps fit",
    "quantize",
    "unpack_state",
    "pca fit",
    "compress_vectors",
    "head.code",
    "head.quantize",
    "frozen",
)


@pytest.mark.parametrize("kind", BAD_VECTORS)
@pytest.mark.parametrize("name", TAKING)
def test_bad_vectors_are_refused_by_name(name, kind):
    value, error, message = BAD_VECTORS[kind]
    if kind == "another device" and name.startswith(NO_DEVICE):
        return  # either side is the only one
    if name == "centre" and kind in ("one axis", "three axes"):
        return
    with pytest.raises(error, match=message) as info:
        TAKING[name](value)
    assert "`" in str(info.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DenseHead(True, 2), TypeError, "`in_features` must be an integer, got True"),
        (lambda: DenseHead(4, 2.0), TypeError, "`out_features` must be an integer, got 2.0"),
        (lambda: TruncationHead("4"), TypeError, "`in_features` must be an integer, got '4'"),
        (lambda: PCAHead(0, 2), ValueError, "`in_features` must be at least 1, got 0"),
        (lambda: PCAHead(4, 5), ValueError, "`out_features` must not exceed `in_features` 4"),
        (lambda: ReferenceHead(4, 3), ValueError, "`out_features` must divide `in_features` 4"),
        (lambda: MPSProjectionHead(4, 5), ValueError, "`out_features` 5 needs 5 kept qubits"),
        (lambda: MPSProjectionHead(4, 2, 0), ValueError, "`bond_dim` must be at least 1"),
        (lambda: MPSProjectionHead(4, 2, depth=None), TypeError, "`depth` must be an integer"),
        (lambda: MPSProjectionHead(4, 2, ansatz=7), ValueError, "`ansatz` must be one of"),
        (lambda: MPSProjectionHead(4, 2, ansatz={}), ValueError, "`ansatz` is no circuit"),
        (
            lambda: MPSProjectionHead(4, 2, ansatz={"operations": [7]}),
            ValueError,
            "`ansatz` is no circuit",
        ),
        (lambda: MPSProjectionHead(4, 2, ansatz=Circuit(3, [])), ValueError, "`ansatz` must be"),
        (lambda: MPSProjectionHead(4, 2, readout=[]), ValueError, "`readout` must be one of"),
        (lambda: MPSProjectionHead(4, 2, readout="state"), ValueError, "`out_features` must be"),
        (lambda: MPSProjectionHead(4, 2, mixing="some"), TypeError, "`mixing` must be an int"),
        (lambda: MPSProjectionHead(4, 2, mixing=-1), ValueError, "`mixing` must be at least 0"),
        (lambda: MPSProjectionHead(4, 2, bits=2), ValueError, "`readout` must be one of"),
        (
            lambda: MPSProjectionHead(4, 2, readout="amplitude", bits=5),
            ValueError,
            "`bits` must be one of",
        ),
        (
            lambda: MPSProjectionHead(4, 2, readout="amplitude", bits=2, scramble="x"),
            TypeError,
            "`scramble` must be an integer",
        ),
        (lambda: MPSProjectionHead.for_bytes(4, 7), ValueError, "`bytes` must be at least 8"),
        (lambda: code_layout(4, 8, bits="x"), ValueError, "`bits` must be one of"),
        (lambda: head_size_in_bytes(DenseHead(4, 2), 0), ValueError, "`bits` must be at least 1"),
        (lambda: MPSProjectionHead(4, 2, mixing=False), TypeError, "`mixing` must be an integer"),
        (lambda: MPSProjectionHead(4, 2).quantize(ONES[:, :2]), ValueError, "Give `bits`"),
        (lambda: MPSProjectionHead(4, 2).quantize(ONES[:, :2], 1.5), ValueError, "`bits` must be"),
        (lambda: MPSProjectionHead(4, 2).fit(ONES[:1]), ValueError, "`x` must hold two rows"),
        (lambda: MPSProjectionHead(4, 2).fit(ONES), ValueError, "`x` must hold rows that differ"),
        (lambda: PCAHead(4, 1).fit(0 * ONES), ValueError, "`x` must hold rows that differ"),
        (lambda: PCAHead(4, 2).fit(ONES), ValueError, "`x` must hold more than `out_features` 2"),
        (lambda: MPSProjectionHead(4, 2).state(ONES[:0]), ValueError, "`x` must hold one emb"),
        (lambda: DenseHead(4, 2)(ONES.double()), TypeError, "`x` must have the head's dtype"),
        (lambda: compress_vectors(DenseHead(4, 2), ONES, 0), ValueError, "`rows` must be at least"),
        (lambda: make_head(5, 4), TypeError, "`named` must be a string, got int"),
        (lambda: make_head("mps", "4"), TypeError, "`in_features` must be an integer"),
        (lambda: make_head("mps:0", 4), ValueError, "`out_features` must be at least 1"),
        (lambda: make_head("mps", 6, documents=[[1.0]]), TypeError, "`documents` must be a fl"),
        (lambda: load_head("nowhere"), FileNotFoundError, "`path` 'nowhere' is not a folder"),
        (lambda: load_codes("nowhere"), FileNotFoundError, "no file of codes 'nowhere'"),
        (lambda: quantize(ONES, "8"), ValueError, "`bits` must be one of 8, 4, 2, 1"),
        (lambda: quantize(ONES, 8, kind=[]), ValueError, "`kind` must be one of"),
        (lambda: quantize(ONES, 8, span=math.nan), ValueError, r"`span` must lie in \(0, 1\]"),
        (lambda: quantize(ONES, 8, span="1"), TypeError, "`span` must be a number, got str"),
        (lambda: quantize(4 * ONES, 8), ValueError, r"`z` must lie in \[0, 3.1416\]"),
        (lambda: quantize(ONES, 8, bond_dims=(2,)), ValueError, "`bond_dims` belongs to states"),
        (lambda: unpack_state(ONES, (0,)), ValueError, "`bond_dims` must be at least 1, got 0"),
        (lambda: unpack_state(ONES, (1.5,)), TypeError, "`bond_dims` must be an integer, got 1.5"),
        (lambda: state_log_fidelity(ONES, ONES, 3), TypeError, "`bond_dims` must be integers"),
        (lambda: state_log_fidelity(0 * ONES, ONES, ()), ValueError, "`zq` must have norms above"),
        (lambda: pack_state(ONES), TypeError, "`state` must be an MPS, got Tensor"),
        (lambda: Codes(ONES, 8, 4), ValueError, "`packed` must be a matrix of uint8"),
        (lambda: Codes([[1]], 8, 4), ValueError, "`packed` must be a matrix of uint8, got list"),
        (lambda: Codes(ONES.byte(), 8, 5), ValueError, "`packed` must have 5 bytes a row"),
        (lambda: Codes(ONES.byte(), 8, 4.0), TypeError, "`width` must be an integer"),
        (lambda: Codes.cat([]), ValueError, "`parts` must hold at least one"),
        (lambda: top_k(ONES, ONES, 0), ValueError, "`k` must be at least 1"),
        (lambda: top_k(ONES, ONES, 1.5), TypeError, "`k` must be an integer"),
        (lambda: top_k(ONES, ONES, 1, rows=[0]), TypeError, "`rows` must be a tensor .*list"),
        (
            lambda: top_k(ONES, ONES, 1, rows=torch.tensor([True, False])),
            TypeError,
            "`rows` must be a tensor .* got torch.bool",
        ),
        (
            lambda: top_k(ONES, ONES, 1, rows=torch.tensor([2])),
            ValueError,
            r"`rows` must lie in \[0, 2\)",
        ),
        (
            lambda: log_fidelity(ONES, ONES[:1], pairwise=True),
            ValueError,
            "number of rows must agree",
        ),
        (lambda: cosine(ONES, ONES[:1], pairwise=True), ValueError, "number of rows must agree"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", FOUR)
def test_no_rows_give_no_rows_with_gradients(name):
    head = FOUR[name]()
    none, some = torch.zeros(0, 4, requires_grad=True), torch.randn(3, 4)
    z = head(none)
    assert z.shape == (0, head.out_features)
    z.sum().backward()
    assert none.grad.shape == (0, 4)
    assert head.similarity(z, head(some)).shape == (0, 3)
    assert head.similarity(head(some), z).shape == (3, 0)
    assert len(head.code(none)) == 0


@pytest.mark.parametrize("readout", ["probability", "direction", "amplitude"])
@pytest.mark.parametrize("mixing", [2, "full", 0])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (2, 1), (5, 4)])
def test_heads_of_every_size_can_be_fitted_and_trained(sizes, mixing, readout):
    head = MPSProjectionHead(*sizes, readout=readout, mixing=mixing)
    x = torch.randn(30, sizes[0], generator=torch.Generator().manual_seed(3))
    z = head.fit(x)(x.requires_grad_())
    z.sum().backward()
    assert z.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in [x, *head.parameters()])


def test_a_fit_to_few_rows_warns():
    with pytest.warns(UserWarning, match="`x` holds 4 rows, no more than the 4 numbers"):
        MPSProjectionHead(12, 4).fit(torch.randn(4, 12))


def test_numbers_of_numpy_are_welcome(tmp_path):
    head = MPSProjectionHead(np.int64(12), np.int32(4), np.int16(2), mixing=np.int64(1))
    head.save_pretrained(tmp_path)
    assert load_head(tmp_path).config == head.config
    x = torch.randn(5, 12)
    assert_close(head(x.numpy()), head(x).detach().numpy())
    codes = quantize(np.full((2, 4), 1.0, ">f8"), np.int64(4), span=np.float32(0.5))
    codes.save(tmp_path / "codes")
    assert load_codes(tmp_path / "codes").bits == 4
    assert top_k(ONES.numpy(), codes, np.int64(1))[1].tolist() == [[0], [0]]
    kept = MPSProjectionHead(12, 8, readout="amplitude", bits=np.float64(1.5))
    kept.save_pretrained(tmp_path)
    assert load_head(tmp_path).config["bits"] == 1.5


def test_what_is_assumed_finite_is_not_looked_at():
    head, x = MPSProjectionHead(4, 2), changed(math.nan)
    with assume_finite():
        z = head(x)
        assert z.isnan().any(1).tolist() == [False, True]
        assert log_fidelity(z, z).isnan().sum() == 3
        with pytest.raises(ValueError, match=r"`x` must have shape"):
            head(x[0])
    with pytest.raises(ValueError, match="`x` must be finite, but row 1"):
        head(x)
