import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads import Circuit
from mpsheads.heads import mixing as module
from mpsheads.heads.mixing import Mixing, strides
from mpsheads.heads.register import deal
from tests.strategies import dense_circuit


def mixed(features, blocks, layers, generator, grouping="registers"):
    register = deal(features, blocks, grouping, "angle")
    return Mixing(register.blocks, layers, spread=1.0, generator=generator).double()


def explicit(mixing):
    """The product of all Givens rotations, as a matrix."""
    matrix = torch.eye(mixing.features, dtype=torch.float64)
    for (a, b), angle in zip(mixing.pairs, mixing.angles.tolist(), strict=True):
        gate = torch.eye(mixing.features, dtype=torch.float64)
        gate[a, a] = gate[b, b] = math.cos(angle)
        gate[a, b], gate[b, a] = math.sin(angle), -math.sin(angle)
        matrix = gate @ matrix
    return matrix


@pytest.mark.parametrize(
    ("features", "blocks", "grouping"),
    [
        (8, 4, "registers"),
        (12, 3, "neighbours"),
        (23, 8, "registers"),
        (11, 4, "registers"),
        (5, 5, [4, 2, 0, 1, 3]),
    ],
)
@pytest.mark.parametrize("layers", [1, 3, 5])
@pytest.mark.parametrize("concrete", [True, False])
def test_it_is_the_product_of_its_rotations(
    features, blocks, grouping, layers, concrete, monkeypatch, generator
):
    monkeypatch.setattr(module, "is_concrete", lambda _: concrete)
    mixing = mixed(features, blocks, layers, generator, grouping)
    x = torch.randn(4, features, dtype=torch.float64, generator=generator)
    assert_close(mixing(x), x @ explicit(mixing).T)
    assert_close(mixing(x).norm(dim=1), x.norm(dim=1))


def test_it_is_a_circuit_of_givens_gates_on_one_particle(generator):
    """Amplitude i of the embedding stands for the particle on site i."""
    mixing = mixed(6, 3, 2, generator)
    circuit = Circuit.of(6, [("givens", pair) for pair in mixing.pairs])
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
    for layers, seen in ((1, 2), (2, 4), (3, 8), (4, 16)):
        mixing = mixed(64, 16, layers, generator)
        matrix = mixing(torch.eye(64, dtype=torch.float64))
        assert (matrix.abs() > 1e-9).sum(0).eq(seen).all()


@pytest.mark.parametrize(("features", "blocks"), [(30, 7), (48, 12), (96, 32), (12, 12)])
def test_pairs_are_of_different_blocks_and_each_feature_comes_once_a_layer(
    features, blocks, generator
):
    register = deal(features, blocks, "registers", "angle")
    block_of = {f: number for number, block in enumerate(register.blocks) for f in block}
    place_of = {f: block[::-1].index(f) for block in register.blocks for f in block}
    one = mixed(features, blocks, 1, generator).pairs
    assert len({f for pair in one for f in pair}) == 2 * len(one) > 0
    for a, b in mixed(features, blocks, 4, generator).pairs:
        assert block_of[a] != block_of[b]
        assert place_of[a] == place_of[b]


def test_strides_leave_no_block_alone_where_they_can():
    assert strides(256, 3) == [128, 64, 32]
    assert strides(192, 3) == [32, 16, 8]
    assert strides(85, 3) == [64, 32, 16]
    assert strides(4, 5) == [2, 1, 2, 1, 2]
    assert mixed(384, 192, 3, None).angles.numel() == 3 * 192


def test_one_block_has_nothing_to_mix():
    mixing = Mixing([[0, 1, 2, 3]], 1)
    assert mixing.angles.numel() == 0
    x = torch.ones(2, 4)
    assert_close(mixing(x), x)
