import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils import _pytree

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    PurifiedMPS,
    expectation,
    ghz_state,
    log_norm,
    mixed_expectation,
    mixed_fidelity,
    mixed_purity,
    mixed_to_dense,
    mixed_trace,
    partial_trace,
    product_state,
    purification,
    purity,
    random_mps,
    to_dense,
)
from tests.mps.test_density import chosen_sites
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def hermitian(levels, generator):
    matrix = torch.randn(levels, levels, dtype=torch.complex128, generator=generator)
    return (matrix + matrix.mH) / 2


@pytest.mark.slow
@given(
    case=chosen_sites(most=4),
    bond=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_partial_traces_agree_with_the_oracle(case, bond, dtype, seed):
    n_sites, sites = case
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=generator)
    probe = random_mps(len(sites), 3, batch_size=2, dtype=dtype, generator=generator)
    rho = partial_trace(state, sites)
    assert (rho.dtype, rho.n_sites, rho.batch_size) == (dtype, len(sites), 2)
    for site in rho.sites:
        assert site.shape[3] <= site.shape[1] * site.shape[2] * site.shape[4]
    dense, trace, pure = mixed_to_dense(rho), mixed_trace(rho), mixed_purity(rho)
    fidelity = mixed_fidelity(rho, probe)
    tol = {"atol": 10 * tolerance(dtype), "rtol": 10 * tolerance(dtype)}  # norms reach 3
    operators = torch.stack([hermitian(2, generator) for _ in range(2)])
    for k in range(2):
        vector, psi = (to_dense(s)[k].to(torch.complex128) for s in (state, probe))
        expected = oracle.partial_trace(vector, sorted(sites))
        assert_close(dense[k].to(torch.complex128), expected, **tol)
        norm = expected.trace().real
        assert_close(trace[k].double(), norm, **tol)
        assert_close(pure[k].double(), (expected @ expected).trace().real / norm**2, **tol)
        psi = psi / psi.norm()
        assert_close(fidelity[k].double(), torch.vdot(psi, expected @ psi).real / norm, **tol)
        for place in range(len(sites)):
            one = oracle.partial_trace(vector, [sorted(sites)[place]])
            value = (one @ operators[k]).trace().real / norm
            found = mixed_expectation(rho, operators, place)[k]
            assert_close(found.real.double(), value, **tol)


def test_the_trace_of_nothing_is_the_pure_state_itself(generator):
    state = random_mps(5, 3, batch_size=2, dtype=torch.complex128, generator=generator)
    rho = partial_trace(state, range(5))
    assert [site.shape[3] for site in rho.sites] == [1] * 5
    assert_close(to_dense(purification(rho)), to_dense(state))
    ones = torch.ones(2, dtype=torch.float64)
    assert_close(mixed_purity(rho), ones)
    assert_close(mixed_fidelity(rho, state), ones)
    assert_close(mixed_trace(rho), (2 * log_norm(state)).exp())


def test_part_of_a_ghz_state_is_an_even_mixture():
    rho = partial_trace(ghz_state(9, dtype=torch.float64), (2, 3, 7))
    corners = torch.zeros(1, 8, 8, dtype=torch.float64)
    corners[0, 0, 0] = corners[0, 7, 7] = 0.5
    assert_close(mixed_to_dense(rho), corners)
    assert_close(mixed_purity(rho).item(), 0.5)
    assert_close(mixed_fidelity(rho, ghz_state(3, dtype=torch.float64)).item(), 0.5)


@pytest.mark.slow
def test_far_apart_sites_of_long_chains(generator):
    state = random_mps(512, 3, dtype=torch.float64, generator=generator)
    quiet = MPS(tuple(site / 7 for site in state.sites), state.log_norm)
    sites = (5, 6, 250, 506)
    rho = partial_trace(quiet, sites)
    assert max(site.shape[3] for site in rho.sites) <= 2 * 9
    assert_close(mixed_purity(rho), purity(state, sites))
    z = torch.diag(torch.tensor([1.0, -1], dtype=torch.float64))
    for place, site in enumerate(sites):
        assert_close(mixed_expectation(rho, z, place), expectation(state, z, site))


def test_mixed_states_are_pytrees_and_can_be_vmapped(generator):
    sites = [torch.randn(4, 2, *s, generator=generator) for s in [(1, 2, 2), (2, 2, 2), (2, 2, 1)]]

    def run(*tensors):
        rho = partial_trace(MPS.unchecked(tensors, tensors[0].new_zeros(2)), (0, 2))
        return mixed_purity(rho), rho

    together, mixed = torch.func.vmap(run)(*sites)
    assert isinstance(mixed, PurifiedMPS)
    for i in range(4):
        alone, rho = run(*[site[i] for site in sites])
        assert_close(together[i], alone)
        member = _pytree.tree_map(lambda tensor, i=i: tensor[i], mixed)
        assert_close(mixed_to_dense(member), mixed_to_dense(rho))
    assert repr(rho).startswith("PurifiedMPS(batch_size=2, n_sites=2")


def test_states_that_do_not_fit_are_refused(generator):
    state = random_mps(4, 2, batch_size=2, generator=generator)
    with pytest.raises(ValueError, match=r"`sites` must be distinct and lie within 0\.\.3, got"):
        partial_trace(state, (1, 4))
    rho = partial_trace(state, (0, 2))
    with pytest.raises(ValueError, match="number of sites must agree"):
        mixed_fidelity(rho, state)
    with pytest.raises(ValueError, match="batch size must agree"):
        mixed_fidelity(rho, random_mps(2, 2, generator=generator))
    with pytest.raises(ValueError, match="dtype must agree"):
        mixed_fidelity(rho, random_mps(2, 2, batch_size=2, dtype=torch.float32))
    with pytest.raises(ValueError, match="with 2 levels for these sites, got shape"):
        mixed_expectation(rho, torch.eye(3), 0)
    with pytest.raises(ValueError, match=r"lie within 0\.\.1, got \[2\]"):
        mixed_expectation(rho, torch.eye(2), 2)
    with pytest.raises(ValueError, match="last right bond of `sites` must be 1"):
        PurifiedMPS((torch.zeros(2, 1, 2, 1, 3),), torch.zeros(2))
    nothing = PurifiedMPS((torch.zeros(2, 1, 2, 1, 1),), torch.zeros(2))
    with pytest.raises(ValueError, match="state 0 of the batch is zero"):
        mixed_purity(nothing)
    with pytest.raises(ValueError, match="state 0 of the batch is zero"):
        mixed_fidelity(nothing, product_state(torch.ones(2, 1, 2)))
