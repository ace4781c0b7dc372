"""What every head does alike, and the one maker of heads."""

import warnings
from functools import partial
from inspect import signature

import pytest
import torch
from torch.testing import assert_close

from mpsheads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
    TruncationHead,
    make_head,
)
from mpsheads.heads import HEADS, compress_vectors, describe, head_size_in_bytes
from mpsheads.heads.circuits import _family_ranks
from mpsheads.heads.mixing import scrambler


@pytest.fixture(params=HEADS)
def head(request, generator):
    return make_head(request.param, 12, documents=torch.randn(30, 12, generator=generator))


def test_every_head_has_the_interface(head, generator):
    x = torch.randn(5, 12, generator=generator)
    z = head(x)
    assert z.shape == (5, 4)
    assert z.dtype == torch.float32
    assert torch.equal(head.encode(x), z)
    scores = head.similarity(z[:2], z)
    assert scores.shape == (2, 5)
    assert scores.argmax(1).tolist() == [0, 1]  # nothing is closer than the vector itself
    assert (head.in_features, head.out_features, head.bytes_per_vector) == (12, 4, 16)
    assert [head_size_in_bytes(head, bits) for bits in (32, 8, 1)] == [16, 4, 1]
    real = [t for t in head.state_dict().values() if t.is_floating_point()]
    assert head.num_parameters == sum(t.numel() for t in real)
    assert "in_features=12, out_features=4" in repr(head)
    assert f"{type(head).__name__} 12 -> 4" in describe(head)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixing", [1, "full"])
def test_a_head_is_made_where_16_bits_are_the_default(mixing, dtype, generator):
    """As transformers makes it, while it loads a model of such an encoder."""
    scrambled = scrambler(12, 1).matrix()
    _family_ranks.cache_clear()
    torch.set_default_dtype(dtype)
    try:
        head = MPSProjectionHead(12, 4, mixing=mixing, generator=generator)
        again = scrambler(12, 1).matrix()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in head.parameters()} == {dtype}
    assert head(torch.ones(2, 12, dtype=dtype)).isfinite().all()
    assert torch.equal(again, scrambled)


def test_a_batch_equals_its_members_and_an_empty_one_is_taken(head, generator):
    x = torch.randn(5, 12, generator=generator)
    for i in range(5):
        assert_close(head(x[i : i + 1]), head(x)[i : i + 1])
    assert head(x[:0]).shape == (0, 4)
    many = compress_vectors(head, x.double(), rows=2)
    assert not many.requires_grad
    assert_close(many, head(x).detach(), check_dtype=head.name != "truncation")
    assert compress_vectors(None, x) is x


def test_a_head_works_in_double_precision(head, generator):
    x = torch.randn(5, 12, dtype=torch.float64, generator=generator)
    assert_close(head.double()(x).float(), head.float()(x.float()), atol=1e-5, rtol=1e-5)


def test_bad_inputs_are_named(head):
    with pytest.raises(ValueError, match=r"`x` must have shape \(batch, 12\), got \(3, 11\)"):
        head(torch.zeros(3, 11))
    with pytest.raises(ValueError, match=r"`zd` must have shape \(batch, 4\), got \(3, 5\)"):
        head.similarity(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(TypeError, match="`in_features` must be an integer, got True"):
        type(head)(True, 4)
    if head.num_parameters:  # truncation has no dtype of its own
        message = r"float32 or a less precise one, got torch.float64.*`x.to\(torch.float32\)`"
        with pytest.raises(TypeError, match=message):
            head(torch.zeros(3, 12, dtype=torch.float64))
        weights = next(t for t in head.state_dict().values() if t.is_floating_point())
        weights.fill_(torch.nan)
        with pytest.raises(ValueError, match=f"`head` of kind {head.name} gives NaN"):
            compress_vectors(head, torch.ones(2, 12))
    if head.compared_by == "cosine":
        with pytest.raises(ValueError, match="no range known beforehand"):
            head.quantize(torch.zeros(3, 4), 8)


def test_axes_point_to_their_largest_number_so_a_fit_is_the_same_anywhere(generator):
    x = torch.randn(50, 12, generator=generator) * torch.linspace(3, 1, 12)
    full = MPSProjectionHead(12, 4, readout="amplitude", mixing="full").fit(x).mixing.weight
    for axes in (PCAHead(12, 6).fit(x).components, PCAHead(12, 6).fit(-x).components, full):
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
        assert (largest > 0).all()


def test_made_heads_take_their_size_their_settings_and_their_data(tmp_path, generator):
    x = torch.randn(9000, 12, generator=generator) * torch.linspace(3, 1, 12)
    assert make_head("pca:5", 12, 4).out_features == 5
    plain = make_head("mps", 12, seed=3)
    assert not plain.is_fitted
    assert torch.equal(plain.angles, make_head("mps", 12, seed=3, depth=None).angles)
    assert not torch.equal(plain.angles, make_head("mps", 12, seed=4).angles)
    fitted = make_head("mps", 12, documents=x, seed=3)
    assert fitted.is_fitted
    assert not fitted.training
    other = make_head("mps", 12, documents=x.double(), seed=3)  # of the same sample
    assert torch.equal(other.mixing.angles, fitted.mixing.angles)
    assert not make_head("mps", 12, documents=x, fitted=False).is_fitted
    assert not make_head("mps", 12, documents=x[:1]).is_fitted
    unmixed = [make_head("mps", 12, documents=x, mixing=0, fitted=f).scale for f in (False, True)]
    assert unmixed[0].item() == pytest.approx(0.35)
    assert unmixed[1] != unmixed[0]
    assert make_head("reference", 12).normalize
    assert not make_head("reference", 12, normalize=False).normalize
    dense = make_head("dense:3", 12, documents=x, start="pca")
    axes = PCAHead(12, 3).fit(x[:9000]).components
    assert_close((dense.linear.weight @ axes.T).abs(), torch.eye(3), atol=0.05, rtol=0)
    fitted.save_pretrained(tmp_path)
    assert torch.equal(make_head(str(tmp_path), 12, documents=x)(x[:3]), fitted(x[:3]))


def test_codes_are_made_for_bytes_and_fitted_to_pairs(generator):
    shared, own = torch.randn(3, 300, 12, generator=generator).split([1, 2])
    x, queries = (torch.cat([2 * part, shared[0]], 1) for part in own)
    head = make_head("codes:8", 24, documents=x, queries=queries)
    assert (head.bytes_per_vector, head.config["mixing"]) == (8, "full")
    assert [make_head("codes", width).bytes_per_vector for width in (60, 64)] == [10, 10]
    assert make_head("codes:8", 24, mixing=3).config["mixing"] == 3
    alone = make_head("codes:8", 24, documents=x)
    first, second = (made.mixing.matrix()[:4, 12:].norm() for made in (head, alone))
    assert first > 1.5 > 0.5 > second  # what pairs share is in the last features
    linear = make_head("dense:4", 24, documents=x, queries=queries, start="pca").linear.weight
    assert linear[:, 12:].norm() > 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_head("codes:8", 24, documents=x[:3])  # a few texts may be all there are


@pytest.mark.parametrize(
    ("named", "settings", "message"),
    [
        ("codes:4", {}, "`bytes` must be at least 8, got 4"),
        ("codes:8", {"depth": 2}, "`depth` is of mps heads, but `head` is codes"),
        ("mps:big", {}, "mps:big must end in a number, as in mps:64"),
        ("mps", {"in_features": 13}, "Give `out_features`: 13 features have no whole third"),
        ("pca:4", {"depth": 2}, "`depth` is of mps heads, but `head` is pca"),
        ("mps", {"colour": 2}, "`colour` is no setting of a head, but `head` is mps"),
        ("dense", {"start": "warm"}, '`start` must be one of "random", "pca"'),
        ("dense", {"start": "pca"}, '`start` "pca" needs `documents`'),
        (
            "SAVED",
            {"out_features": 4},
            "`out_features` shapes a new head, but `head` .* is none of",
        ),
        ("SAVED", {"depth": 2}, "`depth` shapes a new head"),
        ("SAVED", {"in_features": 9}, "takes embeddings of 12 numbers, but these have 9"),
        ("nothing", {}, "New heads are mps, reference, dense, pca, truncation|New heads are"),
    ],
)
def test_what_no_head_can_be_made_of_is_named(named, settings, message, tmp_path):
    MPSProjectionHead(12, 4).save_pretrained(tmp_path)
    settings = {"in_features": 12, **settings}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_head(named.replace("SAVED", str(tmp_path)), **settings)


@pytest.mark.parametrize("kind", HEADS.values())
def test_a_head_is_of_the_papers_size_by_default(kind):
    parameters = signature(kind).parameters
    assert [parameters[n].default for n in ("in_features", "out_features")] == [768, 256]


@pytest.mark.parametrize(
    "kind", [DenseHead, MPSProjectionHead, ReferenceHead, partial(MPSProjectionHead, mixing="full")]
)
def test_the_generator_alone_decides_the_weights(kind):
    weights = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        weights.append(kind(12, 4, generator=generator).state_dict())
    for name, first in weights[0].items():
        assert torch.equal(first, weights[1][name]), name
    assert any(not torch.equal(first, weights[2][name]) for name, first in weights[0].items())


def test_the_dense_head_is_a_linear_layer_with_tanh(generator):
    head = DenseHead(6, 2, generator=generator)
    x = torch.randn(3, 6, generator=generator)
    assert_close(head(x), torch.tanh(x @ head.linear.weight.T + head.linear.bias))
    assert head.num_parameters == 14


def test_pca_keeps_the_directions_of_largest_variance(generator):
    x = torch.randn(200, 5, dtype=torch.float64, generator=generator)
    x = x * torch.tensor([5.0, 0.1, 3.0, 0.1, 1.0]) + 10
    head = PCAHead(5, 3).double().fit(x.clone().requires_grad_())
    z = head(x)
    assert not z.requires_grad
    _, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert_close(z.norm(dim=0), s[:3])
    assert_close(z.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(head.components @ head.components.T, torch.eye(3, dtype=torch.float64))
    z = PCAHead(5, 5).double().fit(x)(x)
    assert_close(torch.cdist(z, z), torch.cdist(x, x), atol=1e-5, rtol=1e-5)  # roots of zeros


def test_pca_before_fitting_and_on_bad_samples_is_refused(generator):
    head = PCAHead(4, 2)
    x = torch.randn(9, 4, generator=generator)
    with pytest.raises(RuntimeError, match="not fitted"):
        head(x)
    with pytest.raises(ValueError, match="more than `out_features` 2 rows, got 2"):
        head.fit(x[:2])
    x[3, 1] = float("nan")
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        head.fit(x)
    with pytest.raises(ValueError, match="must not exceed `in_features` 4, got 5"):
        PCAHead(4, 5)


def test_truncation_keeps_the_first_features_and_learns_nothing(generator):
    x = torch.randn(3, 6, generator=generator)
    head = TruncationHead(6, 2)
    assert_close(head(x), x[:, :2])
    assert head.num_parameters == 0
    with pytest.raises(ValueError, match="must not exceed"):
        TruncationHead(6, 7)


@pytest.mark.parametrize("power", [1, 2])  # of a loss that is linear, too
@pytest.mark.parametrize("wanted", ["x", "angles"])
def test_second_derivatives_that_are_not_there_raise(wanted, power, generator):
    head = MPSProjectionHead(6, 3, mixing=2, generator=generator)
    x = torch.randn(4, 6, generator=generator, requires_grad=True)
    of = {"x": x, "angles": head.mixing.angles}[wanted]
    for z in (head(x), head.similarity(head(x), head(x))):
        loss = z.pow(power).sum()
        (slopes,) = torch.autograd.grad(loss, head.mixing.angles, create_graph=True)
        with pytest.raises(NotImplementedError, match="Second derivatives"):
            torch.autograd.grad(slopes.sum(), of)
