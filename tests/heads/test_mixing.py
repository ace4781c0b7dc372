import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads import Circuit
from mpsheads.heads import mixing as module
from mpsheads.heads.mixing import Mixing, butterfly
from mpsheads.heads.register import deal
from tests.strategies import dense_circuit


def mixed(features, blocks, layers, generator, grouping="registers"):
    pairs = butterfly(deal(features, blocks, grouping, "angle").blocks, layers)
    return Mixing(pairs, features, spread=1.0, generator=generator).double()


def explicit(pairs, angles, features):
    """The product of all Givens rotations, as a matrix."""
    matrix, angles = torch.eye(features, dtype=torch.float64), list(angles)
    for first, second in pairs:
        for a, b in zip(first, second, strict=True):
            angle = angles.pop(0)
            gate = torch.eye(features, dtype=torch.float64)
            gate[a, a] = gate[b, b] = math.cos(angle)
            gate[a, b], gate[b, a] = math.sin(angle), -math.sin(angle)
            matrix = gate @ matrix
    return matrix


@pytest.mark.parametrize(
    ("features", "blocks", "grouping"),
    [(8, 4, "registers"), (12, 3, "neighbours"), (11, 4, "registers"), (5, 5, [4, 2, 0, 1, 3])],
)
@pytest.mark.parametrize("concrete", [True, False])
def test_it_is_the_product_of_its_rotations(
    features, blocks, grouping, concrete, monkeypatch, generator
):
    monkeypatch.setattr(module, "is_concrete", lambda _: concrete)
    pairs = butterfly(deal(features, blocks, grouping, "angle").blocks, 3)
    mixing = Mixing(pairs, features, spread=1.0, generator=generator).double()
    x = torch.randn(4, features, dtype=torch.float64, generator=generator)
    expected = x @ explicit(pairs, mixing.angles.tolist(), features).T
    assert_close(mixing(x), expected)
    assert_close(mixing(x).norm(dim=1), x.norm(dim=1))


def test_it_is_a_circuit_of_givens_gates_on_one_particle(generator):
    """Amplitude i of the embedding stands for the particle on site i."""
    pairs = butterfly(deal(6, 3, "registers", "angle").blocks, 2)
    mixing = Mixing(pairs, 6, spread=1.0, generator=generator).double()
    couples = [couple for layer in pairs for couple in zip(*layer, strict=True)]
    circuit = Circuit.of(6, [("givens", couple) for couple in couples])
    x = torch.nn.functional.normalize(torch.randn(1, 6, generator=generator).double())
    places = [2 ** (5 - site) for site in range(6)]
    state = torch.zeros(64, dtype=torch.complex128)
    state[places] = x[0].to(torch.complex128)
    found = dense_circuit(state, circuit, mixing.angles.detach())
    assert_close(found[places].real, mixing(x)[0].detach())
    assert_close(found[places].norm(), found.norm())  # the particle is not lost


def test_gradients_agree_with_finite_differences(generator):
    mixing = mixed(11, 4, 3, generator)
    x = torch.randn(2, 11, dtype=torch.float64, generator=generator, requires_grad=True)

    def f(x, angles):
        return torch.func.functional_call(mixing, {"angles": angles}, (x,))

    assert torch.autograd.gradcheck(f, (x, mixing.angles))


def test_layers_bring_ever_more_features_together(generator):
    for layers, seen in ((1, 2), (2, 4), (3, 8)):
        mixing = mixed(64, 16, layers, generator)
        matrix = mixing(torch.eye(64, dtype=torch.float64))
        assert (matrix.abs() > 1e-9).sum(0).eq(seen).all()


def test_pairs_are_of_different_blocks_and_each_feature_comes_once():
    blocks = deal(30, 7, "registers", "angle").blocks
    block_of = {feature: number for number, block in enumerate(blocks) for feature in block}
    for first, second in butterfly(blocks, 4):
        assert len({*first, *second}) == 2 * len(first) > 0
        assert all(block_of[a] != block_of[b] for a, b in zip(first, second, strict=True))


def test_one_block_has_nothing_to_mix():
    assert butterfly(deal(4, 1, "registers", "angle").blocks, 1) == [([], [])]
    x = torch.ones(2, 4)
    assert_close(Mixing([([], [])], 4)(x), x)
