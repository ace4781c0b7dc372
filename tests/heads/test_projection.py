import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import Circuit, MPSProjectionHead, TruncationHead, oracle
from mpsheads.mps import bloch_vectors, to_dense
from mpsheads.similarity import unpack_state
from tests.strategies import dense_circuit

CIRCUIT = Circuit.of(3, [("su4", (0, 2)), ("h", 1), ("ccx", (1, 0, 2)), ("zyz", 2), ("cp", (2, 1))])


def random_head(*args, generator, dtype=torch.float64, **kwargs):
    head = MPSProjectionHead(*args, **kwargs).to(dtype)
    with torch.no_grad():
        head.angles.normal_(generator=generator)
        if head.scale is not None:
            head.scale.fill_(0.7)
        if head.mixing is not None:
            head.mixing.angles.normal_(generator=generator)
    return head


def encoded(head, row):
    """The input vector of one embedding, by the formulas of the page on mathematics."""
    x = row.double()
    if head.mixing is not None:
        x = head.mixing.double()(x[None])[0].detach()
    scaled = 0.7 * x * math.sqrt(len(x)) / x.norm()
    pi = torch.tensor(math.pi, dtype=torch.float64)
    theta, phi = (torch.tanh(scaled) + 1) * pi / 2, (torch.tanh(scaled) + 1) * pi
    parts = []
    for block, sites in zip(head.register.blocks, head.register.sites, strict=True):
        features = list(block)
        if head.config["encoding"] == "amplitude":
            vector = torch.zeros(2 ** len(sites), dtype=torch.complex128)
            vector[: len(features)] = x[features].to(torch.complex128)
            parts.append(vector / vector.norm())
            continue
        if head.config["encoding"] == "angle":
            pairs = [(theta[f], pi) for f in features]
        else:
            alone = [(None, features.pop(0))] if len(features) % 2 else []
            couples = [*alone, *zip(features[::2], features[1::2], strict=True)]
            pairs = [(theta[b], pi if a is None else phi[a]) for a, b in couples]
        parts += [
            torch.stack([(t / 2).cos().to(torch.complex128), torch.polar((t / 2).sin(), p)])
            for t, p in pairs
        ]
    return oracle.product_vector(parts) if all(len(p) == 2 for p in parts) else _kron(parts)


def _kron(parts):
    vector = parts[0]
    for part in parts[1:]:
        vector = torch.kron(vector, part)
    return vector


def dense_states(head, x):
    return [dense_circuit(encoded(head, row), head.circuit, head.angles.detach()) for row in x]


def dense_bloch(head, x):
    """`(batch, kept, 3)`, from dense states."""
    rows = []
    for vector in dense_states(head, x):
        rho = [oracle.partial_trace(vector, [site]) for site in head.kept_sites]
        rows.append([[2 * r[1, 0].real, 2 * r[1, 0].imag, (r[0, 0] - r[1, 1]).real] for r in rho])
    return torch.tensor(rows, dtype=torch.float64)


@given(
    kept=st.integers(1, 4),
    extra=st.integers(0, 5),
    depth=st.integers(1, 3),
    ansatz=st.sampled_from(["staircase", "brickwork"]),
    readout=st.sampled_from(["probability", "bloch"]),
    encoding=st.sampled_from(["angle", "dense_angle", "amplitude"]),
    grouping=st.sampled_from(["registers", "neighbours", "order"]),
    scale=st.sampled_from(["shared", "feature"]),
    mixing=st.integers(0, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_its_vectors_are_the_oracles(
    kept, extra, depth, ansatz, readout, encoding, grouping, scale, mixing, dtype, seed
):
    generator = torch.Generator().manual_seed(seed)
    features = kept + extra
    if grouping == "order":
        grouping = torch.randperm(features, generator=generator).tolist()
    head = random_head(
        features,
        kept * (3 if readout == "bloch" else 1),
        8,
        depth,
        ansatz,
        readout,
        encoding,
        grouping,
        scale,
        mixing,
        generator=generator,
        dtype=dtype,
    )
    assert not head.truncates or max(head.needed_bonds) > 8
    x = torch.randn(2, features, dtype=dtype, generator=generator)
    z = head(x)
    assert z.dtype == dtype
    bloch = dense_bloch(head, x)
    atol = 2e-5 if dtype == torch.float32 else 1e-10  # single precision, some ten gates
    if readout == "bloch":
        assert_close(z.double(), bloch.flatten(1), atol=atol, rtol=0)
    else:
        assert_close(z.double().cos(), bloch[..., 2], atol=atol, rtol=0)


@pytest.mark.parametrize("encoding", ["angle", "dense_angle", "amplitude"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_circuit_of_the_users_is_taken_as_it_is(encoding, whole, generator):
    features = {"angle": 3, "dense_angle": 6, "amplitude": 8}[encoding]
    circuit = CIRCUIT
    if whole:
        circuit = CIRCUIT.on([0, 3, 2], 6) + Circuit.of(6, [("givens", (2, 4)), ("rxx", (4, 5))])
    circuit = circuit.with_parameters(torch.randn(circuit.num_parameters, generator=generator))
    head = MPSProjectionHead(
        2 * features, 2, 16, ansatz=circuit, encoding=encoding, readout="probability"
    ).double()
    expected = circuit.parameters() if whole else circuit.parameters().repeat(2)
    assert_close(head.angles.float(), expected)
    with torch.no_grad():
        if head.scale is not None:
            head.scale.fill_(0.7)
    x = torch.randn(3, 2 * features, dtype=torch.float64, generator=generator)
    assert_close(head(x).cos(), dense_bloch(head, x)[..., 2])


@pytest.mark.parametrize(
    "settings",
    [
        {"in_features": 24, "out_features": 8},
        {"in_features": 24, "out_features": 3},  # a matrix product operator
        {"in_features": 6, "out_features": 6},
        {"in_features": 13, "out_features": 4, "mixing": 2},
        {"in_features": 13, "out_features": 4, "mixing": 2, "readout": "direction"},
        {"in_features": 12, "out_features": 4, "mixing": 1, "encoding": "amplitude", "depth": 1},
        {"in_features": 8, "out_features": 1, "depth": 1},
        {"in_features": 11, "out_features": 4, "ansatz": "brickwork", "bond_dim": 8},
        {"in_features": 11, "out_features": 9, "readout": "bloch", "encoding": "dense_angle"},
        {"in_features": 9, "out_features": 3, "encoding": "amplitude", "depth": 1},
        {"in_features": 9, "out_features": 3, "scale": "feature", "grouping": "neighbours"},
    ],
)
def test_the_heisenberg_picture_equals_the_evolved_states_gradients_included(settings, generator):
    head = random_head(**settings, generator=generator)
    x = torch.randn(
        3, head.in_features, dtype=torch.float64, generator=generator, requires_grad=True
    )
    inputs = (x, head.angles, *([head.scale] if head.scale is not None else []))

    bloch = bloch_vectors(head.state(x))[:, head.kept_sites]
    slow = bloch.flatten(1) if head.readout.name == "bloch" else bloch[..., 2]
    fast = head(x) if head.readout.name == "bloch" else head(x).cos()
    if head.readout.name == "direction":
        slow, fast = slow / slow.norm(dim=1, keepdim=True), 1 - head(x) * 2 / math.pi
    assert_close(fast, slow)
    weights = torch.randn(fast.shape, dtype=torch.float64, generator=generator)
    for a, b in zip(
        torch.autograd.grad((fast * weights).sum(), inputs),
        torch.autograd.grad((slow * weights).sum(), inputs),
        strict=True,
    ):
        assert_close(a, b)


def test_a_head_that_needs_more_truncates_and_says_what_it_lost(generator):
    settings = {"in_features": 16, "out_features": 2, "depth": 3}
    exact = random_head(**settings, bond_dim=8, generator=generator)
    cut = random_head(**settings, bond_dim=2, generator=generator)
    cut.load_state_dict(exact.state_dict())
    assert (exact.truncates, cut.truncates) == (False, True)
    x = torch.randn(3, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    assert_close(exact.project(x).discarded_weight, torch.zeros(3, dtype=torch.float64))
    z, weight = cut.project(x)
    assert cut.state(x).max_bond == 2
    assert (weight > 1e-4).all()
    error = (z.cos() - exact(x).cos()).abs().max()
    assert 1e-6 < error < 2 * weight.max().sqrt()
    weight.mean().backward()  # it can be trained away
    assert cut.angles.grad.abs().max() > 1e-6
    with torch.no_grad():
        for _ in range(2):
            cut.angles.mul_(0.3)
    assert cut.project(x).discarded_weight.max() < 1e-3


@pytest.mark.parametrize("ansatz", ["staircase", "brickwork"])
@pytest.mark.parametrize("encoding", ["angle", "dense_angle"])
def test_the_state_readout_is_the_kept_state_with_the_others_projected(ansatz, encoding, generator):
    size = {"staircase": 12, "brickwork": 32}[ansatz]
    head = random_head(9, size, 2, 1, ansatz, "state", encoding, generator=generator)
    assert len(head.kept_sites) == 3
    x = torch.randn(4, 9, dtype=torch.float64, generator=generator)
    z = head(x)
    assert z.shape == (4, size)
    found = to_dense(unpack_state(z, head.bond_dims))
    expected = []
    for vector in dense_states(head, x):
        legs = vector.reshape([2] * head.register.num_sites)
        for site in reversed(range(head.register.num_sites)):
            if site not in head.kept_sites:
                legs = legs.select(site, 0)
        expected.append(legs.flatten() / legs.norm())
    expected = torch.stack(expected)
    overlaps = (found.conj() * expected).sum(1).abs() / found.norm(dim=1)
    assert_close(overlaps, torch.ones(4, dtype=torch.float64))
    fidelity = (expected[:2].conj() @ expected[2:].T).abs().square()
    assert_close(head.similarity(z[:2], z[2:]), fidelity.log())
    assert_close(head.similarity(z[:2], z[2:], pairwise=True), fidelity.diagonal().log())


def jacobian_rank(head, samples, generator):
    x = torch.randn(samples, head.in_features, dtype=torch.float64, generator=generator)

    def outputs(angles):
        found = torch.func.functional_call(head, {"angles": angles}, (x,))
        return (found.cos() if head.readout.name == "probability" else found).flatten()

    jacobian = torch.autograd.functional.jacobian(outputs, head.angles)
    return int(torch.linalg.matrix_rank(jacobian, rtol=1e-11))


def test_a_direction_sees_every_parameter_that_probabilities_do(generator):
    for ansatz in ("staircase", "brickwork"):
        head = random_head(12, 4, 64, 2, ansatz, "direction", generator=generator)
        assert jacobian_rank(head, 200, generator) == head.angles.numel()


@pytest.mark.parametrize("readout", ["probability", "bloch"])
@pytest.mark.parametrize("encoding", ["angle", "dense_angle", "amplitude"])
@pytest.mark.parametrize(
    ("ansatz", "qubits", "kept", "depth"),
    [
        *(("staircase", qubits, 1, depth) for qubits in (1, 2, 3, 4) for depth in (1, 2)),
        ("staircase", 6, 2, 1),
        ("staircase", 3, 1, 3),
        ("staircase", 4, 1, 3),
        ("brickwork", 6, 2, 1),
        ("brickwork", 6, 2, 2),
    ],
)
def test_every_parameter_counts(ansatz, qubits, kept, depth, readout, encoding, generator):
    width = {"angle": 1, "dense_angle": 2, "amplitude": 0}[encoding]
    features = qubits * width or kept * 2 ** (qubits // kept)
    if encoding != "angle" and ansatz == "brickwork":
        return  # the rules are those of the staircase, which is tried with all encodings
    out = kept * (3 if readout == "bloch" else 1)
    head = random_head(features, out, 64, depth, ansatz, readout, encoding, generator=generator)
    if not head.angles.numel():
        assert (qubits, readout) == (1, "bloch")  # rotations of one qubit, which no fidelity sees
        return
    samples = 2 * head.angles.numel() + 40
    assert jacobian_rank(head, samples, generator) == head.angles.numel()


@pytest.mark.parametrize("scale", ["shared", "feature"])
def test_every_parameter_of_mixing_counts_too(scale, generator):
    """The angles of mixing, of the circuit and the scale, all together, in 64-bit precision."""
    head = random_head(
        12, 4, 4, 1, readout="probability", scale=scale, mixing=2, generator=generator
    )
    x = torch.randn(60, 12, dtype=torch.float64, generator=generator)
    names = [name for name, _ in head.named_parameters()]

    def outputs(*values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(head, given, (x,)).cos().flatten()

    parts = torch.autograd.functional.jacobian(outputs, tuple(head.parameters()))
    jacobian = torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts], 1)
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-11)) == head.num_parameters


def test_mixing_must_be_a_number_of_layers():
    for wrong in (-1, True):
        with pytest.raises(ValueError, match="`mixing` must be a number of layers"):
            MPSProjectionHead(12, 4, mixing=wrong)


def test_the_default_heads_have_the_parameters_of_the_page():
    assert MPSProjectionHead(768, 256).num_parameters == 256 * 8 + 1 + 2 * 384 == 2_817
    assert MPSProjectionHead(768, 256, depth=2).num_parameters == 256 * 20 + 1 + 2 * 384 == 5_889
    assert MPSProjectionHead(768, 256, mixing=0).num_parameters == 256 * 8 + 1 == 2_049


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_blocks_reach_what_the_circuit_with_all_parameters_reaches(depth, generator):
    """Both have as many dimensions: the rank of the Jacobian of the full staircase."""
    from mpsheads.ansatz import staircase

    full = random_head(
        3, 1, 8, ansatz=staircase(3, depth), readout="probability", generator=generator
    )
    head = random_head(3, 1, 8, depth, readout="probability", generator=generator)
    assert jacobian_rank(full, 80, generator) == head.angles.numel() < full.angles.numel()


def test_the_state_is_one_mps_of_the_whole_register_within_the_bond_dimension(generator):
    head = random_head(24, 3, depth=2, generator=generator, dtype=torch.float32)
    state = head.state(torch.randn(5, 24, generator=generator))
    assert (state.batch_size, state.n_sites, state.dtype) == (5, 24, torch.complex64)
    assert state.max_bond == 4 == head.config["bond_dim"]
    assert state.bond_dims[7] == state.bond_dims[15] == 1  # blocks are not entangled
    assert head.kept_sites == [7, 15, 23]
    assert head.needed_bonds == list(state.bond_dims)


@pytest.mark.parametrize("ansatz", ["staircase", "brickwork"])
def test_entangled_inputs_need_bonds_too(ansatz, generator):
    head = random_head(48, 3, 64, 1, ansatz, encoding="amplitude", generator=generator)
    state = head.state(torch.randn(2, 48, dtype=torch.float64, generator=generator))
    assert head.needed_bonds == list(state.bond_dims)
    assert max(head.needed_bonds) > 2


def test_every_argument_has_a_default():
    head = MPSProjectionHead(bond_dim=4)
    assert (head.in_features, head.out_features) == (768, 256)
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


@pytest.mark.parametrize("encoding", ["angle", "dense_angle", "amplitude"])
def test_the_length_of_an_embedding_does_not_matter_and_zeros_are_taken(encoding, generator):
    head = MPSProjectionHead(12, 4, encoding=encoding, generator=generator)
    x = torch.randn(4, 12, generator=generator)
    assert_close(head(5 * x), head(x))
    zeros = torch.zeros(1, 12, requires_grad=True)
    z = head(zeros)
    z.sum().backward()
    assert z.isfinite().all()
    assert zeros.grad.isfinite().all()


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


@pytest.mark.parametrize(("mixing", "scale"), [(0, "shared"), (2, "shared"), (1, "feature")])
def test_fit_sets_a_scale_at_which_what_is_kept_hardly_saturates(mixing, scale, generator):
    x = torch.randn(2000, 12, generator=generator) * torch.linspace(0.2, 4, 12)
    head = MPSProjectionHead(12, 4, scale=scale, mixing=mixing).fit(x)
    rotated = x if head.mixing is None else head.mixing(x)
    rotated = rotated / x.norm(dim=1, keepdim=True) * math.sqrt(12)
    largest = rotated[:, head.register.places[:4]].std(0).max().item()
    assert (largest > 1) is (mixing > 0)
    expected = torch.full_like(head.scale, 0.35 / max(1.0, largest))
    assert_close(head.scale.detach(), expected, atol=1e-3, rtol=0)  # n or n - 1 of 2,000


def test_similarity_is_the_log_fidelity_of_all_pairs(generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    zq, zd = (head(torch.randn(n, 12, generator=generator)) for n in (2, 3))
    expected = ((zq[:, None] - zd) / 2).cos().square().log().sum(-1)
    assert_close(head.similarity(zq, zd), expected)
    assert_close(head.similarity(zq, zd[:2], pairwise=True), expected.diagonal())


@pytest.mark.parametrize(("readout", "out"), [("probability", 4), ("bloch", 12), ("state", 16)])
def test_codes_of_its_vectors_are_compared_like_them(readout, out, generator):
    head = MPSProjectionHead(12, out, readout=readout, generator=generator)
    z = head(torch.randn(6, 12, generator=generator))
    codes = head.quantize(z, 8)
    assert codes.bytes_per_vector == out
    exact = head.similarity(z[:2], z[2:])
    for zq in (z[:2], codes[:2]):
        found = head.similarity(zq, codes[2:])
        assert_close(found, exact, atol=0.05, rtol=0)  # 256 steps a number
        assert not torch.equal(found, exact)
        assert_close(head.similarity(zq, codes[2:4], pairwise=True), found.diagonal())
    with pytest.raises(ValueError, match="number of features must agree"):
        MPSProjectionHead(24, 2 * out, readout=readout).similarity(codes, codes)


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


@pytest.mark.parametrize("scale", ["shared", "feature"])
def test_gradients_agree_with_finite_differences(scale, generator):
    head = random_head(7, 2, scale=scale, generator=generator)
    x = torch.randn(2, 7, dtype=torch.float64, generator=generator, requires_grad=True)

    def value(x, angles, scale):
        return torch.func.functional_call(head, {"angles": angles, "scale": scale}, (x,))

    assert torch.autograd.gradcheck(value, (x, head.angles, head.scale))


def test_it_is_described(generator):
    text = MPSProjectionHead(768, 256, depth=2, generator=generator).describe()
    for part in (
        "768 -> 256",
        "staircase, depth 2",
        "exact: needs 2 of the 4 allowed",
        "depends on 3 qubits",
        "5,889 (a linear layer of the same size: 196,864, 33.4 times as many)",
        "1,024 a vector in float32; in codes 256 at 8, 128 at 4, 64 at 2, 32 at 1 bits",
        "●",
    ):
        assert part in text
    text = MPSProjectionHead(64, 4, 2, 3, "brickwork").describe()
    assert "needs 8, truncated to 2" in text
    assert "all 64 qubits at once" in text


def test_it_is_drawn(tmp_path):
    head = MPSProjectionHead(12, 4, depth=2)
    file = tmp_path / "block.png"
    assert head.draw(file) == file
    assert file.stat().st_size > 1000
    assert head.draw().get_axes()
    assert len(head.block_circuit()) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_features": 769}, "needs 769 kept qubits, but `in_features` is 768"),
        ({"readout": "bloch"}, "multiple of 3.*got 256. The nearest are 255 or 258"),
        ({"readout": "state", "out_features": 255}, r"nearest sizes .* are 252 \(63\) and 256"),
        ({"ansatz": "ladder"}, '`ansatz` must be one of "staircase"'),
        ({"ansatz": CIRCUIT, "out_features": 100}, "circuit on the 7 or 8 qubits of a block"),
        ({"readout": "angle"}, "`readout` must be one of \"probability\".*got 'angle'"),
        ({"encoding": "basis"}, "`encoding` must be one of \"angle\".*got 'basis'"),
        ({"grouping": "random"}, "`grouping` must be one of \"registers\".*got 'random'"),
        ({"grouping": [0, 0, 1]}, "`grouping` must hold each of the features 0..767 once"),
        ({"scale": "none"}, "`scale` must be one of"),
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
    with pytest.raises(TypeError, match=r"head's dtype torch\.float32 or a less precise one"):
        head(torch.zeros(3, 12, dtype=torch.float64))


def test_the_discarded_weight_is_the_sum_over_all_cuts(generator):
    head = random_head(16, 2, 2, 3, generator=generator)
    x = torch.randn(3, 16, dtype=torch.float64, generator=generator)
    assert_close(head.project(x).discarded_weight, head.state(x).discarded_weight.sum(1))
    assert (head.state(x).discarded_weight > 1e-9).sum() > 3  # of several cuts, so not their mean


@pytest.mark.parametrize("readout", ["probability", "bloch"])
def test_cones_of_forms_that_take_turns_keep_their_places(readout, generator):
    """Blocks of three start at even and odd sites in turn, so a brickwork sees them differently."""
    out = 8 if readout == "probability" else 24
    head = random_head(24, out, 8, 1, "brickwork", readout, generator=generator)
    cones, _, order = head._cones[0]
    assert len(cones) > 2
    assert order != sorted(order)
    x = torch.randn(2, 24, dtype=torch.float64, generator=generator)
    bloch = bloch_vectors(head.state(x))[:, head.kept_sites]
    z = head(x)
    found, expected = (z.cos(), bloch[..., 2]) if out == 8 else (z, bloch.flatten(1))
    assert_close(found, expected)


def test_a_row_of_zeros_has_a_finite_gradient():
    head = MPSProjectionHead(6, 2)
    x = torch.cat([torch.zeros(1, 6), torch.ones(1, 6)]).requires_grad_()
    head(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.scale.grad).all()


def test_the_state_readout_has_the_bonds_that_its_sites_need():
    assert MPSProjectionHead(16, 336, 8, 3, "brickwork", "state").bond_dims == (2, 4, 8, 4, 2)
    assert MPSProjectionHead(16, 144, 8, 3, "brickwork", "state").bond_dims == (2, 4, 4, 2)


def test_a_block_of_zeros_is_the_state_of_all_zeros(generator):
    head = random_head(8, 2, 8, 1, readout="probability", encoding="amplitude", generator=generator)
    x = torch.cat([torch.zeros(1, 4), torch.ones(1, 4)], 1).double()[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    zeros = torch.zeros(16, dtype=torch.complex128).index_fill(0, torch.tensor([0]), 1)
    expected = dense_circuit(zeros, head.circuit, head.angles.detach())
    rho = oracle.partial_trace(expected, [head.kept_sites[0]])
    assert_close(head(x).cos()[0, 0], (rho[0, 0] - rho[1, 1]).real)
