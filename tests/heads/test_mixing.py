import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import Circuit, MPSProjectionHead
from mpsheads.heads import PCAHead, describe, freeze, load_head
from mpsheads.heads import mixing as module
from mpsheads.heads.mixing import Mixing
from tests.strategies import dense_circuit


def mixed(features, layers, generator, fitted=False):
    """Random angles; fitted ones are those of random data."""
    mixing = Mixing(features, layers, spread=1.0, generator=generator).double()
    if fitted:
        mixing.fit(covariance(features, generator))
    return mixing


def data(features, generator, samples=200):
    """Correlated features of different variances."""
    spread = torch.randn(features, features, generator=generator).double()
    return torch.randn(samples, features, generator=generator).double() @ spread


def covariance(features, generator):
    return torch.cov(data(features, generator).T).view(features, features)


def pairs_and_outputs(mixing):
    """The features that each angle rotates, and which rotated one each of the result is."""
    half, seen = mixing.orders.shape[1] // 2, [torch.arange(mixing.orders.shape[1])]
    for order in mixing.orders:
        seen.append(seen[-1][order])
    pairs = [order[: 2 * half].unflatten(0, (2, half)).T for order in seen[1:-1]]
    return torch.stack(pairs), seen[-1]


def explicit(mixing):
    """The product of all Givens rotations and of the order at the end, as a matrix."""
    all_pairs, outputs = pairs_and_outputs(mixing)
    matrix = torch.eye(mixing.orders.shape[1], dtype=torch.float64)
    for pairs, angles in zip(all_pairs.tolist(), mixing.angles.tolist(), strict=True):
        for (a, b), angle in zip(pairs, angles, strict=True):
            gate = torch.eye(len(matrix), dtype=torch.float64)
            gate[a, a] = gate[b, b] = math.cos(angle)
            gate[a, b], gate[b, a] = math.sin(angle), -math.sin(angle)
            matrix = gate @ matrix
    return matrix[outputs]


@pytest.mark.parametrize(("features", "layers"), [(1, 1), (2, 3), (8, 1), (11, 5), (23, 3)])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("concrete", [True, False])
def test_it_is_the_product_of_its_rotations(
    features, layers, fitted, concrete, monkeypatch, generator
):
    monkeypatch.setattr(module, "is_concrete", lambda _: concrete)
    mixing = mixed(features, layers, generator, fitted)
    x = torch.randn(4, features, dtype=torch.float64, generator=generator)
    assert_close(mixing(x), x @ explicit(mixing).T)
    assert_close(mixing(x).norm(dim=1), x.norm(dim=1))


@pytest.mark.parametrize("fitted", [False, True])
def test_it_is_a_circuit_of_givens_gates_on_one_particle(fitted, generator):
    """Amplitude i of the embedding stands for the particle on site i."""
    mixing = mixed(6, 2, generator, fitted)
    pairs, outputs = pairs_and_outputs(mixing)
    circuit = Circuit(6, [("givens", tuple(pair)) for pair in pairs.flatten(0, 1).tolist()])
    x = torch.nn.functional.normalize(torch.randn(1, 6, generator=generator).double())
    places = torch.tensor([2 ** (5 - site) for site in range(6)])
    state = torch.zeros(64, dtype=torch.complex128)
    state[places] = x[0].to(torch.complex128)
    found = dense_circuit(state, circuit, mixing.angles.detach().flatten())
    assert_close(found[places][outputs].real, mixing(x)[0].detach())
    assert_close(found[places].norm(), found.norm())  # the particle is not lost


@pytest.mark.parametrize("features", [10, 11])
@pytest.mark.parametrize("concrete", [True, False])
def test_gradients_agree_with_finite_differences(features, concrete, monkeypatch, generator):
    monkeypatch.setattr(module, "is_concrete", lambda _: concrete)
    mixing = mixed(features, 3, generator, fitted=True)
    x = torch.randn(2, features, dtype=torch.float64, generator=generator, requires_grad=True)

    def f(x, angles):
        return torch.func.functional_call(mixing, {"angles": angles}, (x,))

    assert torch.autograd.gradcheck(f, (x, mixing.angles))


def test_layers_bring_ever_more_features_together(generator):
    for layers, seen in ((1, 2), (4, 16)):
        mixing = mixed(64, layers, generator)
        matrix = mixing(torch.eye(64, dtype=torch.float64))
        assert (matrix.abs() > 1e-9).sum(0).eq(seen).all()


@given(features=st.integers(2, 40), layers=st.integers(1, 6), fitted=st.booleans())
def test_each_feature_comes_once_a_layer(features, layers, fitted):
    generator = torch.Generator().manual_seed(features)
    pairs, _ = pairs_and_outputs(mixed(features, layers, generator, fitted))
    assert pairs.shape == (layers, features // 2, 2)
    for layer in pairs:
        assert len(layer.unique()) == 2 * (features // 2)


@pytest.mark.parametrize(("features", "kept"), [(48, 16), (48, 8), (30, 7)])
def test_before_fit_a_kept_feature_meets_one_that_is_not(features, kept):
    pairs, _ = pairs_and_outputs(MPSProjectionHead(features, kept, mixing=1).mixing)
    for a, b in pairs[0].tolist():
        assert not (a < kept and b < kept)


@given(features=st.integers(2, 24), layers=st.integers(1, 4), seed=st.integers(0, 99))
def test_fit_pairs_the_largest_covariance_and_makes_pairs_uncorrelated(features, layers, seed):
    generator = torch.Generator().manual_seed(seed)
    c = covariance(features, generator)
    mixing = Mixing(features, layers).double()
    variance = mixing.fit(c)
    a, b = divmod(int(c.square().fill_diagonal_(-1).argmax()), features)
    pairs, outputs = pairs_and_outputs(mixing)
    assert {a, b} in [set(pair) for pair in pairs[0].tolist()]
    matrix = explicit(mixing)
    after = matrix @ c @ matrix.T
    assert_close(after.diagonal(), variance)
    assert variance.diff().le(0).all()
    place = outputs.argsort()
    for first, second in place[pairs[-1]].tolist():
        assert after[first, second].abs() < 1e-9 * c.abs().max()


@given(features=st.integers(2, 24), seed=st.integers(0, 99))
def test_each_layer_gathers_more_variance_in_what_is_kept(features, seed):
    c = covariance(features, torch.Generator().manual_seed(seed))
    before = c.diagonal().sort(descending=True).values.cumsum(0)
    for layers in range(5):
        found = Mixing(features, layers).double().fit(c).cumsum(0)
        assert found.ge(before - 1e-9 * before[-1]).all()
        before = found
    best = torch.linalg.eigvalsh(c).flip(0).cumsum(0)
    assert before.le(best + 1e-9 * best[-1]).all()


def test_many_layers_are_a_principal_component_analysis(generator):
    x = data(12, generator)
    mixing = Mixing(12, 60).double()
    mixing.fit(torch.cov(x.T))
    pca = PCAHead(12, 12).double().fit(x)
    assert_close(mixing(x - x.mean(0)).abs(), pca(x).abs())


def test_features_of_equal_covariance_are_paired_too():
    for c in (torch.zeros(7, 7), torch.ones(7, 7), torch.eye(7)):
        mixing = Mixing(7, 3).double()
        mixing.fit(c.double())
        assert mixing.angles.isfinite().all()
        assert all(len(layer.unique()) == 6 for layer in pairs_and_outputs(mixing)[0])


def test_a_head_is_fitted_to_what_its_kept_qubits_should_hold(generator):
    """Two latent numbers, each copied to many features with noise, are what two qubits keep."""
    latent = torch.randn(500, 2, generator=generator)
    x = torch.cat([latent[:, :1].expand(-1, 4), latent[:, 1:].expand(-1, 4)], 1)
    x = x + 0.1 * torch.randn(500, 8, generator=generator)
    x = torch.cat([0.1 * torch.randn(500, 4, generator=generator), x], 1)
    head = MPSProjectionHead(12, 2, generator=generator).fit(x)
    assert head.is_fitted
    kept = head.mixing(x)[:, :2]
    correlation = torch.corrcoef(torch.cat([kept, latent], 1).T)[:2, 2:].abs()
    assert correlation.max(1).values.min() > 0.99
    assert "fitted to data" in describe(head)


@pytest.mark.parametrize("ansatz", ["staircase", "brickwork"])
def test_a_fitted_head_is_the_unfitted_one_on_rotated_features(ansatz, generator):
    x = data(8, generator).float()
    head = MPSProjectionHead(8, 3, ansatz=ansatz, generator=generator).fit(x)
    alone = MPSProjectionHead(8, 3, ansatz=ansatz, mixing=0)
    alone.load_state_dict({"angles": head.angles, "scale": head.scale})
    rotated = x @ explicit(head.mixing).float().T
    assert_close(head(x), alone(rotated), atol=1e-5, rtol=1e-5)
    variance = rotated.div(x.norm(dim=1, keepdim=True)).var(0)
    assert variance.diff().le(1e-6).all()


def test_the_same_data_give_the_same_head_which_survives_a_folder(tmp_path, generator):
    x = data(16, generator).float()
    heads = [
        MPSProjectionHead(16, 4, generator=torch.Generator().manual_seed(0)).fit(x)
        for _ in range(2)
    ]
    heads[0].save_pretrained(tmp_path)
    loaded = load_head(tmp_path)
    assert loaded.is_fitted
    assert torch.equal(loaded(x), heads[0](x))
    assert torch.equal(heads[1](x), heads[0](x))
    assert_close(freeze(heads[0])(x), heads[0](x))
    loaded.half()
    assert loaded.mixing.orders.dtype == torch.int64


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(ValueError, match="`x` must hold two rows"):
        MPSProjectionHead(8, 2).fit(torch.ones(1, 8))
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        MPSProjectionHead(8, 2).fit(torch.tensor([[0.0] * 8, [math.nan] * 8]))
    with pytest.raises(ValueError, match="8"):
        MPSProjectionHead(8, 2).fit(torch.ones(4, 7))
    assert not MPSProjectionHead(8, 2).is_fitted
