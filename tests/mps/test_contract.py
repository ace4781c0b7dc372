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
from mpsheads.mps.contract import einsum
from tests.mps.circuits import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


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


@pytest.mark.parametrize("chunk", [None, 1, 2, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_pairs_equal_the_pairs_one_by_one_whatever_the_chunk(dtype, chunk, generator):
    queries = random_mps(6, 3, batch_size=3, dtype=dtype, generator=generator)
    documents = random_mps(6, 2, batch_size=5, dtype=dtype, generator=generator)
    numbers = overlap_matrix(queries, documents, chunk=chunk)
    logs = log_fidelity_matrix(queries, documents, chunk=chunk)
    assert numbers.dtype == dtype
    for i in range(3):
        for j in range(5):
            assert_close(numbers[i, j], overlap(queries[i], documents[j])[0])
            assert_close(logs[i, j], log_fidelity(queries[i], documents[j])[0])
    assert_close(fidelity_matrix(queries, documents, chunk=chunk), logs.exp())


def test_4096_sites_neither_overflow_nor_underflow(generator):
    loud = random_mps(4096, 2, batch_size=2, dtype=torch.float32, generator=generator)
    loud = MPS(tuple(3 * site for site in loud.sites), loud.log_norm)
    scale = 4096 * math.log(9)
    quiet = MPS(tuple(site / 9 for site in loud.sites), loud.log_norm + scale)
    assert_close(log_norm(quiet), log_norm(loud), atol=0.05, rtol=0)  # 4096 steps in float32
    assert log_fidelity(loud[:1], quiet[1:]).isfinite().all()
    angle = torch.full((1, 4096, 1), 0.1, dtype=torch.float32)
    near = product_state(torch.cat([angle.cos(), angle.sin()], -1))
    zeros = basis_state(torch.zeros(4096, dtype=torch.int64), dtype=torch.float32)
    expected = torch.tensor([2 * 4096 * math.log(math.cos(0.1))])
    assert_close(log_fidelity(near, zeros), expected, atol=2e-3, rtol=0)


def test_orthogonal_states_have_a_finite_log_fidelity_and_gradient():
    amplitudes = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], requires_grad=True)
    value = log_fidelity(product_state(amplitudes[:1]), product_state(amplitudes[1:]))
    assert value.item() < -80
    value.sum().backward()
    assert amplitudes.grad.isfinite().all()


def test_gradients_of_the_log_fidelity_agree_with_finite_differences(generator):
    def value(x, y):
        return log_fidelity(product_state(x), product_state(y))

    x, y = (
        torch.randn(2, 3, 2, dtype=torch.complex128, generator=generator, requires_grad=True)
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(value, (x, y))


def test_einsum_of_many_tensors_equals_torchs(generator):
    a, b, c = (torch.randn(3, 4, 4, generator=generator) for _ in range(3))
    assert_close(einsum("bij,bjk,bkl->bil", a, b, c), a @ b @ c)


def test_states_that_cannot_be_paired_are_refused(generator):
    three, four = (random_mps(n, 2, batch_size=2, generator=generator) for n in (3, 4))
    with pytest.raises(ValueError, match="physical dimensions must agree"):
        overlap(three, four)
    with pytest.raises(ValueError, match="batch size must agree: `bra` has 1, `ket` has 2"):
        overlap(three[:1], three)
    with pytest.raises(ValueError, match="dtype must agree"):
        log_fidelity_matrix(three, three.to(torch.complex128))
    with pytest.raises(ValueError, match="`chunk` must be at least 1 or None, got 0"):
        overlap_matrix(three, three, chunk=0)
