import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils import _pytree

from mpsheads import oracle
from mpsheads.mps import (
    MPO,
    heisenberg_hamiltonian,
    ising_hamiltonian,
    mpo_to_dense,
    pauli_sum,
)

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@st.composite
def sums(draw, max_sites=6, max_terms=12):
    n_sites = draw(st.integers(1, max_sites))
    string = st.text(alphabet="11XYZ", min_size=n_sites, max_size=n_sites)
    value = st.floats(-2, 2, allow_subnormal=False)
    return n_sites, draw(st.lists(st.tuples(string, value), min_size=1, max_size=max_terms))


def dense_sum(terms):
    return sum(value * oracle.pauli_matrix(string) for string, value in terms)


@pytest.mark.slow
@given(case=sums())
def test_pauli_sums_agree_with_the_oracle_also_with_repeated_strings(case):
    n_sites, terms = case
    operator = pauli_sum(terms, n_sites, dtype=torch.complex128)
    assert_close(mpo_to_dense(operator)[0], dense_sum(terms))
    named = [({i: s[i] for i in range(n_sites)}, value) for s, value in terms]
    assert_close(
        mpo_to_dense(pauli_sum(named, n_sites, dtype=torch.complex128))[0], dense_sum(terms)
    )
    assert max(operator.bond_dims, default=1) <= 4 ** (n_sites // 2) + 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_sites", [1, 2, 5])
def test_hamiltonians_agree_with_the_oracle(n_sites, dtype):
    neighbours = [(i, i + 1) for i in range(n_sites - 1)]

    def at(letters):
        return oracle.pauli_matrix("".join(letters.get(i, "1") for i in range(n_sites)))

    ising = -0.7 * sum(at({i: "Z", j: "Z"}) for i, j in neighbours)
    ising = ising - 0.3 * sum(at({i: "X"}) for i in range(n_sites))
    found = ising_hamiltonian(n_sites, 0.7, 0.3, dtype=dtype)
    assert found.dtype == dtype
    assert_close(mpo_to_dense(found)[0].to(torch.complex128), ising, atol=1e-6, rtol=1e-6)
    heisenberg = 0.7 * sum(at({i: p, j: p}) for i, j in neighbours for p in "XYZ")
    heisenberg = heisenberg + 0.3 * sum(at({i: "Z"}) for i in range(n_sites))
    found = heisenberg_hamiltonian(n_sites, 0.7, 0.3, dtype=dtype)
    assert_close(mpo_to_dense(found)[0].to(torch.complex128), heisenberg, atol=1e-6, rtol=1e-6)


def test_the_automaton_finds_the_small_bonds_of_known_operators():
    assert ising_hamiltonian(7).bond_dims == (3,) * 6
    assert heisenberg_hamiltonian(7).bond_dims == (5,) * 6
    assert pauli_sum({"1ZXY1": 2.0}, 5).bond_dims == (1,) * 4
    pairs = [({i: "Z", j: "Z"}, 1.0 / (j - i)) for j in range(8) for i in range(j)]
    assert pauli_sum(pairs, 8).bond_dims == (2, 4, 5, 6, 5, 4, 2)
    to_last = [({i: "X", 7: "Z"}, 1.0) for i in range(7)]  # one end, shared by all
    assert max(pauli_sum(to_last, 8).bond_dims) == 2


def test_gradients_and_batches_of_coefficients(generator):
    a = torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True)
    b = torch.randn((), dtype=torch.float64, generator=generator, requires_grad=True)

    def matrix(a, b):
        return mpo_to_dense(pauli_sum({"ZZ": a, "YY": b, "X1": 2.0}, 2, dtype=torch.float64))

    found = matrix(a, b)
    assert found.shape == (3, 4, 4)
    for value, member in zip(a, found, strict=True):
        terms = {"ZZ": value.item(), "YY": b.item(), "X1": 2.0}
        assert_close(member.detach(), dense_sum(terms.items()).real)
    assert torch.autograd.gradcheck(matrix, (a, b))


def test_an_operator_is_a_pytree_and_moves():
    operator = ising_hamiltonian(3).to(dtype=torch.complex128)
    assert operator.dtype == torch.complex128
    doubled = _pytree.tree_map(lambda site: 2 * site, operator)
    assert isinstance(doubled, MPO)
    assert_close(mpo_to_dense(doubled), 8 * mpo_to_dense(operator))
    assert repr(operator).startswith("MPO(batch_size=1, n_sites=3, max_bond=3")


def test_more_than_a_hundred_letters_y_are_as_real_as_two():
    assert pauli_sum({"Y" * 102: 1.0}, 102, dtype=torch.float64).dtype == torch.float64


def test_hundreds_of_sites_are_quick_and_keep_their_bonds():
    assert set(heisenberg_hamiltonian(768, field=0.1).bond_dims) == {5}


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({}, {}, "`terms` must hold at least one term"),
        ({"ZZ": 1.0}, {}, "one letter for each of 3 sites, got 'ZZ'"),
        ({"ZZI": 1.0}, {}, "letters of 1XYZ on sites within 0..2, got 'I' on site 2"),
        ([({3: "Z"}, 1.0)], {}, "got 'Z' on site 3"),
        ({"YZ1": 1.0}, {"dtype": torch.float32}, "`dtype` must be complex where a term has an odd"),
        ({"Z11": 1j}, {"dtype": torch.float32}, "`dtype` must be complex"),
        ({"Z11": 1.0, "X11": float("nan")}, {}, "`terms` must be finite, but row 1 holds NaN"),
        ({"Z11": torch.ones(2), "X11": torch.ones(3)}, {}, r"agree in their batch size, got \[2"),
    ],
)
def test_bad_terms_are_refused(terms, options, message):
    with pytest.raises(ValueError, match=message):
        pauli_sum(terms, 3, **options)
    with pytest.raises(ValueError, match="`n_sites` must be at least 1, got 0"):
        ising_hamiltonian(0)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((), "at least one tensor"),
        (((1, 1, 2, 2, 3), (1, 2, 2, 2, 1)), "Site 1 must have left bond 3, got 2"),
        (((1, 1, 2, 3, 1),), "Site 0 must map a site to itself"),
        (((2, 1, 2, 2, 1), (1, 1, 2, 2, 1)), "Site 1 must have the batch size, dtype and device"),
        (((1, 1, 2, 2, 3),), "last right bond of `sites` must be 1, got 3"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        MPO(tuple(torch.zeros(shape) for shape in shapes))
