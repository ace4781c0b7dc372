import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from mpsheads.mps.linalg import kept_space, qr, singular_values, svd, wide
from tests.strategies import DOUBLE, DTYPES, SEEDS, haar_unitary, source, tolerance

SINGLE = [torch.float32, torch.complex64]


def with_values(values, m, n, dtype, generator):
    """A matrix with the given singular values, zeros added."""
    u, v = haar_unitary(m, generator), haar_unitary(n, generator)
    if not dtype.is_complex:
        u, v = torch.linalg.qr(u.real)[0], torch.linalg.qr(v.real)[0]
    s = torch.zeros(m, n, dtype=u.dtype)
    s.diagonal()[: len(values)] = torch.tensor(values, dtype=u.dtype)
    return (u @ s @ v.mH).to(dtype)


def fixed(*shape, dtype):
    return torch.randn(*shape, dtype=dtype, generator=source(99))


def seen(x):
    """Some real number that depends on every entry."""
    phases = torch.arange(x.numel(), dtype=torch.float64).mul(2.4).add(0.3)
    weights = (torch.polar(phases.cos(), phases) if x.is_complex() else phases.cos()).to(x.dtype)
    return (x * weights.reshape(x.shape)).sum().abs() ** 2


@given(m=st.integers(1, 6), n=st.integers(1, 6), dtype=st.sampled_from(DTYPES), seed=SEEDS)
def test_factors_multiply_to_the_matrix_and_are_orthonormal(m, n, dtype, seed):
    generator = source(seed)
    matrix = torch.randn(2, 3, m, n, dtype=dtype, generator=generator)
    matrix[0, 0] = 0
    matrix[1, :, :, n // 2] = 0  # a zero column
    matrix[1, 1, 0] = matrix[1, 1, -1]  # equal rows
    q, r = qr(matrix)
    u, s, vh = svd(matrix)
    assert_close(q @ r, matrix)
    assert_close(u * s[..., None, :] @ vh, matrix)
    eye = torch.eye(min(m, n), dtype=dtype).expand(2, 3, -1, -1)
    for isometry in (q, u, vh.mH):
        assert_close(isometry.mH @ isometry, eye)
    assert_close(r, r.triu())
    expected = torch.linalg.svdvals(matrix.to(wide(dtype))).to(matrix.real.dtype)
    atol = tolerance(dtype)
    assert_close(singular_values(matrix), expected, atol=atol, rtol=atol)
    assert_close(s, expected, atol=atol, rtol=atol)


def kept(dtype, m, n, c, seed, batch=2):
    generator = source(seed)
    rows = torch.randn(batch, m, n, dtype=dtype, generator=generator)
    factor = torch.randn(batch, n, c, dtype=wide(dtype), generator=generator)
    return rows, factor @ factor.mH, factor


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "c", "keep"), [(6, 4, 3, 2), (4, 6, 5, 3), (3, 3, 1, 2)])
def test_the_kept_space_is_that_of_the_leading_singular_vectors(dtype, m, n, c, keep):
    rows, gram, factor = kept(dtype, m, n, c, 5)
    root = factor if wide(dtype) == dtype else None
    vectors, weights, _ = kept_space(rows, gram, root, keep)
    u, s, _ = torch.linalg.svd(rows.to(gram.dtype) @ factor, full_matrices=False)
    expected = torch.nn.functional.pad(s**2, (0, m - s.shape[1]))
    assert_close(weights, expected)
    assert vectors.dtype == dtype
    eye = torch.eye(keep, dtype=dtype).expand(2, -1, -1)
    assert_close(vectors.mH @ vectors, eye)
    found = vectors.to(gram.dtype)
    rank = min(keep, c)  # beyond it any orthonormal vectors will do
    inside = found @ found.mH @ u[..., :rank]
    assert_close(inside, u[..., :rank], atol=tolerance(dtype), rtol=0)


REPEATED = {
    "random": [4.0, 2.5, 1.2, 0.3],
    "kept ones equal": [3.0, 3.0, 1.0, 0.5],
    "dropped ones equal": [3.0, 2.0, 1.0, 1.0],
    "both": [3.0, 3.0, 1.0, 1.0],
    "dropped ones zero": [3.0, 2.0],
    "all equal but one pair zero": [2.0, 2.0],
}


@pytest.mark.parametrize("dtype", DOUBLE)
@pytest.mark.parametrize("values", REPEATED.values(), ids=REPEATED)
def test_gradients_of_singular_values_hold_where_they_repeat_or_vanish(values, dtype, generator):
    matrix = with_values(values, 5, 4, dtype, generator).requires_grad_()

    def smooth(x):
        s = singular_values(x)
        return (s**4).sum() + s[:2].prod()

    assert gradcheck(smooth, (matrix,), fast_mode=True)


@pytest.mark.parametrize("dtype", DOUBLE)
@pytest.mark.parametrize("rank", [3, 2])
def test_gradients_of_qr_agree_with_finite_differences_also_below_full_rank(rank, dtype, generator):
    left = torch.randn(6, rank, dtype=dtype, generator=generator).requires_grad_()
    right = torch.randn(rank, 3, dtype=dtype, generator=generator)

    def product(x):
        q, r = qr(x @ right)
        space = seen(q @ q.mH) if rank == 3 else 0  # what is not unique has no derivative
        return seen(q @ r) + seen(r.mH @ r) + space

    assert gradcheck(product, (left,), fast_mode=True)


@pytest.mark.parametrize("dtype", DOUBLE)
@pytest.mark.parametrize("padding", [(0, 2, 0, 0), (2, 0, 0, 0), (0, 2, 0, 3), (1, 1, 1, 1)])
def test_zero_columns_and_zero_padding_leave_the_gradient_of_qr_right(padding, dtype, generator):
    block = torch.randn(5, 2, dtype=dtype, generator=generator).requires_grad_()

    def product(x):
        q, r = qr(torch.nn.functional.pad(x, padding))
        return seen(q @ r) + seen(r.mH @ r)

    assert gradcheck(product, (block,), fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DOUBLE)
@pytest.mark.parametrize("values", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("with_factor", [True, False])
def test_gradients_of_the_kept_space_agree_with_finite_differences(
    values, dtype, with_factor, generator
):
    root = 0.3 * torch.randn(4, 4, dtype=dtype, generator=generator) + torch.eye(4, dtype=dtype)
    rows = with_values(values, 5, 4, dtype, generator) @ torch.linalg.inv(root)
    inputs = (rows[None].requires_grad_(), root[None].requires_grad_())

    def kept_part(x, f):
        vectors, weights, _ = kept_space(x, f @ f.mH, f.detach() if with_factor else None, 2)
        carry = vectors.mH @ x
        return seen(vectors @ carry) + seen(vectors @ vectors.mH) + weights[:, :2].sum()

    assert gradcheck(
        kept_part, inputs, atol=2e-5, fast_mode=True
    )  # without a factor, half of the digits


@pytest.mark.parametrize("dtype", DOUBLE)
def test_a_kept_space_larger_than_the_rank_has_the_gradient_of_what_stays_within_the_rank(dtype):
    left = fixed(1, 6, 2, dtype=dtype).requires_grad_()
    right, root = fixed(1, 2, 4, dtype=dtype), fixed(1, 4, 4, dtype=dtype)

    def kept_part(x):
        vectors, weights, _ = kept_space(x @ right, root @ root.mH, root, 3)
        return seen(vectors @ vectors.mH @ x @ right), weights.sum()

    assert gradcheck(kept_part, (left,))


def subnormal(dtype, generator, pattern="mixed", tiny=1e-40):
    """Numbers of size 1 and numbers below the normal range, side by side."""
    matrix = torch.randn(64, 8, 8, dtype=dtype, generator=generator)
    ordinary = torch.zeros(64, 8, 8, dtype=torch.bool)
    if pattern == "mixed":
        ordinary = torch.rand(matrix.shape, generator=generator) < 0.5
    elif pattern == "columns":
        ordinary[:, :, ::2] = True
    elif pattern == "block":
        ordinary[:, :2, :2] = True
    else:
        ordinary[:, 0, 0] = True
    return torch.where(ordinary, matrix, matrix * tiny)


@pytest.mark.parametrize("dtype", SINGLE)
@pytest.mark.parametrize("pattern", ["mixed", "columns", "block", "one"])
@pytest.mark.parametrize("tiny", [1e-38, 1e-40, 1e-44])
def test_subnormal_entries_break_no_decomposition_and_no_global_flag_is_set(
    tiny, pattern, dtype, generator
):
    matrix = subnormal(dtype, generator, pattern, tiny)
    assert ((matrix != 0) & (matrix.abs() < torch.finfo(dtype).tiny)).any()
    q, r = qr(matrix)
    u, s, vh = svd(matrix)
    eye = torch.eye(8, dtype=dtype).expand_as(matrix)
    for isometry in (q, u, vh.mH):
        assert_close(isometry.mH @ isometry, eye, atol=1e-5, rtol=0)
    assert_close(q @ r, matrix, atol=1e-5, rtol=0)
    assert_close(u * s[:, None] @ vh, matrix, atol=2e-5, rtol=0)  # 8 x 8 matrices of size 10
    gram = (matrix @ matrix.mH).to(wide(dtype))
    vectors, weights, _ = kept_space(matrix, gram, None, 3)
    assert_close(vectors.mH @ vectors, eye[:, :3, :3], atol=1e-5, rtol=0)
    assert weights.isfinite().all()
    assert (torch.full((64,), 1e-40) * 0.5 > 0).all()  # subnormal numbers are still numbers


HARD = {
    "zero": lambda dtype: torch.zeros(4, 4, dtype=dtype),
    "identity": lambda dtype: torch.eye(4, dtype=dtype),
    "rank one": lambda dtype: torch.ones(4, 4, dtype=dtype),
    "zero column": lambda dtype: torch.eye(4, dtype=dtype) * torch.tensor([1, 0, 2, 0]),
    "subnormal": lambda dtype: subnormal(dtype, source(3))[0, :4, :4],
    "tiny": lambda dtype: 1e-30 * torch.eye(4, dtype=dtype),
    "huge": lambda dtype: 1e6 * torch.eye(4, dtype=dtype),
    "tall": lambda dtype: torch.eye(6, dtype=dtype)[:, [0, 1, 1]],
    "wide": lambda dtype: torch.eye(6, dtype=dtype)[[0, 1, 1]],
}


@pytest.mark.parametrize("dtype", SINGLE)
@pytest.mark.parametrize("name", HARD)
def test_single_precision_gradients_are_finite_on_hard_matrices(name, dtype):
    matrix = HARD[name](dtype).requires_grad_()
    q, r = qr(matrix)
    gram = fixed(1, *[matrix.shape[1]] * 2, dtype=wide(dtype))
    vectors, weights, _ = kept_space(matrix[None], gram @ gram.mH, None, 2)
    loss = sum(map(seen, (q, r, vectors, weights)))
    loss = loss + singular_values(matrix)[0]
    (grad,) = torch.autograd.grad(loss, matrix)
    assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", DOUBLE)
def test_vmap_equals_the_batch_with_gradients(dtype, generator):
    batch = torch.randn(4, 5, 3, dtype=dtype, generator=generator)
    gram = torch.eye(3, dtype=dtype) * 2

    def everything(x):
        q, r = qr(x)
        vectors, weights, _ = kept_space(x[None], gram[None], gram[None] / 2**0.5, 2)
        values = singular_values(x), weights[0]
        return q @ r, vectors[0] @ vectors[0].mH, *values

    def loss(x):
        return sum(seen(part) for part in everything(x))

    mapped = torch.func.vmap(everything)(batch)
    gradients = torch.func.vmap(torch.func.grad(loss))(batch)
    for i, matrix in enumerate(batch):
        for found, expected in zip(mapped, everything(matrix), strict=True):
            assert_close(found[i], expected)
        point = matrix.clone().requires_grad_()
        assert_close(gradients[i], torch.autograd.grad(loss(point), point)[0])
