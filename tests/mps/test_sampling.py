import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    basis_state,
    expectation,
    ghz_state,
    log_norm,
    log_probability,
    measure,
    product_state,
    project,
    random_mps,
    sample,
    sampling,
    to_dense,
)
from tests.mps.test_density import chosen_sites
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def probabilities(state):
    weights = to_dense(state).abs().double() ** 2
    return weights / weights.sum(dim=1, keepdim=True)


def as_numbers(outcomes, phys):
    """Digits along the last axis, the first most significant, as one number."""
    powers = phys ** torch.arange(outcomes.shape[-1] - 1, -1, -1)
    return (outcomes * powers).sum(dim=-1)


def surprise(counts, expected):
    """Pearson's chi-square as a standard normal number (Wilson and Hilferty 1931)."""
    likely = expected > 5
    counts, expected = counts[likely].double(), expected[likely]
    degrees = max(1, int(likely.sum()) - 1)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    spread = 2 / (9 * degrees)
    return ((statistic / degrees) ** (1 / 3) - 1 + spread) / math.sqrt(spread)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_sites", "phys"), [(1, 2), (6, 2), (3, 4)])
def test_samples_have_the_distribution_of_the_state(n_sites, phys, dtype):
    state = random_mps(
        n_sites, 3, batch_size=3, phys_dim=phys, dtype=dtype, generator=seeded(n_sites)
    )
    outcomes = sample(state, 20_000, generator=seeded(1))
    assert outcomes.shape == (3, 20_000, n_sites)
    for row, p in zip(as_numbers(outcomes, phys), probabilities(state), strict=True):
        counts = torch.bincount(row, minlength=phys**n_sites)
        assert surprise(counts, 20_000 * p) < 4


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_measured_sites_have_the_marginal_distribution_whatever_their_order(dtype):
    state = random_mps(6, 3, dtype=dtype, generator=seeded(3))
    copies = MPS(
        tuple(site.expand(20_000, -1, -1, -1) for site in state.sites),
        state.log_norm.expand(20_000),
    )
    for sites in ((4, 1, 2), (0,), (5, 0)):
        outcomes, _ = measure(copies, sites, generator=seeded(2))
        vector = to_dense(state)[0].to(torch.complex128)
        rho = oracle.partial_trace(vector / vector.norm(), sites)
        counts = torch.bincount(as_numbers(outcomes, 2), minlength=2 ** len(sites))
        assert surprise(counts, 20_000 * rho.diagonal().real) < 4


def test_samples_are_repeatable_and_do_not_depend_on_chunks(monkeypatch):
    state = random_mps(5, 3, batch_size=2, generator=seeded(0))
    first, again = (sample(state, 37, generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, sample(state, 37, generator=seeded(6)))
    monkeypatch.setattr(sampling, "_CHUNK_ELEMENTS", 60)
    assert torch.equal(first, sample(state, 37, generator=seeded(5)))


def test_impossible_outcomes_are_never_drawn():
    ghz = sample(ghz_state(20), 1000, generator=seeded(0))
    assert torch.equal(ghz, ghz[..., :1].expand(-1, -1, 20))
    assert 400 < ghz[0, :, 0].sum() < 600
    bits = torch.tensor([0, 1, 1, 0, 1])
    shots = sample(basis_state(bits, 3, dtype=torch.float32), 500, generator=seeded(0))
    assert torch.equal(shots, bits.expand(3, 500, 5))
    weights = torch.tensor([[0.0, 0.3, 0.0]])  # rounding must not reach past the last possible one
    for uniform in (0.0, 1 - 2**-24):  # the ends of what a generator gives
        assert sampling._choose(weights, torch.tensor([uniform])).tolist() == [1]
    smallest = torch.tensor([[0.0, 1e-45, 0.0]])  # 0.9 of it rounds to all of it
    assert sampling._choose(smallest, torch.tensor([0.9])).tolist() == [1]


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 6),
    bond=st.integers(1, 5),
    phys=st.integers(2, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_log_probabilities_agree_with_the_amplitudes(n_sites, bond, phys, dtype, seed):
    state = random_mps(
        n_sites, bond, batch_size=2, phys_dim=phys, dtype=dtype, generator=seeded(seed)
    )
    everything = torch.cartesian_prod(*[torch.arange(phys)] * n_sites).reshape(-1, n_sites)
    found = log_probability(state, everything.expand(2, -1, -1))
    assert found.dtype == state.log_norm.dtype
    tol = {"atol": tolerance(dtype), "rtol": 0}
    assert_close(found.exp().double(), probabilities(state), **tol)
    alone = log_probability(state[1], everything[None])
    assert_close(alone.exp(), found[1:].exp(), **tol)


def test_log_probabilities_of_long_chains_and_of_what_cannot_happen():
    amplitudes = torch.tensor([0.6, 0.8]).expand(1, 512, 2) * 5
    bits = torch.zeros(1, 1, 512, dtype=torch.int64)
    found = log_probability(product_state(amplitudes), bits)
    assert_close(found, torch.tensor([[512 * math.log(0.36)]]), rtol=1e-4, atol=0)  # float32
    assert_close(log_probability(product_state(amplitudes), bits.to(torch.uint8)), found)
    site = torch.tensor([1.0, 0.0]).expand(1, 3, 2).clone().requires_grad_()
    bits = torch.tensor([[[0, 0, 0], [0, 1, 0]]])
    found = log_probability(product_state(site), bits)
    assert found.tolist() == [[0.0, -math.inf]]
    (grad,) = torch.autograd.grad(found[0, 0] + found[0, 1].clamp_min(-50), site)
    assert grad.isfinite().all()


@pytest.mark.slow
@given(case=chosen_sites(), bond=st.integers(1, 5), dtype=st.sampled_from(DTYPES), data=st.data())
def test_projections_agree_with_the_oracle(case, bond, dtype, data):
    n_sites, sites = case
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=seeded(n_sites))
    level = st.integers(0, 1)
    chosen = [data.draw(st.lists(level, min_size=2, max_size=2)) for _ in sites]
    outcomes = {i: torch.tensor(levels) for i, levels in zip(sites, chosen, strict=True)}
    found = project(state, outcomes)
    assert (found.dtype, found.bond_dims) == (dtype, state.bond_dims)
    tol = {"atol": 10 * tolerance(dtype), "rtol": 10 * tolerance(dtype)}  # norms reach 3
    for k, vector in enumerate(to_dense(state)):
        expected = vector.to(torch.complex128)
        for i, levels in zip(sites, chosen, strict=True):
            keep = torch.zeros(2, 2)
            keep[levels[k], levels[k]] = 1
            expected = oracle.apply_matrix(expected, keep, [i])
        assert_close(to_dense(found)[k].to(torch.complex128), expected, **tol)
        same = project(state[k], {i: v[k] for i, v in zip(sites, chosen, strict=True)})
        assert_close(to_dense(same)[0], to_dense(found)[k], **tol)


def test_a_measured_state_is_normalised_and_answers_the_same_again(generator):
    state = random_mps(7, 3, batch_size=50, dtype=torch.complex128, generator=generator)
    outcomes, after = measure(state, (5, 2), generator=generator)
    assert outcomes.shape == (50, 2)
    assert_close(log_norm(after), torch.zeros(50, dtype=torch.float64))
    again, _ = measure(after, (5, 2), generator=generator)
    assert torch.equal(again, outcomes)
    for column, site in enumerate((5, 2)):
        z = expectation(after, "Z", site).real
        assert_close(z, 1.0 - 2 * outcomes[:, column].double())
    projected = project(state, {5: outcomes[:, 0], 2: outcomes[:, 1]})
    shots = sample(after, 20, generator=generator)
    chance = log_probability(state, shots) - log_probability(after, shots)
    weight = 2 * (log_norm(projected) - log_norm(state))
    assert_close(chance, weight[:, None].expand(-1, 20))


def test_the_bound_on_the_fidelity_stays_one_through_a_projection(generator):
    exact = random_mps(4, 4, batch_size=40, dtype=torch.float64, generator=generator)
    near = exact.with_sites(
        {1: exact.sites[1] + 0.1 * torch.randn(exact.sites[1].shape, generator=generator)}
    )

    def fidelities(a, b):
        pairs = zip(to_dense(a), to_dense(b), strict=True)
        return torch.stack([oracle.fidelity(x, y) for x, y in pairs])

    near = near.with_sites({}, truncation_angle=fidelities(exact, near).sqrt().acos())
    outcomes = {0: 1, 3: torch.arange(40) % 2}
    a, b = project(exact, outcomes), project(near, outcomes)
    assert (fidelities(a, b) >= b.fidelity_bound - 1e-12).all()
    assert (b.fidelity_bound > 0.5).any()
    assert_close(project(exact, outcomes).truncation_angle, torch.zeros(40, dtype=torch.float64))


def test_no_states_have_no_samples(generator):
    assert sample(random_mps(3, 2, generator=generator)[:0], 2).shape == (0, 2, 3)


@pytest.mark.slow
def test_long_chains_are_sampled_and_measured(generator):
    state = random_mps(512, 2, batch_size=2, dtype=torch.float32, generator=generator)
    quiet = MPS(tuple(site / 9 for site in state.sites), state.log_norm)
    shots = sample(quiet, 2, generator=generator)
    assert log_probability(quiet, shots).isfinite().all()
    outcomes, after = measure(quiet, (4, 500), generator=generator)
    assert torch.equal(sample(after, 1, generator=generator)[:, 0, [4, 500]], outcomes)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda s: sample(s, 0), "`n_shots` must be at least 1, got 0"),
        (lambda s: measure(s, 3), r"`sites` must be distinct and lie within 0\.\.2, got \[3\]"),
        (lambda s: project(s, {}), "`sites` must name at least one"),
        (lambda s: project(s, {0: 2}), r"`outcomes` must be integers within 0\.\.1 for site 0"),
        (lambda s: project(s, {1: torch.zeros(3, dtype=torch.int64)}), "one for each of 2 states"),
        (lambda s: project(s, {2: 1}), "`outcomes` must be possible, but in state 0 of the batch"),
        (
            lambda s: log_probability(s, torch.zeros(2, 1, 4, dtype=torch.int64)),
            "number of sites must agree",
        ),
        (
            lambda s: log_probability(s, torch.full((2, 1, 3), -1)),
            r"within 0\.\.1 for site 0, got \[-1, -1\]",
        ),
    ],
)
def test_bad_arguments_are_refused(compute, message):
    with pytest.raises(ValueError, match=message):
        compute(basis_state(torch.tensor([0, 1, 0]), 2))
