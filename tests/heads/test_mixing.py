import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads.heads import PCAHead, describe, freeze, load_head
from mpsheads.heads import mixing as module
from mpsheads.heads.mixing import Mixing, Rotation, scrambler
from mpsheads.mps import Truncation, apply_circuit, one_particle_state, to_dense


def mixed(features, layers, generator, fitted=False, kept=None):
    """Random angles; fitted ones are those of random data."""
    kept = features // 2 if kept is None else kept
    mixing = Mixing(features, max(1, kept), layers, spread=1.0, generator=generator).double()
    if fitted:
        mixing.fit(covariance(features, generator))
    return mixing


def data(features, generator, samples=200):
    """Correlated features of different variances."""
    spread = torch.randn(features, features, generator=generator).double()
    return torch.randn(samples, features, generator=generator).double() @ spread


def covariance(features, generator):
    return torch.cov(data(features, generator).T).view(features, features)


def explicit(mixing):
    """The product of all Givens gates of the circuit and of the order at the end, as a matrix."""
    circuit, outputs = mixing.circuit()
    matrix = torch.eye(circuit.num_sites, dtype=torch.float64)
    for operation, angle in zip(circuit, mixing.angles.flatten().tolist(), strict=True):
        (a, b), gate = operation.sites, torch.eye(circuit.num_sites, dtype=torch.float64)
        gate[a, a] = gate[b, b] = math.cos(angle)
        gate[a, b], gate[b, a] = math.sin(angle), -math.sin(angle)
        matrix = gate @ matrix
    return matrix[outputs]


def pairs_of(mixing):
    """`(layers, pairs, 2)`: the features that each angle rotates."""
    circuit, _ = mixing.circuit()
    sites = torch.tensor([operation.sites for operation in circuit], dtype=torch.long)
    return sites.view(*mixing.angles.shape, 2)


@pytest.mark.parametrize(("features", "layers"), [(1, 1), (2, 3), (8, 1), (11, 5), (23, 3)])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("concrete", [True, False])
def test_it_is_the_product_of_its_rotations(
    features, layers, fitted, concrete, monkeypatch, generator
):
    monkeypatch.setattr(module, "is_traced", lambda _: not concrete)
    mixing = mixed(features, layers, generator, fitted)
    x = torch.randn(4, features, dtype=torch.float64, generator=generator)
    assert_close(mixing(x), x @ explicit(mixing).T)
    assert_close(mixing(x).norm(dim=1), x.norm(dim=1))


@pytest.mark.slow
@given(
    features=st.integers(2, 9),
    layers=st.integers(1, 6),
    fitted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_one_particle_stays_a_product_of_bonds_of_two_at_any_depth(features, layers, fitted, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = 1 + seed % features
    mixing = mixed(features, layers, generator, fitted, kept)
    x = torch.randn(3, features, generator=generator).double()
    circuit, outputs = mixing.circuit()
    start = one_particle_state(x.to(torch.complex128))
    assert max(start.bond_dims, default=1) <= 2
    state = apply_circuit(start, circuit, truncation=Truncation(max_bond=2))
    assert state.discarded_weight.abs().max() < 1e-12
    places = [2 ** (features - 1 - site) for site in outputs]
    amplitudes = to_dense(state).flatten(1)
    assert_close(amplitudes[:, places], mixing(x).to(torch.complex128))
    assert_close(amplitudes.norm(dim=1), x.norm(dim=1))  # the particle is not lost


def test_gradients_pass_through_the_particle_as_through_the_matrix(generator):
    mixing = mixed(6, 3, generator)
    x, y = torch.randn(2, 2, 6, generator=generator).double()
    (expected,) = torch.autograd.grad((mixing(x) * y).sum(), mixing.angles)
    circuit, outputs = mixing.circuit()
    angles = mixing.angles.detach().flatten().requires_grad_()
    state = apply_circuit(one_particle_state(x.to(torch.complex128)), circuit, angles)
    amplitudes = to_dense(state).flatten(1)[:, [2 ** (5 - site) for site in outputs]]
    (found,) = torch.autograd.grad((amplitudes.real * y).sum(), angles)
    assert_close(found.view_as(expected), expected)


@pytest.mark.slow
@pytest.mark.parametrize("features", [10, 11])
@pytest.mark.parametrize("concrete", [True, False])
def test_gradients_agree_with_finite_differences(features, concrete, monkeypatch, generator):
    monkeypatch.setattr(module, "is_traced", lambda _: not concrete)
    mixing = mixed(features, 3, generator, fitted=True)
    x = torch.randn(2, features, dtype=torch.float64, generator=generator, requires_grad=True)

    def f(x, angles):
        return torch.func.functional_call(mixing, {"angles": angles}, (x,))

    assert torch.autograd.gradcheck(f, (x, mixing.angles))


@given(features=st.integers(2, 40), layers=st.integers(1, 6), fitted=st.booleans())
def test_each_layer_pairs_kept_with_dropped_features(features, layers, fitted):
    generator = torch.Generator().manual_seed(features)
    kept = 1 + features // 3
    mixing = mixed(features, layers, generator, fitted, kept)
    pairs = pairs_of(mixing)
    assert pairs.shape == (layers, min(kept, features - kept), 2)
    sides = [set(side.flatten().tolist()) for side in pairs.unbind(-1)]
    assert not sides[0] & sides[1]
    for layer in pairs:
        assert len(layer.unique()) == layer.numel()


@given(features=st.integers(2, 24), layers=st.integers(1, 4), seed=st.integers(0, 99))
def test_fit_takes_the_pair_of_largest_gain_and_turns_pairs_to_their_axes(features, layers, seed):
    generator = torch.Generator().manual_seed(seed)
    c, kept = covariance(features, generator), 1 + features // 3
    mixing = Mixing(features, kept, layers).double()
    held = mixing.fit(c)
    gains = {}
    order = c.diagonal().argsort(descending=True).tolist()
    for a in order[:kept]:
        for b in order[kept:]:
            block = c[[a, b]][:, [a, b]]
            gains[a, b] = float(torch.linalg.eigvalsh(block)[1] - c[a, a])
    assert max(gains, key=gains.__getitem__) in [tuple(p) for p in pairs_of(mixing)[0].tolist()]
    matrix = explicit(mixing)
    after = matrix @ c @ matrix.T
    assert_close(after.diagonal(), held)
    assert held.diff().le(0).all()
    place = torch.tensor(mixing.circuit()[1]).argsort()
    for first, second in place[pairs_of(mixing)[-1]].tolist():
        assert after[first, second].abs() < 1e-9 * c.abs().max()


@pytest.mark.slow
@given(features=st.integers(3, 24), seed=st.integers(0, 99))
def test_each_layer_gathers_more_in_what_is_kept(features, seed):
    c, kept = covariance(features, torch.Generator().manual_seed(seed)), 1 + features // 3
    before = c.diagonal().sort(descending=True).values[:kept].sum()
    best = torch.linalg.eigvalsh(c)[-kept:].sum()
    for layers in range(1, 5):
        held = Mixing(features, kept, layers).double().fit(c)[:kept].sum()
        assert before - 1e-9 * best <= held <= best + 1e-9 * best
        before = held


def test_many_layers_or_a_full_rotation_are_a_principal_component_analysis(generator):
    x = data(12, generator)
    pca = PCAHead(12, 4).double().fit(x)
    centred = x - x.mean(0)
    for mixing in (Mixing(12, 4, 80), Rotation(12, 4)):
        mixing = mixing.double()
        mixing.fit(torch.cov(x.T))
        z = mixing(centred)[:, :4]
        assert_close(z @ z.T, pca(x) @ pca(x).T, atol=1e-3, rtol=1e-3)


def test_features_of_equal_covariance_are_paired_too():
    for c in (torch.zeros(7, 7), torch.ones(7, 7), torch.eye(7)):
        mixing = Mixing(7, 3, 3).double()
        mixing.fit(c.double())
        assert mixing.angles.isfinite().all()
        assert all(len(layer.unique()) == 6 for layer in pairs_of(mixing))


def test_a_large_batch_meets_the_matrix(generator):
    mixing = mixed(9, 6, generator)
    x = torch.randn(20, 9, generator=generator).double()
    assert_close(mixing(x), torch.cat([mixing(row[None]) for row in x]))
    assert_close(mixing.matrix(4), mixing.matrix()[:4])


def test_a_rotation_stays_orthogonal_whatever_its_weights(generator):
    rotation = Rotation(10, 4, generator=generator).double()
    with torch.no_grad():
        rotation.weight += 0.3 * torch.randn(4, 10, generator=generator).double()
    matrix = rotation.matrix()
    assert_close(matrix @ matrix.T, torch.eye(4).double())
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(rotation, {"weight": w}, (torch.eye(10).double(),)),
        rotation.weight,
    )


@pytest.mark.parametrize("width", [3, 48, 250, 256])
def test_a_scrambler_spreads_each_feature_over_all(width):
    """As a random rotation does: entries of one size with random signs."""
    matrix = scrambler(width, 1).matrix()
    assert_close(matrix @ matrix.T, torch.eye(width), atol=1e-5, rtol=0)
    assert torch.equal(matrix, scrambler(width, 1).matrix())
    if width >= 48:
        share = width * matrix.square()  # chi-squared of one degree in a random rotation
        assert share.std() < 1.6
        assert share.max() < 4 * math.log(width**2)
        spread = (matrix.square() @ torch.linspace(3, 0.1, width)).sqrt()
        assert spread.std() / spread.mean() < 0.1


def test_loading_weights_keeps_the_parameters_that_an_optimiser_holds():
    """Also where half of the features are kept, as in heads of version 0.1."""
    head = MPSProjectionHead(8, 4).double()
    before = dict(head.named_parameters())
    head.load_state_dict(MPSProjectionHead(8, 4).state_dict())
    assert all(before[name] is parameter for name, parameter in head.named_parameters())
    assert head.mixing.angles.dtype == torch.float64


def test_a_head_is_fitted_to_what_its_kept_qubits_should_hold(generator):
    """Two latent numbers, each copied to many features with noise, are what two qubits keep."""
    latent = torch.randn(500, 2, generator=generator)
    x = torch.cat([latent[:, :1].expand(-1, 4), latent[:, 1:].expand(-1, 4)], 1)
    x = x + 0.1 * torch.randn(500, 8, generator=generator)
    x = torch.cat([0.1 * torch.randn(500, 4, generator=generator), x], 1)
    head = MPSProjectionHead(12, 2, mixing=4, generator=generator).fit(x)
    assert head.is_fitted
    kept = head.mixing(x)[:, :2]
    correlation = torch.corrcoef(torch.cat([kept, latent], 1).T)[:2, 2:].abs()
    assert correlation.max(1).values.min() > 0.95
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
    assert MPSProjectionHead(8, 2, mixing="full").is_fitted  # there is nothing to choose
