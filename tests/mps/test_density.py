import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    one_site_density_matrices,
    random_mps,
    reduced_density_matrix,
    to_dense,
)
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@st.composite
def chosen_sites(draw, max_sites=8, most=4):
    """A number of sites, and some of them in any order."""
    n_sites = draw(st.integers(1, max_sites))
    order = draw(st.permutations(range(n_sites)))
    return n_sites, order[: draw(st.integers(1, min(most, n_sites)))]


@pytest.mark.slow
@given(
    case=chosen_sites(),
    bond=st.integers(1, 6),
    phys=st.integers(2, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_density_matrices_of_any_sites_agree_with_the_oracle(case, bond, phys, dtype, seed):
    n_sites, sites = case
    n_sites, sites = (n_sites, sites) if phys == 2 else (min(n_sites, 4), [min(sites) % 4])
    sites = [site for site in sites if site < n_sites] or [0]
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, phys_dim=phys, dtype=dtype, generator=generator)
    found = reduced_density_matrix(state, sites)
    assert found.dtype == dtype
    for rho, vector in zip(found, to_dense(state).to(torch.complex128), strict=True):
        expected = oracle.partial_trace(vector / vector.norm(), sites, phys)
        assert_close(rho.to(torch.complex128), expected, atol=tolerance(dtype), rtol=0)
    trace = torch.einsum("bpp->b", found).real
    assert_close(trace, torch.ones_like(trace))
    assert_close(found, found.mH, atol=tolerance(dtype), rtol=0)
    assert torch.linalg.eigvalsh(found.to(torch.complex128)).min() > -tolerance(dtype)


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 8),
    bond=st.integers(1, 6),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_all_single_sites_together_equal_each_alone(n_sites, bond, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=generator)
    together = one_site_density_matrices(state)
    assert together.dtype == dtype
    for site in range(n_sites):
        alone = reduced_density_matrix(state, site)
        assert_close(together[:, site], alone, atol=tolerance(dtype), rtol=0)
        assert_close(reduced_density_matrix(state[1], [site]), alone[1:])


def test_sites_of_different_dimensions(generator):
    shapes = [(2, 1, 2, 3), (2, 3, 3, 2), (2, 2, 4, 1)]
    sites = tuple(torch.randn(s, dtype=torch.complex128, generator=generator) for s in shapes)
    state = MPS(sites, torch.zeros(2, dtype=torch.float64))
    psi = to_dense(state).reshape(2, 2, 3, 4)
    psi = psi / psi.flatten(1).norm(dim=1)[:, None, None, None]
    expected = torch.einsum("bijk,bxjz->bkizx", psi, psi.conj()).reshape(2, 8, 8)
    assert_close(reduced_density_matrix(state, (2, 0)), expected)


@pytest.mark.slow
def test_long_chains_keep_unit_trace_in_single_precision(generator):
    state = random_mps(512, 3, dtype=torch.complex64, generator=generator)
    quiet = MPS(tuple(site / 7 for site in state.sites), state.log_norm)
    rho = one_site_density_matrices(quiet)
    assert_close(torch.einsum("bspp->bs", rho).real, torch.ones(1, 512))
    assert_close(rho, one_site_density_matrices(state), atol=1e-4, rtol=0)  # 512 steps
    pair = reduced_density_matrix(quiet, [500, 7])
    apart = torch.einsum("ab,cd->acbd", rho[0, 500], rho[0, 7]).reshape(1, 4, 4)
    assert_close(pair, apart, atol=1e-4, rtol=0)  # so far apart that nothing correlates


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (3, r"`sites` must be distinct and lie within 0\.\.2, got \[3\]"),
        (-1, "`sites` must be distinct and lie within"),
        ((1, 1), r"distinct and lie within 0\.\.2, got \[1, 1\]"),
        ((), "`sites` must name at least one site"),
    ],
)
def test_bad_sites_are_refused(sites, message, generator):
    with pytest.raises(ValueError, match=message):
        reduced_density_matrix(random_mps(3, 2, generator=generator), sites)


def test_too_many_levels_and_mixed_dimensions_are_refused(generator):
    with pytest.raises(ValueError, match="at most 4096 levels together, got 8192"):
        reduced_density_matrix(random_mps(13, 2, generator=generator), range(13))
    mixed = MPS((torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 3, 1)), torch.zeros(1))
    with pytest.raises(ValueError, match="one physical dimension"):
        one_site_density_matrices(mixed)


def test_an_infinite_amplitude_is_refused():
    site = torch.tensor([1.0, torch.inf])[None, None, :, None]
    with pytest.raises(ValueError, match="state 0 of the batch holds NaN or infinity"):
        reduced_density_matrix(MPS((site,), torch.zeros(1)), 0)
