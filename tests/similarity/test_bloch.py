"""Log-fidelity of Bloch vectors, against Uhlmann's formula by roots of density matrices."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import bloch_log_fidelity, log_fidelity
from mpsheads.similarity.angles import angle_rows

PAULI = torch.tensor(
    [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
)


def bloch(rows, qubits, seed, longest=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    r = torch.randn(rows, qubits, 3, dtype=dtype, generator=generator)
    length = longest * torch.rand(rows, qubits, 1, dtype=dtype, generator=generator) ** (1 / 3)
    return (r / r.norm(dim=-1, keepdim=True) * length).flatten(1)


def density(r):
    identity = torch.eye(2, dtype=torch.complex128)
    return (identity + torch.einsum("k,kij->ij", r.to(torch.complex128), PAULI)) / 2


def root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.mH


def uhlmann(r, s):
    """(tr sqrt(sqrt(rho) sigma sqrt(rho)))^2."""
    left = root(density(r))
    return root(left @ density(s) @ left).diagonal().sum().real ** 2


@given(
    qubits=st.integers(1, 4),
    rows=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    chunk=st.none() | st.integers(1, 3),
    seed=st.integers(0, 1000),
    pure=st.booleans(),
)
def test_it_is_the_fidelity_of_uhlmann(qubits, rows, chunk, seed, pure):
    zq, zd = bloch(rows[0], qubits, seed), bloch(rows[1], qubits, seed + 1)
    if pure:
        zq = (
            zq.unflatten(1, (-1, 3)) / zq.unflatten(1, (-1, 3)).norm(dim=-1, keepdim=True)
        ).flatten(1)
    found = bloch_log_fidelity(zq, zd, chunk=chunk)
    expected = torch.stack(
        [
            torch.stack(
                [
                    math.prod(map(uhlmann, q.view(-1, 3), d.view(-1, 3)), start=torch.tensor(1.0))
                    for d in zd
                ]
            )
            for q in zq
        ]
    )
    # the root of an eigenvalue of rounding size is far larger than that
    assert_close(found.exp(), expected.double(), rtol=1e-6, atol=1e-7)
    few = min(rows)
    rows_found = bloch_log_fidelity(zq[:few], zd[:few], pairwise=True)
    assert_close(rows_found, found[:few, :few].diagonal())


def test_pure_real_states_have_the_log_fidelity_of_their_angles():
    generator = torch.Generator().manual_seed(0)
    a, b = (3 * torch.rand(4, 300, dtype=torch.float64, generator=generator) for _ in range(2))
    vectors = [torch.stack([z.sin(), 0 * z, z.cos()], dim=-1).flatten(1) for z in (a, b)]
    assert_close(bloch_log_fidelity(*vectors), log_fidelity(a, b))
    assert_close(bloch_log_fidelity(*vectors, pairwise=True), angle_rows(a, b))


def test_single_precision_and_long_vectors_stay_finite():
    zq, zd = bloch(5, 400, 0, dtype=torch.float32), bloch(300, 400, 1, dtype=torch.float32)
    exact = bloch_log_fidelity(zq.double(), zd.double())
    assert_close(bloch_log_fidelity(zq, zd).double(), exact, rtol=1e-5, atol=1e-4)
    found = bloch_log_fidelity(zq.bfloat16(), zd.bfloat16())
    assert found.dtype == torch.float32


def test_identical_states_have_fidelity_one_and_no_slope():
    z = bloch(4, 6, 0).requires_grad_()
    value = bloch_log_fidelity(z, z.detach(), pairwise=True)
    assert_close(value, torch.zeros(4, dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize(
    "other", [(0, 0, 1), (0, 0, -1), (0, 0, 0), (0.6, 0, 0.8), (0, 0, 0.9999999)]
)
def test_gradients_are_finite_at_pure_identical_and_orthogonal_states(other, pairwise, dtype):
    pure = torch.tensor([[0.0, 0, 1] * 20], dtype=dtype).requires_grad_()
    other = torch.tensor([list(other) * 20], dtype=dtype).requires_grad_()
    value = bloch_log_fidelity(pure, other, pairwise=pairwise)
    assert value.isfinite().all()
    value.sum().backward()
    assert pure.grad.isfinite().all()
    assert other.grad.isfinite().all()


def test_orthogonal_states_are_held_at_the_rounding_error():
    up, down = torch.tensor([[0.0, 0, 1] * 6]), torch.tensor([[0.0, 0, -1] * 6])
    expected = torch.tensor([[6 * math.log(torch.finfo(torch.float32).eps)]])
    assert_close(bloch_log_fidelity(up, down), expected)
    assert_close(bloch_log_fidelity(up, down, pairwise=True), expected[0])


def test_gradients_agree_with_finite_differences():
    zq, zd = bloch(3, 3, 0, 0.9).requires_grad_(), bloch(4, 3, 1, 0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, d: bloch_log_fidelity(q, d, chunk=3), (zq, zd))
    assert torch.autograd.gradcheck(
        lambda q, d: bloch_log_fidelity(q, d[:3], pairwise=True), (zq, zd)
    )
    assert torch.autograd.gradgradcheck(bloch_log_fidelity, (zq[:1], zd[:2]))


def test_longer_vectors_are_shortened():
    z = bloch(3, 2, 0)
    unit = torch.nn.functional.normalize(z.unflatten(1, (-1, 3)), dim=-1).flatten(1)
    assert_close(bloch_log_fidelity(1.5 * unit, z), bloch_log_fidelity(unit, z))


def test_bad_arguments_are_named():
    z = bloch(2, 2, 0)
    with pytest.raises(ValueError, match="must have three columns a qubit, got 4"):
        bloch_log_fidelity(z[:, :4], z[:, :4])
    with pytest.raises(ValueError, match="number of Bloch components must agree"):
        bloch_log_fidelity(z, z[:, :3])
    with pytest.raises(ValueError, match="number of rows must agree"):
        bloch_log_fidelity(z, z[:1], pairwise=True)
    with pytest.raises(ValueError, match="`chunk` must be at least 1"):
        bloch_log_fidelity(z, z, chunk=0)
