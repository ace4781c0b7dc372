import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import MPSProjectionHead, TruncationHead, oracle
from mpsheads.encodings import qubit_amplitudes
from mpsheads.mps import bloch_vectors
from tests.strategies import dense_circuit


def random_head(*args, generator, dtype=torch.float64, **kwargs):
    head = MPSProjectionHead(*args, **kwargs).to(dtype)
    with torch.no_grad():
        head.angles.normal_(generator=generator)
        head.scale.fill_(0.7)
    return head


@given(
    blocks=st.integers(1, 3),
    registers=st.integers(1, 8),
    depth=st.integers(1, 3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_its_angles_are_the_oracles_block_by_block(blocks, registers, depth, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    head = random_head(
        blocks * registers, blocks, 2**depth, depth, generator=generator, dtype=dtype
    )
    x = torch.randn(2, blocks * registers, dtype=dtype, generator=generator)
    z = head(x)
    assert z.dtype == dtype

    scaled = 0.7 * x.double() * math.sqrt(x.shape[1]) / x.double().norm(dim=1, keepdim=True)
    theta = (torch.tanh(scaled) + 1) * math.pi / 2
    for row in range(2):
        for k in range(blocks):
            features = theta[row, k::blocks].flip(0)  # far end first, kept qubit last
            vector = oracle.product_vector(qubit_amplitudes(features))
            vector = dense_circuit(vector, head.circuit, head.angles[k].detach())
            p1 = oracle.partial_trace(vector, [registers - 1])[1, 1].real
            atol = 1e-5 if dtype == torch.float32 else 1e-12
            assert_close((z[row, k].double() / 2).sin() ** 2, p1, atol=atol, rtol=0)


@pytest.mark.parametrize("shape", [(24, 8), (24, 3), (6, 6), (8, 1)])
def test_the_heisenberg_picture_equals_the_evolved_states_gradients_included(shape, generator):
    head = random_head(*shape, generator=generator)
    x = torch.randn(3, shape[0], dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.randn(3, shape[1], dtype=torch.float64, generator=generator)
    inputs = (x, head.angles, head.scale)

    fast = head(x).cos()
    slow = bloch_vectors(head.state(x))[:, head.kept_sites, 2]
    assert_close(fast, slow)
    for a, b in zip(
        torch.autograd.grad((fast * weights).sum(), inputs),
        torch.autograd.grad((slow * weights).sum(), inputs),
        strict=True,
    ):
        assert_close(a, b)


def test_the_state_is_one_mps_of_the_whole_register_within_the_bond_dimension(generator):
    head = random_head(24, 3, generator=generator, dtype=torch.float32)
    state = head.state(torch.randn(5, 24, generator=generator))
    assert (state.batch_size, state.n_sites, state.dtype) == (5, 24, torch.complex64)
    assert state.max_bond == 4 == head.config["bond_dim"]
    assert state.bond_dims[7] == state.bond_dims[15] == 1  # blocks are not entangled
    assert list(head.kept_sites) == [7, 15, 23]


def test_every_argument_has_a_default_and_the_default_head_is_small():
    head = MPSProjectionHead(bond_dim=4)
    assert (head.in_features, head.out_features) == (768, 256)
    assert head.num_parameters == 256 * 34 + 1
    assert head.bytes_per_vector == 1024
    z = head(torch.randn(3, 768))
    assert z.shape == (3, 256)
    assert z.min() >= 0
    assert z.max() <= math.pi


def test_untrained_it_ranks_like_truncation(generator):
    head = MPSProjectionHead(384, 128, generator=generator)
    x = torch.randn(1, 384, generator=generator)
    near = x + 0.5 * torch.randn(20, 384, generator=generator) * torch.linspace(0.2, 3, 20)[:, None]
    mine = head.similarity(head(x), head(near))[0]
    plain = TruncationHead(384, 128)
    theirs = plain.similarity(plain(x), plain(near))[0]
    ranks = torch.stack([mine.argsort().argsort(), theirs.argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.95


def test_the_length_of_an_embedding_does_not_matter_and_zeros_are_taken(generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    x = torch.randn(4, 12, generator=generator)
    assert_close(head(5 * x), head(x))
    zeros = torch.zeros(1, 12, requires_grad=True)
    z = head(zeros)
    z.sum().backward()
    assert z.isfinite().all()
    assert zeros.grad.isfinite().all()


def test_similarity_is_the_log_fidelity_of_all_pairs(generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    zq, zd = (head(torch.randn(n, 12, generator=generator)) for n in (2, 3))
    expected = ((zq[:, None] - zd) / 2).cos().square().log().sum(-1)
    assert_close(head.similarity(zq, zd), expected)


def test_a_generator_makes_the_initial_parameters_repeatable():
    one, two = (
        MPSProjectionHead(12, 4, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert_close(one.angles, two.angles, atol=0, rtol=0)


def test_gradients_are_finite_at_the_identity_and_at_saturated_features():
    head = MPSProjectionHead(12, 2)
    with torch.no_grad():
        head.angles.zero_()
        head.scale.fill_(50)
    x = torch.tensor([[-1.0, 1.0] * 6], requires_grad=True)
    head(x).sum().backward()
    assert x.grad.isfinite().all()
    assert head.angles.grad.isfinite().all()


def test_gradients_agree_with_finite_differences(generator):
    head = random_head(6, 2, generator=generator)
    x = torch.randn(2, 6, dtype=torch.float64, generator=generator, requires_grad=True)

    def value(x, angles, scale):
        return torch.func.functional_call(head, {"angles": angles, "scale": scale}, (x,))

    assert torch.autograd.gradcheck(value, (x, head.angles, head.scale))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_blocks_of_three_qubits_are_exact_at_every_depth_with_bond_2(depth, generator):
    head = random_head(9, 3, 2, depth, generator=generator)
    x = torch.randn(2, 9, dtype=torch.float64, generator=generator)
    assert head.state(x).max_bond == 2
    assert_close(head(x).cos(), bloch_vectors(head.state(x))[:, head.kept_sites, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 384, "out_features": 100}, "must divide `in_features` 384, got 100"),
        (
            {"in_features": 384, "out_features": 48, "depth": 3},
            "at least 8 for blocks of 8.*depth=2",
        ),
        ({"in_features": 384, "out_features": 48, "bond_dim": 1}, "Use bond_dim=4"),
        ({"ansatz": "ladder"}, '`ansatz` must be one of "staircase"'),
        ({"readout": "bloch"}, "`readout` must be one of \"probability\", got 'bloch'"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
        ({"out_features": -4}, "`out_features` must be at least 1, got -4"),
    ],
)
def test_bad_arguments_are_named_with_the_way_out(arguments, message):
    with pytest.raises(ValueError, match=message):
        MPSProjectionHead(**arguments)


def test_bad_inputs_are_named():
    head = MPSProjectionHead(12, 4)
    with pytest.raises(ValueError, match=r"shape \(batch, 12\), got \(3, 11\)"):
        head.state(torch.zeros(3, 11))
