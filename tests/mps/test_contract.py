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
    fidelity_matrix,
    log_fidelity,
    log_fidelity_matrix,
    log_norm,
    overlap,
    overlap_matrix,
    product_state,
    random_mps,
    to_dense,
)
from mpsheads.mps.contract import inner_distance
from tests.strategies import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def random_pair(n_sites, bonds, sizes, dtype, seed, phys_dim=2):
    generator = torch.Generator().manual_seed(seed)
    pair = []
    for bond, size in zip(bonds, sizes, strict=True):
        options = {"phys_dim": phys_dim, "dtype": dtype, "generator": generator}
        states = random_mps(n_sites, bond, batch_size=size, **options)
        factors = torch.linspace(-0.5, 0.2, size).to(states.log_norm)
        pair.append(MPS(states.sites, factors))
    return pair


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 8),
    batch=st.integers(1, 4),
    bonds=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_overlaps_and_fidelities_agree_with_the_oracle(n_sites, batch, bonds, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    bra, ket = (
        random_mps(n_sites, bond, batch_size=batch, dtype=dtype, generator=generator)
        for bond in bonds
    )
    a, b = to_dense(bra), to_dense(ket)
    atol = tolerance(dtype) * 10  # these states are not normalised: norms reach 3
    assert_close(overlap(bra, ket), (a.conj() * b).sum(1), atol=atol, rtol=atol)
    assert_close(log_norm(bra), a.norm(dim=1).log(), atol=atol, rtol=atol)
    expected = torch.stack([oracle.fidelity(x, y) for x, y in zip(a, b, strict=True)])
    assert_close(log_fidelity(bra, ket).exp().double(), expected, atol=tolerance(dtype), rtol=0)
    assert_close(log_fidelity(bra, bra), torch.zeros(batch).to(a.real), atol=atol, rtol=0)


def test_states_that_cannot_be_paired_are_refused(generator):
    three, four = (random_mps(n, 2, batch_size=2, generator=generator) for n in (3, 4))
    with pytest.raises(ValueError, match="number of sites must agree"):
        overlap(three, four)
    with pytest.raises(ValueError, match="batch size must agree: `bra` has 1, `ket` has 2"):
        overlap(three[:1], three)
    with pytest.raises(ValueError, match="dtype must agree"):
        log_fidelity_matrix(three, three.to(torch.complex128))
    with pytest.raises(ValueError, match="batch size must agree: `a` has 1, `b` has 2"):
        inner_distance(three[:1], three)
    with pytest.raises(ValueError, match="device must agree: `queries` has cpu"):
        overlap_matrix(three, three.to("meta"))
    with pytest.raises(ValueError, match="`chunk` must be at least 1 or None, got 0"):
        overlap_matrix(three, three, chunk=0)


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 8),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    bonds=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    phys=st.integers(1, 4),
    chunk=st.sampled_from([None, 1, 2]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_matrices_agree_with_dense_vectors(n_sites, sizes, bonds, phys, chunk, dtype, seed):
    n_sites = min(n_sites, 5) if phys > 2 else n_sites
    queries, documents = random_pair(n_sites, bonds, sizes, dtype, seed, phys)
    a, b = to_dense(queries), to_dense(documents)
    atol = tolerance(dtype) * 10
    expected = a.conj() @ b.T
    matrix = overlap_matrix(queries, documents, chunk=chunk)
    assert matrix.dtype == dtype
    assert_close(matrix, expected, atol=atol, rtol=atol)
    norms = a.norm(dim=1)[:, None] * b.norm(dim=1)
    fidelities = fidelity_matrix(queries, documents, chunk=chunk)
    assert_close(fidelities, (expected.abs() / norms) ** 2, atol=tolerance(dtype), rtol=0)


@pytest.mark.slow
@given(
    n_sites=st.integers(1, 8),
    bonds=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_distances_agree_with_dense_vectors_and_obey_the_laws(n_sites, bonds, dtype, seed):
    a, b = random_pair(n_sites, bonds, (3, 3), dtype, seed)
    distance = inner_distance(a, b)
    norm_a, norm_b = log_norm(a).exp(), log_norm(b).exp()
    atol = tolerance(dtype) * 30  # the norms reach 3
    assert_close(distance, (to_dense(a) - to_dense(b)).norm(dim=1), atol=atol, rtol=atol)
    assert_close(distance, inner_distance(b, a), atol=atol, rtol=atol)
    assert (distance <= norm_a + norm_b + atol).all()
    assert (distance >= (norm_a - norm_b).abs() - atol).all()
    root = torch.finfo(dtype).eps ** 0.5  # a difference of equal numbers under a root
    assert (inner_distance(a, a) <= 10 * root * norm_a).all()


def test_bonds_and_dimensions_may_differ_from_site_to_site(generator):
    bonds, phys = [1, 3, 1, 5, 2, 7, 1], [2, 3, 1, 4, 2, 3]

    def state(extra):
        shapes = [
            (3, left + extra * (left > 1), p, right + extra * (right > 1))
            for left, p, right in triples
        ]
        sites = (torch.randn(s, dtype=torch.complex128, generator=generator) for s in shapes)
        return MPS(tuple(sites), torch.zeros(3, dtype=torch.float64))

    triples = list(zip(bonds, phys, bonds[1:], strict=False))
    a, b = state(0), state(2)
    assert_close(overlap_matrix(a, b), to_dense(a).conj() @ to_dense(b).T)
    assert_close(overlap_matrix(a, b).diagonal(), overlap(a, b))


def test_more_queries_than_one_block_and_no_states_at_all(generator):
    queries, documents = random_pair(5, (2, 3), (70, 3), torch.float64, 1)
    matrix = overlap_matrix(queries, documents)
    assert_close(matrix, to_dense(queries) @ to_dense(documents).T)
    assert overlap_matrix(queries[:0], documents).shape == (0, 3)
    assert overlap_matrix(queries, documents[:0]).shape == (70, 0)
    assert log_fidelity_matrix(queries[:0], documents[:0]).shape == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_all_pairs_of_512_sites_neither_overflow_nor_underflow(dtype, generator):
    states = random_mps(512, 2, batch_size=3, dtype=dtype, generator=generator)
    loud = MPS(tuple(3 * site for site in states.sites), states.log_norm)
    quiet = MPS(tuple(site / 9 for site in states.sites), states.log_norm)
    logs = log_fidelity_matrix(loud, quiet)
    exact = states.to(torch.promote_types(dtype, torch.float64))
    expected = log_fidelity_matrix(exact, exact)
    assert expected.min() < -50
    assert_close(logs.double(), expected, atol=0.02, rtol=0)  # 512 steps in single precision
    assert_close(log_fidelity(loud[:1], quiet[1:2])[0], logs[0, 1], atol=0.02, rtol=0)
    assert inner_distance(states[:2], states[1:]).isfinite().all()
    total = fidelity_matrix(loud, quiet)
    assert_close(total.diagonal(), torch.ones(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-12])
def test_sizes_that_fall_fast_are_rescaled_often_enough(small):
    n_sites = 40  # 40 overlaps of `small` in a row: 16 of them are below the smallest float32
    amplitudes = torch.tensor([[1.0, 0.0], [small, 1.0]])[:, None].expand(2, n_sites, 2)
    both = product_state(amplitudes.contiguous())
    # products on 2 sites are as exact as any number of single precision
    expected = torch.tensor(2 * n_sites * (math.log(small) - math.log1p(small**2) / 2))
    assert_close(log_fidelity_matrix(both[:1], both[1:])[0, 0], expected)
    assert_close(log_fidelity(both[:1], both[1:])[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("function", [overlap_matrix, log_fidelity_matrix])
def test_gradients_of_matrices_agree_with_finite_differences(function, dtype):
    queries, documents = random_pair(4, (2, 3), (2, 2), dtype, 5)
    n = len(queries.sites)

    def value(*sites):
        a, b = MPS(sites[:n], queries.log_norm), MPS(sites[n:], documents.log_norm)
        return function(a, b, chunk=1)

    inputs = [x.clone().requires_grad_() for x in (*queries.sites, *documents.sites)]
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("function", [overlap, inner_distance, log_fidelity])
def test_gradients_of_pairs_agree_with_finite_differences(function):
    a, b = random_pair(4, (2, 3), (2, 2), torch.complex128, 5)
    n = len(a.sites)

    def value(*sites):
        return function(MPS(sites[:n], a.log_norm), MPS(sites[n:], b.log_norm))

    inputs = [x.clone().requires_grad_() for x in (*a.sites, *b.sites)]
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [
        overlap,
        inner_distance,
        overlap_matrix,
        fidelity_matrix,
        lambda a, b: log_fidelity(a, b).exp(),
    ],
)
def test_gradients_at_orthogonal_states_agree_with_finite_differences(function):
    def value(x, y):
        return function(product_state(x), product_state(y))

    zero = torch.tensor([[[1.0, 0.0]] * 3], dtype=torch.complex128, requires_grad=True)
    one = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]], dtype=torch.complex128)
    assert torch.autograd.gradcheck(value, (zero, one.requires_grad_()))


@pytest.mark.parametrize("function", [overlap, inner_distance, log_fidelity, log_fidelity_matrix])
def test_functions_are_mapped(function):
    a, b = random_pair(4, (2, 3), (3, 3), torch.complex128, 4)

    def of_tensors(a_sites, b_sites):
        return function(MPS(a_sites, a.log_norm), MPS(b_sites, b.log_norm))

    doubled = [tuple(2 * x for x in states.sites) for states in (a, b)]
    stacked = [tuple(torch.stack([x, 2 * x]) for x in states.sites) for states in (a, b)]
    mapped = torch.func.vmap(of_tensors)(*stacked)
    assert_close(mapped, torch.stack([function(a, b), of_tensors(*doubled)]))
    gradients = torch.func.grad(lambda x: of_tensors(x, b.sites).abs().sum())(a.sites)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_states_to_divide_by_must_have_a_finite_norm_above_zero(generator):
    good = random_mps(3, 2, batch_size=2, generator=generator)
    null = MPS(
        (good.sites[0] * torch.tensor([1, 0])[:, None, None, None], *good.sites[1:]), good.log_norm
    )
    bad = MPS((good.sites[0] * torch.nan, *good.sites[1:]), good.log_norm)
    message = "must be finite with a norm above zero, but state 1 of the batch is zero"
    with pytest.raises(ValueError, match=f"`bra` {message}"):
        log_fidelity(null, good)
    with pytest.raises(ValueError, match=f"`ket` {message}"):
        log_fidelity(good, null)
    with pytest.raises(ValueError, match=f"`queries` {message}"):
        fidelity_matrix(null, good)
    with pytest.raises(ValueError, match=f"`documents` {message}"):
        log_fidelity_matrix(good, null)
    with pytest.raises(ValueError, match=r"`documents` .* state 0 of the batch holds NaN"):
        log_fidelity_matrix(good, bad)
    assert log_norm(null)[1] == -torch.inf
    assert overlap(null, good)[1] == 0
    assert overlap_matrix(good, null)[:, 1].eq(0).all()
    assert_close(inner_distance(null, good)[1:], log_norm(good)[1:].exp())


def test_a_zero_overlap_is_zero_whatever_the_norms():
    log_norms = torch.tensor([500.0])
    zero, one = (basis_state(torch.tensor(bits)) for bits in ([0, 0, 0], [0, 1, 0]))
    zero, one = (MPS(state.sites, log_norms) for state in (zero, one))
    assert overlap(zero, one).item() == 0
    assert overlap_matrix(zero, one).item() == 0
    assert overlap(zero, zero).isinf().all()
