import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import brickwork
from mpsheads.mps import (
    MPS,
    Circuit,
    Truncation,
    apply_circuit,
    concatenate,
    ghz_state,
    log_fidelity,
    log_norm,
    overlap,
    product_state,
    random_mps,
    reduced_density_matrix,
    to_dense,
)
from mpsheads.mps.canonical import add, canonicalize, compress, from_dense
from tests.strategies import (
    DOUBLE,
    DTYPES,
    SEEDS,
    assert_canonical,
    dense_compress,
    random_product,
    regauged,
    source,
    states,
    tolerance,
    truncations,
)


def dense_fidelity(a, b):
    return torch.stack([oracle.fidelity(x, y) for x, y in zip(a, b, strict=True)])


# canonicalize ---------------------------------------------------------------------------------


@pytest.mark.slow
@given(state=states(), data=st.data())
def test_every_center_has_isometries_on_both_sides_and_the_vector_stays(state, data):
    center = data.draw(st.none() | st.integers(0, state.n_sites - 1))
    canonical = canonicalize(state, center)
    assert canonical.center == (state.n_sites - 1 if center is None else center)
    assert_canonical(canonical)
    assert_close(to_dense(canonical), to_dense(state))
    assert (canonical.dtype, canonical.batch_size) == (state.dtype, state.batch_size)
    for new, old in zip(canonical.bond_dims, state.bond_dims, strict=True):
        assert new <= old


@pytest.mark.slow
@given(state=states(min_sites=3), data=st.data())
def test_a_known_center_moves_and_leaves_the_other_sites_alone(state, data):
    first, second = data.draw(st.tuples(*[st.integers(0, state.n_sites - 1)] * 2))
    before = canonicalize(state, first)
    after = canonicalize(before, second)
    assert_canonical(after)
    assert_close(to_dense(after), to_dense(state))
    low, high = sorted((first, second))
    for i in [*range(low), *range(high + 1, state.n_sites)]:
        assert after.sites[i] is before.sites[i]


@pytest.mark.parametrize("dtype", DTYPES)
def test_canonical_forms_keep_the_dtype_and_hold_in_single_precision(dtype, generator):
    state = random_mps(9, 4, batch_size=3, dtype=dtype, generator=generator)
    canonical = canonicalize(state, 4)
    assert {site.dtype for site in canonical.sites} == {dtype}
    assert_canonical(canonical)
    atol = tolerance(dtype)
    assert_close(to_dense(canonical), to_dense(state), atol=atol, rtol=atol)


def test_a_zero_state_can_be_canonicalized():
    state = product_state(torch.zeros(2, 3, 2, dtype=torch.float64))
    assert_close(to_dense(canonicalize(state, 1)), torch.zeros(2, 8, dtype=torch.float64))


def test_a_center_that_is_no_site_is_refused(generator):
    state = random_mps(3, 2, generator=generator)
    for center in (3, -1):
        with pytest.raises(ValueError, match=rf"`center` must lie within 0\.\.2, got {center}"):
            canonicalize(state, center)


# compress -------------------------------------------------------------------------------------


@given(state=states(min_sites=2, phys_dims=(2, 3)), truncation=truncations())
def test_a_compressed_state_is_what_svds_of_the_vector_give(state, truncation):
    compressed = compress(state, truncation)
    found = to_dense(compressed)
    for i, vector in enumerate(to_dense(state)):
        expected, dropped = dense_compress(vector, state.phys_dims, truncation)
        assert_close(found[i], expected.to(state.dtype), atol=1e-9, rtol=0)  # gaps may be small
        assert_close(compressed.discarded_weight[i], dropped, atol=1e-9, rtol=0)
        norm = expected.norm() / vector.norm()
        assert_close(norm**2, (1 - compressed.discarded_weight[i]).prod(), atol=1e-9, rtol=0)
    fidelity = dense_fidelity(found, to_dense(state))
    assert_close(compressed.fidelity_bound, fidelity, atol=1e-7, rtol=0)  # arcsine near 1
    if truncation.max_bond is not None:
        assert compressed.max_bond <= truncation.max_bond


@given(state=states(min_sites=2, max_bond=9), center=st.none() | st.integers(0, 1))
def test_enough_room_drops_nothing(state, center):
    state = state if center is None else canonicalize(state, center)
    same = compress(state, Truncation(max_bond=27))
    cut = compress(state, Truncation(max_bond=27, cutoff=1e-30))
    for compressed in (same, cut):
        assert_close(to_dense(compressed), to_dense(state))
        zero = torch.zeros_like(state.discarded_weight)
        assert_close(compressed.discarded_weight, zero, atol=1e-14, rtol=0)
    assert compress(state, Truncation()).bond_dims == canonicalize(state).bond_dims


@pytest.mark.slow
@given(state=states(min_sites=2, max_batch=4), truncation=truncations())
def test_a_compressed_batch_equals_its_members(state, truncation):
    together = compress(state, truncation)
    alone = [compress(state[i], truncation) for i in range(len(state))]
    assert together.bond_dims == tuple(
        max(bonds) for bonds in zip(*(member.bond_dims for member in alone), strict=True)
    )
    for i, member in enumerate(alone):
        assert_close(to_dense(together[i]), to_dense(member), atol=1e-10, rtol=0)
        assert_close(together[i].discarded_weight, member.discarded_weight, atol=1e-12, rtol=0)
        assert_close(together[i].fidelity_bound, member.fidelity_bound)


@pytest.mark.slow
@given(state=states(min_sites=3, phys_dims=(2, 3)), data=st.data())
def test_a_window_of_bonds_gives_the_same_from_any_center(state, data):
    first = data.draw(st.integers(0, state.n_sites - 2))
    last = data.draw(st.integers(first, state.n_sites - 2))
    center = data.draw(st.integers(0, state.n_sites - 1))
    truncation = data.draw(truncations())
    plain = compress(state, truncation, first=first, last=last)
    canonical = canonicalize(state, center)
    local = compress(canonical, truncation, first=first, last=last)
    assert_close(to_dense(local), to_dense(plain), atol=1e-9, rtol=0)
    assert_close(local.discarded_weight, plain.discarded_weight, atol=1e-10, rtol=0)
    for found, vector, weight in zip(
        to_dense(plain), to_dense(state), plain.discarded_weight, strict=True
    ):
        expected, dropped = dense_compress(vector, state.phys_dims, truncation, first, last)
        assert_close(found, expected.to(state.dtype), atol=1e-9, rtol=0)
        assert_close(weight, dropped, atol=1e-10, rtol=0)
    for result in (plain, local):
        if result.center is not None:
            assert_canonical(result, filled=truncation.cutoff > 0)
    low, high = min(center, first), max(center, last + 1)
    for i in [*range(low), *range(high + 1, state.n_sites)]:
        assert local.sites[i] is canonical.sites[i]


def test_angles_of_truncations_add_up_and_weights_too(generator):
    state = random_mps(6, 8, batch_size=3, dtype=torch.complex128, generator=generator)
    once = compress(state, Truncation(max_bond=4))
    twice = compress(once, Truncation(max_bond=2))
    alone = compress(MPS(once.sites, once.log_norm), Truncation(max_bond=2))
    assert_close(twice.truncation_angle, once.truncation_angle + alone.truncation_angle)
    assert_close(twice.discarded_weight, once.discarded_weight + alone.discarded_weight)
    assert (once.truncation_angle > 0.01).all()


@pytest.mark.slow
@pytest.mark.parametrize(("single", "double"), [DTYPES[:2], DTYPES[2:]])
@pytest.mark.parametrize("center", [None, 0, 15])
def test_single_precision_is_as_good_as_double_up_to_1e_5(single, double, center, generator):
    state = random_mps(16, 12, batch_size=8, dtype=double, generator=generator)
    state = state if center is None else canonicalize(state, center)
    expected = compress(state, Truncation(max_bond=4))
    found = compress(state.to(single), Truncation(max_bond=4))
    assert found.dtype == single
    atol = 1e-5
    same = log_fidelity(found.to(double), expected)
    assert_close(same, torch.zeros_like(same), atol=atol, rtol=0)
    weight = expected.discarded_weight.to(found.discarded_weight.dtype)
    assert_close(found.discarded_weight, weight, atol=atol, rtol=0)
    assert_close(found.fidelity_bound.double(), expected.fidelity_bound, atol=atol, rtol=0)
    assert_close(log_norm(found).double(), log_norm(expected), atol=atol, rtol=atol)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_sites", "dtype", "scale"),
    [
        (200, torch.float32, 1e-12),
        (400, torch.complex64, 1e12),
        (100, torch.float64, 1e20),
        (100, torch.complex128, 1e-20),
    ],
)
def test_long_chains_whose_norm_no_float_holds_neither_over_nor_underflow(
    n_sites, dtype, scale, generator
):
    state = random_mps(n_sites, 3, dtype=dtype, generator=generator)
    state = MPS(tuple(site * scale for site in state.sites), state.log_norm)
    norm = log_norm(state)
    rtol = 1e-12 if n_sites == 100 else 1e-5  # hundreds of logarithms are added up
    canonical = canonicalize(state, n_sites // 2)
    assert_canonical(canonical)
    assert_close(log_norm(canonical), norm, atol=0, rtol=rtol)
    compressed = compress(state, Truncation(max_bond=2))
    assert compressed.max_bond == 2
    lost = torch.log1p(-compressed.discarded_weight).sum(1) / 2
    assert (lost < -0.1).all()
    assert_close(log_norm(compressed), norm + lost, atol=0, rtol=rtol)
    if n_sites > 100:
        return  # the sum takes long
    doubled = compress(add(compressed, compressed), Truncation(max_bond=3))
    assert_close(log_norm(doubled), norm + lost + math.log(2), atol=0, rtol=rtol)
    assert_close(doubled.fidelity_bound, torch.ones_like(norm), atol=2e-5, rtol=0)


def test_bad_truncations_windows_and_states_are_named(generator):
    state = random_mps(4, 4, batch_size=2, dtype=torch.float64, generator=generator)
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, got 0"):
        Truncation(max_bond=0)
    for cutoff in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=rf"`cutoff` must lie in \[0, 1\), got {cutoff}"):
            Truncation(cutoff=cutoff)
    for first, last in [(-1, 2), (0, 3), (2, 1)]:
        with pytest.raises(ValueError, match=rf"within 0\.\.2, got {first} and {last}"):
            compress(state, Truncation(1), first=first, last=last)
    zero = state.with_sites({1: state.sites[1] * torch.tensor([1.0, 0.0])[:, None, None, None]})
    with pytest.raises(ValueError, match="norm above zero, but state 1 of the batch is zero"):
        compress(zero, Truncation(1))
    for bad in (math.nan, math.inf):
        wrong = state.with_sites({2: state.sites[2] * bad})
        with pytest.raises(ValueError, match="state 0 of the batch holds NaN or infinity"):
            compress(wrong, Truncation(1))


def test_one_site_has_no_bond_to_compress(generator):
    state = random_mps(1, 1, batch_size=2, dtype=torch.float64, generator=generator)
    assert_close(to_dense(compress(state, Truncation(1, 0.1))), to_dense(state))


# gradients ------------------------------------------------------------------------------------


def visible(state):
    """A number of each kind that a loss may take from a state; none depends on its gauge."""
    phi = random_mps(
        state.n_sites, 3, batch_size=len(state), dtype=state.dtype, generator=source(5)
    )
    two = reduced_density_matrix(state, [0, 1])
    return (
        overlap(phi, state).abs().pow(2).sum()
        + log_norm(state).sum()
        + two.abs().pow(4).sum()
        + state.discarded_weight.sum()
    )


@pytest.mark.slow
@pytest.mark.parametrize("limits", [(1,), (2,), (3,), (None, 0.1), (3, 0.03)])
@pytest.mark.parametrize("dtype", DOUBLE)
def test_gradients_through_truncation_agree_with_finite_differences(limits, dtype, generator):
    shapes = [(2, 1, 2, 2), (2, 2, 2, 4), (2, 4, 2, 2), (2, 2, 2, 1)]
    tensors = [torch.randn(s, dtype=dtype, generator=generator).requires_grad_() for s in shapes]

    def loss(*sites):
        state = MPS(sites, torch.zeros(2, dtype=torch.float64))
        return visible(compress(state, Truncation(*limits)))

    assert gradcheck(loss, tensors, fast_mode=True)


TURNS = Circuit(
    4,
    [("rx", (i,)) for i in range(4)]
    + [("controlled-unitary", (i, i + 1)) for i in range(3)]
    + [("zyz", (1,)), ("rzz", (0, 3))],
)

STARTS = {
    "product": lambda: product_state(torch.eye(2, dtype=torch.complex128)[[0, 0, 0, 0]][None]),
    "ghz": lambda: ghz_state(4, dtype=torch.complex128),
    "padded ghz": lambda: add(*[ghz_state(4, dtype=torch.complex128)] * 2),
    "zero-padded": lambda: concatenate(
        [
            ghz_state(4, dtype=torch.complex128),
            random_mps(4, 4, dtype=torch.complex128, generator=source(1)),
        ]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("point", ["identity", "random"])
def test_gradients_from_singular_starts_agree_with_finite_differences(name, point, generator):
    start = STARTS[name]()
    bond = 1 if name == "product" else 2  # what is kept is unique at the identity
    if name == "zero-padded" and point == "identity":
        bond = 3
    parameters = torch.randn(TURNS.num_parameters, dtype=torch.float64, generator=generator)
    parameters = (parameters * (point == "random")).requires_grad_()

    def loss(p):
        grown = apply_circuit(start, TURNS, p, Truncation(max_bond=bond))
        return visible(grown)

    atol = 1e-4 if name == "zero-padded" else 1e-5
    assert gradcheck(loss, (parameters,), atol=atol, fast_mode=True)


@pytest.mark.slow
def test_gradients_a_hair_off_the_identity_agree_with_finite_differences(generator):
    circuit = brickwork(4, 1)
    parameters = 1e-4 * torch.randn(
        circuit.num_parameters, dtype=torch.float64, generator=generator
    )
    start = product_state(random_product(1, 4, torch.complex128, generator))

    def loss(p):
        return visible(apply_circuit(start, circuit, p, Truncation(max_bond=2)))

    # the dropped values are of the size of the step, so that the differences are rough
    assert gradcheck(loss, (parameters.requires_grad_(),), eps=1e-7, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("single", "double", "scale"), [(*DTYPES[:2], 1e-9), (*DTYPES[2:], 1e9)])
def test_single_precision_gradients_of_long_chains_are_those_of_double(
    single, double, scale, generator
):
    start = random_mps(48, 4, dtype=double, generator=generator)
    phi = random_mps(48, 2, dtype=double, generator=generator)

    def gradients(dtype):
        sites = [(site * scale).to(dtype).requires_grad_() for site in start.sites]
        state = MPS(tuple(sites), start.log_norm.to(sites[0].real.dtype))
        cut = compress(state, Truncation(max_bond=2))
        loss = log_norm(cut) + cut.discarded_weight.sum() + log_fidelity(phi.to(dtype), cut) / 48
        return [g * scale for g in torch.autograd.grad(loss.sum(), sites)]

    for found, expected in zip(gradients(single), gradients(double), strict=True):
        assert_close(found, expected.to(single), atol=2e-3, rtol=2e-3)  # 48 sites, gaps near 0.01


# add and from_dense ---------------------------------------------------------------------------


@given(first=states(max_batch=2), seed=SEEDS)
def test_a_sum_is_the_sum_of_the_vectors(first, seed):
    generator = source(seed)
    second = regauged(first, generator)
    noise = [torch.randn(s.shape, dtype=s.dtype, generator=generator) for s in second.sites]
    second = MPS(tuple(noise), second.log_norm - 3)
    total = add(first, second)
    assert_close(to_dense(total), to_dense(first) + to_dense(second))
    assert_close(to_dense(add(second, first)), to_dense(total))
    assert total.bond_dims == tuple(2 * bond for bond in first.bond_dims)
    assert total.dtype == first.dtype


def test_a_sum_whose_norms_lie_in_sites_of_one_state_and_in_the_factor_of_the_other_has_both():
    state = product_state(torch.ones(1, 400, 2))  # norm exp(139), in the sites
    for total in (add(state, canonicalize(state)), add(canonicalize(state), state)):
        double = log_norm(state) + math.log(2)
        assert_close(log_norm(compress(total, Truncation(1))), double)
        assert_close(log_norm(total), double)


def test_a_sum_of_states_of_other_sizes_or_kinds_is_refused(generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    with pytest.raises(ValueError, match="batch size must agree: `first` has 2, `second` has 1"):
        add(state, state[0])
    with pytest.raises(ValueError, match="number of sites must agree"):
        add(state, random_mps(4, 2, batch_size=2))
    with pytest.raises(ValueError, match="dtype must agree"):
        add(state, state.to(torch.complex128))


@pytest.mark.slow
@given(
    dims=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    batch=st.integers(1, 3),
    dtype=st.sampled_from(DTYPES),
    seed=SEEDS,
)
def test_vectors_become_states_and_come_back(dims, batch, dtype, seed):
    vectors = torch.randn(batch, math.prod(dims), dtype=dtype, generator=source(seed))
    state = from_dense(vectors, dims)
    assert state.phys_dims == tuple(dims)
    assert_close(to_dense(state), vectors, atol=0, rtol=0)
    assert_canonical(state)
    for i, bond in enumerate(state.bond_dims):
        assert bond == min(math.prod(dims[: i + 1]), math.prod(dims[i + 1 :]))


def test_vectors_are_truncated_as_states_are(generator):
    vectors = torch.randn(3, 64, dtype=torch.complex128, generator=generator)
    truncation = Truncation(max_bond=3)
    found, expected = from_dense(vectors, 2, truncation), compress(from_dense(vectors), truncation)
    assert found.max_bond == 3
    assert_close(to_dense(found), to_dense(expected))
    assert_close(found.discarded_weight, expected.discarded_weight)


@pytest.mark.parametrize("cutoff", [0.0, 1e-3])
def test_no_states_are_compressed_to_none(cutoff, generator):
    none = random_mps(5, 4, generator=generator)[:0]
    assert compress(none, Truncation(2, cutoff)).batch_size == 0


@pytest.mark.parametrize("phys_dims", [3, [2, 2], [], 1])
def test_vectors_that_no_sites_multiply_to_are_refused(phys_dims):
    with pytest.raises(ValueError, match="got 8 for `phys_dims`"):
        from_dense(torch.ones(1, 8), phys_dims)
    with pytest.raises(ValueError, match="`vectors` must be finite, but row 1"):
        from_dense(torch.tensor([[0.0, 1.0], [math.nan, 0.0]]))
