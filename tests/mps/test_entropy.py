import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    entanglement_entropy,
    ghz_state,
    product_state,
    purity,
    random_mps,
    reduced_density_matrix,
    renyi_entropy,
    schmidt_values,
    to_dense,
    w_state,
)
from tests.mps.test_density import chosen_sites
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def padded(state, extra, generator):
    """The same states with bonds larger by `extra`, which nothing fills, in a random gauge."""
    sites = list(state.sites)
    for i in range(state.n_sites - 1):
        bond = sites[i].shape[3] + extra
        wide = torch.nn.functional.pad(sites[i], (0, extra))
        following = torch.nn.functional.pad(sites[i + 1], (0, 0, 0, 0, 0, extra))
        turn = torch.randn(len(wide), bond, bond, dtype=state.dtype, generator=generator)
        turn = turn + 2 * torch.eye(bond)
        sites[i] = torch.einsum("blpr,brs->blps", wide, turn)
        sites[i + 1] = torch.einsum("bsr,brpu->bspu", torch.linalg.inv(turn), following)
    return MPS(tuple(sites), state.log_norm)


@pytest.mark.slow
@given(
    n_sites=st.integers(2, 8),
    bond=st.integers(1, 6),
    phys=st.integers(2, 3),
    dtype=st.sampled_from(DTYPES),
    alpha=st.sampled_from([0.6, 1, 2, 3.5, math.inf]),
    seed=st.integers(0, 1000),
)
def test_schmidt_values_and_entropies_agree_with_the_oracle(
    n_sites, bond, phys, dtype, alpha, seed
):
    n_sites = n_sites if phys == 2 else min(n_sites, 5)
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, phys_dim=phys, dtype=dtype, generator=generator)
    values, entropies = schmidt_values(state), renyi_entropy(state, alpha)
    assert values.dtype == entropies.dtype == state.log_norm.dtype
    tol = {"atol": tolerance(dtype), "rtol": 0}
    assert_close(values.square().sum(-1), torch.ones_like(values[..., 0]))
    for k, vector in enumerate(to_dense(state).to(torch.complex128)):
        for cut in range(n_sites - 1):
            expected = oracle.schmidt_values(vector, phys ** (cut + 1))[: values.shape[-1]]
            found = values[k, cut, : len(expected)].double()
            assert_close(found, expected, **tol)
            alone = schmidt_values(state, cut)[k].double()
            assert_close(alone, expected[: len(alone)], **tol)
            rho = torch.diag(expected**2).to(torch.complex128)
            entropy = oracle.renyi_entropy(rho, alpha)
            # orders below 1 weigh the smallest values most, which are right to rounding only
            near = {"atol": 1e-3 if tolerance(dtype) > 1e-9 else 1e-8, "rtol": 0}
            assert_close(entropies[k, cut].double(), entropy, **(near if alpha < 1 else tol))
            assert_close(renyi_entropy(state, alpha, cut)[k].double(), entropies[k, cut].double())


@pytest.mark.slow
@given(case=chosen_sites(most=6), bond=st.integers(1, 5), seed=st.integers(0, 1000))
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_the_purity_of_any_sites_agrees_with_the_oracle_and_with_its_complement(
    case, bond, seed, dtype
):
    n_sites, sites = case
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=generator)
    found = purity(state, sites)
    assert found.dtype == state.log_norm.dtype
    for k, vector in enumerate(to_dense(state).to(torch.complex128)):
        rho = oracle.partial_trace(vector / vector.norm(), sites)
        expected = (rho @ rho).trace().real
        assert_close(found[k].double(), expected, atol=tolerance(dtype), rtol=0)
    assert (found <= 1 + tolerance(dtype)).all()
    assert (found >= 0.5 ** len(sites) - tolerance(dtype)).all()
    rest = [site for site in range(n_sites) if site not in sites]
    if rest:
        assert_close(purity(state, rest), found, atol=tolerance(dtype), rtol=0)
    assert_close(purity(state[1], sites), found[1:], atol=tolerance(dtype), rtol=0)


def test_every_way_to_the_purity_agrees_with_the_density_matrix(generator):
    state = random_mps(9, 3, batch_size=2, dtype=torch.float64, generator=generator)
    for sites in ((0, 1, 2), (7, 8), (4,), (2, 3, 4, 5, 6), (0, 2, 8), range(9), (1, 2, 5, 6)):
        rho = reduced_density_matrix(state, sites)
        assert_close(purity(state, sites), (rho @ rho).diagonal(dim1=1, dim2=2).sum(1))


def test_the_purity_of_more_sites_than_a_matrix_could_hold(generator):
    state = random_mps(16, 2, dtype=torch.float64, generator=generator)
    assert_close(purity(state, range(1, 15)), purity(state, (0, 15)))


def test_entropies_of_known_states():
    ghz = ghz_state(6, 2, dtype=torch.float64)
    ones = torch.ones(2, 5, dtype=torch.float64)
    for alpha in (0.3, 0.5, 1, 2, math.inf):
        assert_close(renyi_entropy(ghz, alpha), ones * math.log(2))
    assert_close(entanglement_entropy(ghz, base=2), ones)
    assert_close(schmidt_values(ghz, 2), torch.full((2, 2), 0.5**0.5, dtype=torch.float64))
    w = entanglement_entropy(w_state(6, dtype=torch.float64))[0]
    for cut in range(5):
        p = (cut + 1) / 6
        assert_close(w[cut].item(), -p * math.log(p) - (1 - p) * math.log(1 - p))
    assert_close(purity(ghz, (1, 4)), torch.full((2,), 0.5, dtype=torch.float64))
    product = product_state(torch.full((2, 6, 2), 3.0, dtype=torch.float64))
    for alpha in (0.3, 0.5, 1, 2, math.inf):
        assert_close(renyi_entropy(product, alpha), 0 * ones, atol=1e-14, rtol=0)


@pytest.mark.parametrize("alpha", [1 - 1e-16 * 2, 1 + 1e-9, 1 + 1e-4])
def test_orders_next_to_one_give_the_entropy_of_von_neumann(alpha, generator):
    state = random_mps(6, 4, dtype=torch.float32, generator=generator)
    assert_close(renyi_entropy(state, alpha), entanglement_entropy(state), atol=1e-4, rtol=0)


def test_empty_bonds_and_gauges_change_nothing(generator):
    states = [
        ghz_state(5, 2, dtype=torch.complex128),
        product_state(torch.randn(2, 5, 2, dtype=torch.complex128, generator=generator)),
        random_mps(5, 3, batch_size=2, dtype=torch.complex128, generator=generator),
    ]
    for state in states:
        wide = padded(state, 3, generator)
        values, expected = schmidt_values(wide), schmidt_values(state)
        pad = values.shape[-1] - expected.shape[-1]
        assert_close(values, torch.nn.functional.pad(expected, (0, pad)), atol=1e-12, rtol=0)
        for alpha in (0.7, 1, 2):
            found, expected = renyi_entropy(wide, alpha), renyi_entropy(state, alpha)
            assert_close(found, expected, atol=1e-10, rtol=0)  # gauges of condition 100
        assert_close(purity(wide, (1, 2)), purity(state, (1, 2)), atol=1e-10, rtol=0)


def test_small_schmidt_values_keep_their_digits():
    """A Gram matrix would lose everything below 1e-8."""
    amplitudes = torch.tensor([1.0, 1e-6, 1e-11, 1e-14], dtype=torch.float64)
    sites = torch.eye(4, dtype=torch.float64)[None]
    left, right = (sites * amplitudes)[:, None], sites[..., None]
    state = MPS((left, right), torch.zeros(1, dtype=torch.float64))
    assert_close(schmidt_values(state, 0)[0], amplitudes, rtol=1e-10, atol=0)
    sites = (site.expand(500, -1, -1, -1) for site in state.sites)
    many = MPS(tuple(sites), state.log_norm.expand(500))
    assert_close(renyi_entropy(many, 0.1), renyi_entropy(state, 0.1).expand(500, 1))


def test_a_single_site_has_no_bond():
    state = ghz_state(1, 3)
    assert schmidt_values(state).shape[:2] == (3, 0)
    assert entanglement_entropy(state).shape == (3, 0)
    assert_close(purity(state, 0), torch.ones(3))


@pytest.mark.slow
def test_512_sites_in_single_precision(generator):
    state = random_mps(512, 2, dtype=torch.float32, generator=generator)
    quiet = MPS(tuple(site / 9 for site in state.sites), state.log_norm)
    assert_close(entanglement_entropy(quiet), entanglement_entropy(state))
    assert_close(purity(quiet, range(100, 400)), purity(state, range(100, 400)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["w", "padded"])
def test_gradients_agree_with_finite_differences_wherever_they_start(kind, generator):
    dtype = torch.complex128
    amplitudes = torch.randn(2, 4, 2, dtype=dtype, generator=generator)
    state = {
        "w": w_state(4, 2, dtype=dtype),
        "padded": padded(product_state(amplitudes), 1, generator),
    }[kind]

    def value(*tensors):
        state = MPS(tensors, tensors[0].real.new_zeros(2))
        return (
            entanglement_entropy(state),
            renyi_entropy(state, 2.0, 1, base=2),
            renyi_entropy(state, 0.8, 1) if kind != "padded" else purity(state, 2),
            purity(state, (1, 2)),
            purity(state, (0, 2, 3)),
        )

    tensors = [site.clone().requires_grad_() for site in state.sites]
    assert torch.autograd.gradcheck(value, tensors, fast_mode=True)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda s: schmidt_values(s, 2), r"`bond` must lie within 0\.\.1 or be None, got 2"),
        (lambda s: entanglement_entropy(s, -1), r"`bond` must lie within 0\.\.1"),
        (lambda s: entanglement_entropy(s, base=1), "`base` must be above 1, got 1"),
        (lambda s: renyi_entropy(s, 0), "`alpha` must be above 0, got 0"),
        (lambda s: renyi_entropy(s, math.nan), "`alpha` must be above 0, got nan"),
        (lambda s: purity(s, (0, 3)), r"`sites` must be distinct and lie within 0\.\.2, got"),
    ],
)
def test_bad_arguments_are_refused(compute, message, generator):
    with pytest.raises(ValueError, match=message):
        compute(random_mps(3, 2, generator=generator))
