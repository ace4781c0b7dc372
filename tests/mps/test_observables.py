import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    bloch_vectors,
    correlation,
    expectation,
    heisenberg_hamiltonian,
    ising_hamiltonian,
    one_site_density_matrices,
    pauli_sum,
    product_state,
    random_mps,
    to_dense,
    variance,
)
from tests.mps.test_mpo import dense_sum, sums
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def dense_expectation(vector, matrix, sites, phys=2):
    """`<v|M|v> / <v|v>` by the oracle, in complex128."""
    vector = vector.to(torch.complex128)
    moved = oracle.apply_matrix(vector, matrix, sites, phys)
    return torch.vdot(vector, moved) / torch.vdot(vector, vector)


def as_dtype(values, dtype):
    values = torch.stack(values)
    return values.to(dtype) if dtype.is_complex else values.real.to(dtype)


def hermitian(levels, generator):
    matrix = torch.randn(levels, levels, dtype=torch.complex128, generator=generator)
    return (matrix + matrix.mH) / 2


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 8),
    bond=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_pauli_strings_and_matrices_agree_with_the_oracle(n_sites, bond, dtype, seed, data):
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=generator)
    vectors = to_dense(state)
    order = data.draw(st.permutations(range(n_sites)))
    sites = order[: data.draw(st.integers(1, min(3, n_sites)))]
    letters = data.draw(st.text(alphabet="1XYZ", min_size=len(sites), max_size=len(sites)))
    matrix = oracle.pauli_matrix(letters)
    expected = as_dtype([dense_expectation(v, matrix, sites) for v in vectors], dtype)
    whole = "".join(dict(zip(sites, letters, strict=True)).get(i, "1") for i in range(n_sites))
    tol = {"atol": tolerance(dtype), "rtol": 0}
    assert_close(expectation(state, letters, sites), expected, **tol)
    assert_close(expectation(state, whole), expected, **tol)
    assert_close(expectation(state, matrix, sites), expected, **tol)
    different = torch.stack([hermitian(2 ** len(sites), generator) for _ in range(2)])
    expected = [dense_expectation(v, m, sites) for v, m in zip(vectors, different, strict=True)]
    found = expectation(state, different, sites)
    assert_close(found, as_dtype(expected, dtype), atol=10 * tolerance(dtype), rtol=0)  # sizes to 5


@pytest.mark.slow
@given(
    case=sums(),
    bond=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_mpo_expectations_and_variances_agree_with_the_oracle(case, bond, dtype, seed):
    n_sites, terms = case
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=3, dtype=dtype, generator=generator)
    operator = pauli_sum(terms, n_sites)
    matrix = dense_sum(terms)
    everywhere = range(n_sites)
    means = [dense_expectation(v, matrix, everywhere) for v in to_dense(state)]
    squares = [dense_expectation(v, matrix @ matrix, everywhere) for v in to_dense(state)]
    tol = {"atol": 1e-4, "rtol": 1e-4}  # operators of size up to 24, squared
    if tolerance(dtype) < 1e-9:
        operator = pauli_sum(terms, n_sites, dtype=torch.complex128)
        tol = {"atol": 1e-10, "rtol": 1e-10}
    found = expectation(state, operator)
    assert_close(found, as_dtype(means, dtype), **tol)
    spread = as_dtype(squares, dtype).real - as_dtype(means, dtype).real ** 2
    assert_close(variance(state, operator), spread, **tol)
    assert_close(expectation(state[2:], operator), found[2:], **tol)


def test_variances_of_eigenstates_are_never_negative():
    up = product_state(torch.eye(2)[[0] * 20].expand(5, -1, -1))
    bonds = ising_hamiltonian(20, torch.linspace(0.1, 1.1, 5), 0.0, dtype=torch.float32)
    assert (variance(up, bonds) >= 0).all()


def test_an_mpo_for_each_state(generator):
    state = random_mps(4, 3, batch_size=3, dtype=torch.float64, generator=generator)
    couplings = torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64)
    batched = ising_hamiltonian(4, couplings, 0.7, dtype=torch.float64)
    for i, coupling in enumerate(couplings.tolist()):
        alone = ising_hamiltonian(4, coupling, 0.7, dtype=torch.float64)
        for measure in (expectation, variance):
            assert_close(measure(state, batched)[i : i + 1], measure(state[i], alone))


def test_real_states_see_only_the_real_part_of_an_operator(generator):
    state = random_mps(3, 2, batch_size=2, dtype=torch.float64, generator=generator)
    zeros = torch.zeros(2, dtype=torch.float64)
    assert_close(expectation(state, "Y", 1), zeros)
    assert_close(expectation(state, oracle.pauli_matrix("Y"), 1), zeros)
    assert_close(expectation(state, pauli_sum({"1Y1": 1.0}, 3)), zeros, atol=1e-6, rtol=0)
    assert_close(bloch_vectors(state)[..., 1], torch.zeros(2, 3, dtype=torch.float64))
    both = [dense_expectation(v, oracle.pauli_matrix("YY"), [0, 2]) for v in to_dense(state)]
    assert_close(expectation(state, "YY", (0, 2)), torch.stack(both).real)


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 6),
    bond=st.integers(1, 5),
    phys=st.integers(2, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_correlations_agree_with_the_oracle(n_sites, bond, phys, dtype, seed):
    n_sites = n_sites if phys == 2 else min(n_sites, 4)
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, phys_dim=phys, dtype=dtype, generator=generator)
    a, b = hermitian(phys, generator), hermitian(phys, generator)
    found = correlation(state, a, b)
    assert found.dtype == dtype
    expected = torch.zeros(2, n_sites, n_sites, dtype=torch.complex128)
    for k, vector in enumerate(to_dense(state)):
        for i in range(n_sites):
            for j in range(n_sites):
                sites, matrix = ([i], a @ b) if i == j else ([i, j], torch.kron(a, b))
                both = dense_expectation(vector, matrix, sites, phys)
                alone = [dense_expectation(vector, m, [s], phys) for m, s in ((a, i), (b, j))]
                expected[k, i, j] = both - alone[0] * alone[1]
    expected = expected if dtype.is_complex else expected.real
    assert_close(found, expected.to(dtype), atol=10 * tolerance(dtype), rtol=0)  # sizes to 10
    assert_close(correlation(state[1], a, b), found[1:], atol=10 * tolerance(dtype), rtol=0)
    each = torch.stack([a, b])
    assert_close(correlation(state, each, each)[1:], correlation(state[1], b, b))


def test_letters_in_correlations_are_pauli_matrices(generator):
    state = random_mps(3, 2, dtype=torch.complex128, generator=generator)
    y, z = oracle.pauli_matrix("Y"), oracle.pauli_matrix("Z")
    assert_close(correlation(state, "Y", "Z"), correlation(state, y, z))


def test_correlations_far_below_rounding_keep_their_digits():
    """The AKLT chain of spins 1, whose correlations fall by -1/3 a site."""
    plus, zero = torch.tensor([[0.0, 1], [0, 0]]), torch.tensor([[1.0, 0], [0, -1]])
    bulk = torch.stack([2**0.5 * plus, -zero, -(2**0.5) * plus.T], dim=1).double()[None]
    sites = (bulk[:, :1], *[bulk] * 118, bulk[..., :1])
    spin = torch.diag(torch.tensor([1.0, 0, -1], dtype=torch.float64))
    far = correlation(MPS(sites, torch.zeros(1, dtype=torch.float64)), spin, spin)[0, 30]
    assert 0 < far[80].abs() < 1e-20
    assert_close(far[31].item(), -4 / 9)
    ratios = far[32:81] / far[31:80]
    assert_close(ratios, torch.full_like(ratios, -1 / 3), rtol=1e-6, atol=0)  # edges: 3**-20


def test_expectations_and_bloch_vectors_are_traces_with_pauli_matrices(generator):
    state = random_mps(4, 3, batch_size=2, dtype=torch.complex128, generator=generator)
    vectors = bloch_vectors(state)
    rho = one_site_density_matrices(state)
    for axis, letter in enumerate("XYZ"):
        expected = torch.einsum("bspq,qp->bs", rho, oracle.pauli_matrix(letter))
        assert_close(vectors[..., axis], expected.real)
        for site in range(4):
            assert_close(expectation(state, letter, site), expected[:, site])


@pytest.mark.slow
def test_512_sites_neither_overflow_nor_underflow():
    angle = torch.full((1, 512), 0.3)
    state = product_state(torch.stack([angle.cos(), angle.sin()], dim=-1) * 5)
    energy = expectation(state, ising_hamiltonian(512, 1.0, 1.0, dtype=torch.float32))
    exact = -511 * math.cos(0.6) ** 2 - 512 * math.sin(0.6)
    assert_close(energy, torch.tensor([exact]), rtol=3e-4, atol=0)  # 512 steps in float32
    assert expectation(state, "Z" * 512).item() < 1e-40  # cos(0.6)**512
    loud = pauli_sum({"Z" * 512: 1.0}, 512, dtype=torch.float32)
    loud = type(loud)(tuple(site / math.cos(0.6) for site in loud.sites))
    assert_close(expectation(state, loud), torch.ones(1), rtol=1e-3, atol=0)
    assert_close(expectation(state, "ZZ", (5, 500)).item(), math.cos(0.6) ** 2)


def test_gradients_reach_the_coefficients_of_an_mpo(generator):
    state = random_mps(4, 3, batch_size=3, dtype=torch.float64, generator=generator)
    coupling = torch.rand(3, dtype=torch.float64, generator=generator, requires_grad=True)

    def energy(coupling):
        return expectation(state, heisenberg_hamiltonian(4, coupling, dtype=torch.float64))

    assert torch.autograd.gradcheck(energy, coupling)


@pytest.mark.parametrize(
    ("operator", "sites", "message"),
    [
        ("ZZ", None, "one letter of 1XYZ for each of 3 sites, got 'ZZ'"),
        ("IZ", (0, 1), "one letter of 1XYZ for each of 2 sites, got 'IZ'"),
        ("Z", 3, r"`sites` must be distinct and lie within 0\.\.2, got \[3\]"),
        (torch.eye(2), None, "`sites` must say where a matrix acts"),
        (torch.eye(2), (0, 1), r"with 4 levels for these sites, got shape \(2, 2\)"),
        (torch.zeros(3, 2, 2), 0, "one for all states, or for each of 2, got 3"),
        (torch.full((2, 2), math.nan), 0, "`operator` must be finite"),
        (torch.eye(2, device="meta"), 0, "device must agree: `state` has cpu, `operator` has meta"),
        (ising_hamiltonian(4), None, "number of sites must agree"),
        (ising_hamiltonian(3), 1, "`sites` must be left out for an `MPO`, got 1"),
        (ising_hamiltonian(3, torch.ones(3)), None, "or for each of 2, got 3"),
    ],
)
def test_operators_that_do_not_fit_are_refused(operator, sites, message, generator):
    with pytest.raises(ValueError, match=message):
        expectation(random_mps(3, 2, batch_size=2, generator=generator), operator, sites)


def test_states_that_have_no_such_observable_are_refused(generator):
    qutrits = random_mps(3, 2, phys_dim=3, generator=generator)
    for compute in (
        bloch_vectors,
        lambda state: expectation(state, "Z", 0),
        lambda state: correlation(state, "Z", "Z"),
    ):
        with pytest.raises(ValueError, match="must be one of qubits, got dimensions"):
            compute(qutrits)
    with pytest.raises(ValueError, match=r"`b` must be one of .*, got 'A'"):
        correlation(random_mps(3, 2, generator=generator), "Z", "A")
    with pytest.raises(ValueError, match=r"`b` must be .* with 2 levels .* \(3, 3\)"):
        correlation(random_mps(3, 2, generator=generator), "Z", torch.eye(3))
