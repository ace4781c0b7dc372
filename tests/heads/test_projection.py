"""The MPS head against dense states, and its two pictures against each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import Circuit, MPSProjectionHead, TruncationHead, oracle
from mpsheads.ansatz import brickwork, staircase
from mpsheads.encodings import qubit_amplitudes
from mpsheads.heads import block_circuit, describe, freeze
from mpsheads.heads.circuits import Register, pays_to_evolve
from mpsheads.mps import bloch_vectors, to_dense
from mpsheads.similarity import state_log_fidelity, unpack_state
from tests.strategies import dense_circuit

CIRCUIT = Circuit(3, [("su4", (0, 2)), ("h", 1), ("ccx", (1, 0, 2)), ("zyz", 2), ("cp", (2, 1))])


def random_head(*args, generator, dtype=torch.float64, **kwargs):
    head = MPSProjectionHead(*args, **kwargs).to(dtype)
    with torch.no_grad():
        head.angles.normal_(generator=generator)
        head.scale.fill_(0.7)
        if head.mixing is not None:
            head.mixing.angles.normal_(generator=generator)
    return head


def dense_states(head, x):
    """By the formulas of the page on mathematics, from the dense vectors of the inputs."""
    x = x.double()
    x = x if head.mixing is None else head.mixing.double()(x).detach()
    scaled = 0.7 * x * math.sqrt(x.shape[1]) / x.norm(dim=1, keepdim=True)
    order = [feature for block in head.register.blocks for feature in block]
    qubits = qubit_amplitudes((torch.tanh(scaled) + 1) * math.pi / 2).to(torch.complex128)[:, order]
    starts = [oracle.product_vector(list(row)) for row in qubits]
    return [dense_circuit(start, head.circuit, head.angles.detach()) for start in starts]


def dense_z(head, x):
    """`(batch, kept)`, from dense states."""
    rows = []
    for vector in dense_states(head, x):
        rho = [oracle.partial_trace(vector, [site]) for site in head.kept_sites]
        rows.append([(r[0, 0] - r[1, 1]).real for r in rho])
    return torch.tensor(rows, dtype=torch.float64)


def test_every_nth_feature_goes_to_a_block_and_the_first_is_kept():
    register = Register(8, 3)
    assert [list(block) for block in register.blocks] == [[6, 3, 0], [7, 4, 1], [5, 2]]
    assert register.sites == [range(3), range(3, 6), range(6, 8)]
    assert register.kept == [2, 5, 7]


@pytest.mark.slow
@settings(max_examples=10)
@given(
    kept=st.integers(1, 4),
    extra=st.integers(0, 5),
    depth=st.integers(1, 3),
    ansatz=st.sampled_from(["staircase", "brickwork"]),
    mixing=st.integers(0, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_its_vectors_are_the_oracles(kept, extra, depth, ansatz, mixing, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = (kept + extra, kept, 8, depth, ansatz, "probability", mixing)
    head = random_head(*sizes, generator=generator, dtype=dtype)
    assert not head.truncates or max(head.needed_bonds) > 8
    x = torch.randn(2, kept + extra, dtype=dtype, generator=generator)
    z = head(x)
    assert z.dtype == dtype
    atol = 2e-5 if dtype == torch.float32 else 1e-10  # single precision, some ten gates
    assert_close(z.double().cos(), dense_z(head, x), atol=atol, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_a_circuit_of_the_users_is_taken_as_it_is(whole, generator):
    circuit = CIRCUIT
    if whole:
        circuit = CIRCUIT.on([0, 3, 2], 6) + Circuit(6, [("givens", (2, 4)), ("rxx", (4, 5))])
    circuit = circuit.with_parameters(torch.randn(circuit.num_parameters, generator=generator))
    head = MPSProjectionHead(6, 2, 16, ansatz=circuit, readout="probability").double()
    expected = circuit.parameters() if whole else circuit.parameters().repeat(2)
    assert_close(head.angles.float(), expected)
    with torch.no_grad():
        head.scale.fill_(0.7)
    x = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    assert_close(head(x).cos(), dense_z(head, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"in_features": 24, "out_features": 8},
        {"in_features": 24, "out_features": 3},  # a matrix product operator
        {"in_features": 6, "out_features": 6, "mixing": 0},
        {"in_features": 13, "out_features": 4, "readout": "probability"},
        {"in_features": 11, "out_features": 4, "ansatz": "brickwork", "bond_dim": 8},
        # blocks of three start at even and odd sites in turn, whose cones have other forms
        {"in_features": 24, "out_features": 8, "ansatz": "brickwork", "bond_dim": 8},
    ],
)
def test_the_heisenberg_picture_equals_the_evolved_states_gradients_included(settings, generator):
    head = random_head(**settings, generator=generator)
    shape = (3, head.in_features)
    x = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    inputs = (x, head.angles, head.scale)
    slow = bloch_vectors(head.state(x))[:, head.kept_sites][..., 2]
    fast = head(x).cos()
    if head.config["readout"] == "direction":
        slow, fast = slow / slow.norm(dim=1, keepdim=True), 1 - head(x) * 2 / math.pi
    assert_close(fast, slow)
    weights = torch.randn(fast.shape, dtype=torch.float64, generator=generator)
    fast_slopes, slow_slopes = (
        torch.autograd.grad((values * weights).sum(), inputs) for values in (fast, slow)
    )
    assert_close(fast_slopes, slow_slopes)


@pytest.mark.slow
def test_a_head_that_needs_more_truncates_and_says_what_it_lost(generator):
    settings = {"in_features": 16, "out_features": 2, "depth": 3, "readout": "probability"}
    exact = random_head(**settings, bond_dim=8, generator=generator)
    cut = random_head(**settings, bond_dim=2, generator=generator)
    cut.load_state_dict(exact.state_dict())
    assert (exact.truncates, cut.truncates) == (False, True)
    x = torch.randn(3, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    state = cut.state(x)
    assert state.max_bond == 2
    z, weight = cut(x), state.discarded_weight.sum(1)
    assert (state.discarded_weight > 1e-9).sum() > 3  # of several cuts, so not their mean
    assert (weight > 1e-4).all()
    assert 1e-6 < (z.cos() - exact(x).cos()).abs().max() < 2 * weight.max().sqrt()
    weight.mean().backward()  # it can be trained away
    assert cut.angles.grad.abs().max() > 1e-6
    with torch.no_grad():
        cut.angles.mul_(0.09)
    assert cut.state(x).discarded_weight.sum(1).max() < 1e-3


def test_observables_that_are_large_or_all_different_are_not_evolved(monkeypatch, generator):
    settings = {"in_features": 20, "out_features": 4, "readout": "probability"}
    head = random_head(**settings, generator=generator)
    x = torch.randn(3, 20, dtype=torch.float64, generator=generator)
    expected = head(x)
    monkeypatch.setattr(head, "_observables", None)
    assert_close(head(x), expected)
    chain, alone = staircase(64), tuple(range(64))
    assert pays_to_evolve(chain, [2] * 4095, alone[:5])
    assert not pays_to_evolve(chain, [64] * 20, alone[:5])
    assert not pays_to_evolve(chain, [2] * 63, alone)  # each site sees a window of its own
    assert pays_to_evolve(Circuit(64, [("ry", site) for site in alone]), [1] * 63, alone)
    assert freeze(MPSProjectionHead(16, 8, ansatz=staircase(16)))  # few are evolved all the same


@pytest.mark.parametrize(
    ("ansatz", "size", "kept"),
    [("staircase", 12, 3), ("brickwork", 32, 3), (brickwork(9, 2), 80, 4)],
)
def test_the_state_readout_is_the_kept_state_with_the_others_projected(
    ansatz, size, kept, generator
):
    head = random_head(9, size, 4, 1, ansatz, "state", generator=generator)
    assert len(head.kept_sites) == kept
    x = torch.randn(4, 9, dtype=torch.float64, generator=generator)
    z = head(x)
    assert z.shape == (4, size)
    found = to_dense(unpack_state(z, head.bond_dims))
    expected = []
    for vector in dense_states(head, x):
        legs = vector.reshape([2] * 9)
        for site in reversed(range(9)):
            if site not in head.kept_sites:
                legs = legs.select(site, 0)
        expected.append(legs.flatten() / legs.norm())
    expected = torch.stack(expected)
    overlaps = (found.conj() * expected).sum(1).abs() / found.norm(dim=1)
    assert_close(overlaps, torch.ones(4, dtype=torch.float64))
    fidelity = (expected[:2].conj() @ expected[2:].T).abs().square()
    assert_close(head.similarity(z[:2], z[2:]), fidelity.log())
    assert_close(head.similarity(z[:2], z[2:], pairwise=True), fidelity.diagonal().log())


def test_a_long_way_between_kept_sites_does_not_underflow(generator):
    head = MPSProjectionHead(384, 144, 4, 2, "brickwork", "state", generator=generator)
    x = torch.randn(3, 384, generator=generator)
    single, double = head(x), head.double()(x.double())
    assert_close(double.norm(dim=1), torch.full((3,), math.sqrt(5)).double())
    fidelity = state_log_fidelity(single.double(), double, head.bond_dims, pairwise=True)
    assert_close(fidelity, torch.zeros(3).double(), atol=1e-4, rtol=0)


def test_the_state_readout_has_the_bonds_that_its_sites_need():
    assert MPSProjectionHead(16, 336, 8, 3, "brickwork", "state").bond_dims == (2, 4, 8, 4, 2)
    assert MPSProjectionHead(16, 144, 8, 3, "brickwork", "state").bond_dims == (2, 4, 4, 2)


def jacobian_rank(head, samples, generator):
    """Of the outputs by all parameters together."""
    x = torch.randn(samples, head.in_features, dtype=torch.float64, generator=generator)
    names = [name for name, _ in head.named_parameters()]

    def outputs(*values):
        found = torch.func.functional_call(head, dict(zip(names, values, strict=True)), (x,))
        return (found.cos() if head.config["readout"] == "probability" else found).flatten()

    parts = torch.autograd.functional.jacobian(outputs, tuple(head.parameters()))
    jacobian = torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts], 1)
    return int(torch.linalg.matrix_rank(jacobian, rtol=1e-11))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ansatz", "qubits", "kept", "depth", "readout", "mixing"),
    [
        ("staircase", 4, 1, 2, "probability", 0),
        ("staircase", 3, 1, 3, "probability", 0),
        ("brickwork", 4, 2, 2, "probability", 0),
        ("staircase", 6, 2, 2, "direction", 0),
        ("staircase", 12, 4, 1, "probability", 2),
    ],
)
def test_every_parameter_counts(ansatz, qubits, kept, depth, readout, mixing, generator):
    """The angles of mixing, of the circuit and the scale, all together."""
    sizes = (qubits, kept, 64, depth, ansatz, readout, mixing)
    head = random_head(*sizes, generator=generator)
    samples = 2 * head.num_parameters // kept + 40
    assert jacobian_rank(head, samples, generator) == head.num_parameters


@pytest.mark.slow
def test_blocks_reach_what_the_circuit_with_all_parameters_reaches(generator):
    """Both have as many dimensions: the rank of the Jacobian of the full staircase."""
    from mpsheads.ansatz import staircase

    full, head = (
        random_head(3, 1, 8, 2, ansatz, "probability", 0, generator=generator)
        for ansatz in (staircase(3, 2), "staircase")
    )
    assert jacobian_rank(full, 80, generator) == head.num_parameters < full.num_parameters


@pytest.mark.slow
def test_the_default_heads_have_the_sizes_of_the_page():
    assert MPSProjectionHead(768, 256, depth=2).num_parameters == 256 * 20 + 1 + 2 * 256 == 5_633
    assert MPSProjectionHead(768, 256, mixing=0).num_parameters == 256 * 8 + 1 == 2_049
    head = MPSProjectionHead(bond_dim=4)
    assert head.num_parameters == 256 * 8 + 1 + 2 * 256 == 2_561
    assert (head.in_features, head.out_features, head.bytes_per_vector) == (768, 256, 1024)
    z = head(torch.randn(3, 768))
    assert z.shape == (3, 256)
    assert z.min() >= 0
    assert z.max() <= math.pi


def test_the_state_is_one_mps_of_the_whole_register_within_the_bond_dimension(generator):
    head = random_head(24, 3, depth=2, generator=generator, dtype=torch.float32)
    state = head.state(torch.randn(5, 24, generator=generator))
    assert (state.batch_size, state.n_sites, state.dtype) == (5, 24, torch.complex64)
    assert state.max_bond == 4 == head.config["bond_dim"]
    assert state.bond_dims[7] == state.bond_dims[15] == 1  # blocks are not entangled
    assert head.kept_sites == [7, 15, 23]
    assert head.needed_bonds == list(state.bond_dims)


@pytest.mark.slow
def test_untrained_it_ranks_like_truncation(generator):
    head = MPSProjectionHead(384, 128, generator=generator)
    x = torch.randn(1, 384, generator=generator)
    near = x + 0.5 * torch.randn(20, 384, generator=generator) * torch.linspace(0.2, 3, 20)[:, None]
    plain = TruncationHead(384, 128)
    mine, theirs = (h.similarity(h(x), h(near))[0] for h in (head, plain))
    ranks = torch.stack([mine.argsort().argsort(), theirs.argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.95


def test_the_length_of_an_embedding_does_not_matter(generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    x = torch.randn(4, 12, generator=generator)
    assert_close(head(5 * x), head(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_less_precise_inputs_are_computed_in_single_precision(dtype, generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    x = torch.randn(5, 12, generator=generator).to(dtype)
    assert_close(head(x), head(x.float()), atol=0, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = head(x)
        assert_close(head.similarity(z, z), head.similarity(head(x.float()), z))
    assert_close(z, head(x.float()), atol=0, rtol=0)
    low = MPSProjectionHead(12, 4).to(dtype)
    low.load_state_dict(head.state_dict())
    z = low(x)
    assert z.dtype == dtype
    rounded = MPSProjectionHead(12, 4)
    rounded.load_state_dict(low.state_dict())
    assert_close(z, rounded(x.float()).to(dtype), atol=0, rtol=0)
    z.sum().backward()
    assert low.angles.grad.dtype == dtype


@pytest.mark.parametrize("mixing", [0, 2])
def test_fit_sets_a_scale_at_which_what_is_kept_hardly_saturates(mixing, generator):
    x = torch.randn(2000, 12, generator=generator) * torch.linspace(0.2, 4, 12)
    head = MPSProjectionHead(12, 4, mixing=mixing).fit(x)
    rotated = x if head.mixing is None else head.mixing(x)
    rotated = rotated / x.norm(dim=1, keepdim=True) * math.sqrt(12)
    largest = rotated[:, :4].std(0).max().item()
    assert (largest > 1) is (mixing > 0)
    expected = torch.full((), 0.35 / max(1.0, largest))
    assert_close(head.scale.detach(), expected, atol=1e-3, rtol=0)  # n or n - 1 of 2,000


@pytest.mark.parametrize(
    ("readout", "out", "logit_scale"),
    [("probability", 4, 1), ("direction", 4, 20), ("state", 16, 1)],
)
def test_vectors_and_their_codes_are_compared_alike(readout, out, logit_scale, generator):
    head = MPSProjectionHead(12, out, readout=readout, generator=generator)
    assert head.logit_scale == logit_scale
    z = head(torch.randn(6, 12, generator=generator))
    codes = head.quantize(z, 8)
    assert codes.bytes_per_vector == out
    exact = head.similarity(z[:2], z[2:])
    if readout != "state":
        assert_close(exact, ((z[:2, None] - z[2:]) / 2).cos().square().log().sum(-1))
    assert_close(head.similarity(z[:2], z[2:4], pairwise=True), exact[:, :2].diagonal())
    for zq in (z[:2], codes[:2]):
        found = head.similarity(zq, codes[2:])
        assert_close(found, exact, atol=0.05, rtol=0)  # 256 steps a number
        assert not torch.equal(found, exact)
        assert_close(head.similarity(zq, codes[2:4], pairwise=True), found[:, :2].diagonal())
    with pytest.raises(ValueError, match="number of features must agree"):
        MPSProjectionHead(24, 2 * out, readout=readout).similarity(codes, codes)


def test_gradients_are_finite_at_the_identity_at_saturated_features_and_at_zeros():
    head = MPSProjectionHead(12, 2)
    with torch.no_grad():
        head.angles.zero_()
        head.scale.fill_(50)
    x = torch.tensor([[-1.0, 1.0] * 6, [0.0] * 12, [1.0] * 12], requires_grad=True)
    z = head(x)
    z.sum().backward()
    for values in (z, x.grad, head.angles.grad, head.scale.grad):
        assert values.isfinite().all()


@pytest.mark.slow
def test_gradients_agree_with_finite_differences(generator):
    head = random_head(7, 2, generator=generator)
    x = torch.randn(2, 7, dtype=torch.float64, generator=generator, requires_grad=True)

    def value(x, angles, scale):
        return torch.func.functional_call(head, {"angles": angles, "scale": scale}, (x,))

    assert torch.autograd.gradcheck(value, (x, head.angles, head.scale))
    assert torch.autograd.gradcheck(lambda *own: value(x.detach(), *own), (head.angles, head.scale))


@pytest.mark.parametrize("readout", ["probability", "direction", "amplitude", "state"])
def test_an_ensemble_is_one_batch_of_weights_with_torch_func(readout, generator):
    heads = [MPSProjectionHead(12, 4, readout=readout, generator=generator) for _ in range(2)]
    x = torch.randn(3, 12, generator=generator)

    def one(weights, buffers):
        return torch.func.functional_call(heads[0], (weights, buffers), (x,))

    stacked = torch.func.stack_module_state(heads)  # pyright: ignore
    assert_close(torch.func.vmap(one)(*stacked), torch.stack([head(x) for head in heads]))


def test_it_is_described(generator):
    head = MPSProjectionHead(768, 256, depth=2, generator=generator)
    text = describe(head)
    for part in (
        "768 -> 256",
        "staircase, depth 2",
        "exact: needs 2 of the 4 allowed",
        "depends on 3 qubits",
        "not fitted to data",
        "5,633 (a linear layer of the same size: 196,864, 34.9 times as many)",
        "1,024 a vector in float32; in codes 256 at 8, 128 at 4, 64 at 2, 32 at 1 bits",
        block_circuit(head).draw(),
    ):
        assert part in text
    text = describe(MPSProjectionHead(64, 4, 2, 3, "brickwork"))
    assert "needs 8, truncated to 2" in text
    assert "all 64 qubits at once" in text
    assert "in codes 8 at 8, 4 at 4 bits" in describe(MPSProjectionHead(8, 8, readout="state"))
    assert len(block_circuit(MPSProjectionHead(12, 4, depth=2))) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_features": 769}, "needs 769 kept qubits, but `in_features` is 768"),
        ({"readout": "state", "out_features": 255}, r"nearest sizes .* are 252 \(63\) and 256"),
        ({"ansatz": "ladder"}, '`ansatz` must be one of "staircase"'),
        ({"ansatz": CIRCUIT, "out_features": 100}, "circuit on the 7 or 8 qubits of a block"),
        ({"readout": "bloch"}, "`readout` must be one of \"probability\".*got 'bloch'"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
        ({"mixing": -1}, "`mixing` must be at least 0, got -1"),
        ({"out_features": -4}, "`out_features` must be at least 1, got -4"),
    ],
)
def test_bad_arguments_are_named_with_the_way_out(arguments, message):
    with pytest.raises(ValueError, match=message):
        MPSProjectionHead(**arguments)
    with pytest.raises(TypeError, match="`mixing` must be an integer, got True"):
        MPSProjectionHead(12, 4, mixing=True)
    with pytest.raises(ValueError, match=r"shape \(batch, 12\), got \(3, 11\)"):
        MPSProjectionHead(12, 4).state(torch.zeros(3, 11))
