"""QR, singular values and kept spaces that one can train through; all calls of LAPACK are here.

The factors of a decomposition are unique only up to a rotation (a gauge), and torch differentiates
that arbitrary choice: the result is NaN where singular values repeat or vanish, which is every
product state. The backward passes here leave the gauge fixed and move only what a loss can see:
the space that is kept against the space that is dropped. So they are right for every loss that is
**gauge-invariant**, that is, unchanged when the kept vectors are rotated among themselves and the
rest of the network is rotated back: fidelities, expectation values, densities, entropies,
discarded weights. Only a kept value that equals a dropped one can hurt, where the kept space
itself is not unique; differences are broadened there, so gradients stay finite. Second derivatives
raise, and so does forward mode (`torch.func.jvp`): what they would need of the gauge is not kept.

Matrices are scaled to size 1 and entries below the range of normal numbers are cleared first:
LAPACK returns NaN, or does not converge, on finite matrices that hold subnormal numbers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads._derivatives import first_derivative


def wide(dtype: torch.dtype) -> torch.dtype:
    """The double-precision dtype of the same kind: what Gram matrices are computed in.

    Squaring singular values halves the digits; in twice the precision none are lost.
    """
    return torch.complex128 if dtype.is_complex else torch.float64


def qr(matrix: Inexact[Tensor, "*b m n"]) -> tuple[Tensor, Tensor]:
    """Reduced QR decomposition `matrix = Q R`.

    Args:
        matrix: `(*b, m, n)`, of any rank.

    Returns:
        Q `(*b, m, k)` with orthonormal columns and R `(*b, k, n)`, k = min(m, n). The gradient is
        right for losses that do not change under Q -> Q W, R -> W^dagger R. Where columns are
        linearly dependent, the pseudo-inverse of R takes its place: the part of a perturbation
        that no QR of the same size can follow gets no gradient.

    Source: Liao et al. 2019 (arXiv:1903.09650), eq. 5, for gauge-invariant losses.
    Cost: O(m * n * k).
    """
    return _run(_QR, matrix)


def svd(matrix: Inexact[Tensor, "*b m n"]) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition `matrix = U diag(s) Vh`, without gradients.

    Returns:
        U `(*b, m, k)`, s `(*b, k)`, largest first, and Vh `(*b, k, n)`, k = min(m, n).

    Cost: O(m * n * k).
    """
    scaled, size = _prepare(matrix.detach())
    u, s, vh = torch.linalg.svd(scaled, full_matrices=False)
    return u, s * size[..., 0], vh


def singular_values(matrix: Inexact[Tensor, "*b m n"]) -> Float[Tensor, "*b k"]:
    """All singular values, largest first.

    The gradient is right for every function that does not depend on the order of equal values.
    """
    cleared, size = _prepare(matrix.detach())
    cleared = matrix / size + (cleared - matrix.detach() / size)  # with the gradient of `matrix`
    return torch.linalg.svd(cleared, full_matrices=False)[1] * size[..., 0]


def kept_space(
    rows: Inexact[Tensor, "batch m n"],
    gram: Inexact[Tensor, "batch n n"],
    factor: Inexact[Tensor, "batch n c"] | None,
    keep: int,
    cutoff: float = 0.0,
) -> tuple[Inexact[Tensor, "batch m _keep"], Float[Tensor, "batch m"], Bool[Tensor, "batch m"]]:
    """The space that holds most of the weight of `rows factor`, the weights, and which are kept.

    These are the leading eigenvectors of `rows gram rows^dagger`, where gram is
    `factor factor^dagger`: with rows the left part of a state and gram the overlaps of the right
    part, the best space to keep.

    Args:
        rows: `(batch, m, n)`.
        gram: `(batch, n, n)`, Hermitian and non-negative, in the `wide` dtype. Gradients go through
            it.
        factor: A square root of `gram`, `(batch, n, c)`, without gradients, from which the space is
            taken as singular vectors, to full precision. `None`: from the eigenvectors, to half of
            the digits of the wide dtype, which is all of single precision.
        keep: Vectors to keep, at most m.
        cutoff: Share of the weight that may be dropped in order to keep fewer.

    Returns:
        Orthonormal columns `(batch, m, keep)` in the dtype of `rows`, right up to a rotation among
        themselves, zero where one of the batch keeps fewer; all m squared singular values, largest
        first, in the dtype of `gram`; and which of them are kept.
    """
    vectors, weights = _run(_KeptSpace, rows, gram, factor, keep, cutoff)
    used = _kept(weights, keep, cutoff)
    if cutoff > 0.0:
        keep = max([1, *used.sum(-1).tolist()])
        vectors = vectors * used[:, None]
    return vectors[..., :keep].to(rows.dtype), weights, used


def pulled_gram(
    site: Inexact[Tensor, "batch left phys right"], gram: Inexact[Tensor, "batch right right"]
) -> Inexact[Tensor, "batch left left"]:
    """The overlaps (Gram matrix) of a right part of states that has one more site.

    `sum_p site_p gram site_p^dagger`, in the dtype of `gram`, which is the `wide` one; the gradient
    is computed in that of `site`.
    """
    return _run(_Pulled, site, gram)


def to_unit(tensor: Inexact[Tensor, "*b"], *axes: int) -> tuple[Tensor, Tensor]:
    """The tensor over its largest size along some axes, and that size, kept as axes of length 1.

    The size is 1 where all is zero, real, and a constant for gradients.
    """
    size = tensor.detach().abs().amax(dim=axes, keepdim=True)
    size = torch.where(size > 0, size, torch.ones_like(size))
    return tensor / size, size


def unit_sites(sites: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Float[Tensor, " batch"]]:
    """Sites brought to size 1 each, and the logarithm of what they were over it, all together."""
    units, sizes = zip(*(to_unit(site, 1, 2, 3) for site in sites), strict=True)
    return units, torch.stack(sizes).double().log().sum(0).flatten()


def _run(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """The function, without the cost of autograd where no gradient can be asked for."""
    run = function.apply if torch.is_grad_enabled() else function.forward
    return run(*arguments)


class _QR(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        scaled, size = _prepare(matrix)
        q, r = torch.linalg.qr(scaled)
        return q, r * size

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    @first_derivative
    def backward(ctx: Any, *grads: Any) -> Any:
        (q, r), (grad_q, grad_r) = ctx.saved_tensors, grads
        grad = q @ grad_r
        if q.shape[-2] > q.shape[-1] and not (is_concrete(grad_q) and not grad_q.any()):
            outside = grad_q - q @ (q.mH @ grad_q)
            grad = grad + outside @ _pseudo_inverse(r).mH
        return grad


class _KeptSpace(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        rows: Tensor, gram: Tensor, factor: Tensor | None, keep: int, cutoff: float
    ) -> tuple[Tensor, Tensor]:
        if factor is None:
            spread = rows.to(gram.dtype)
            values, vectors = torch.linalg.eigh(-(spread @ gram @ spread.mH))  # largest first
            weights = (-values).clamp_min(0)
        else:
            scaled, size = _prepare(rows @ factor)
            vectors, s, _ = torch.linalg.svd(scaled, full_matrices=True)
            missing = vectors.shape[-1] - s.shape[-1]
            weights = torch.nn.functional.pad((s * size[..., 0]) ** 2, (0, missing))
        return vectors, weights

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        rows, gram, _, ctx.keep, ctx.cutoff = inputs
        ctx.save_for_backward(rows, gram, *output)

    @staticmethod
    @first_derivative
    def backward(ctx: Any, *grads: Any) -> Any:
        (rows, gram, vectors, weights), k = ctx.saved_tensors, ctx.keep
        grad_vectors, grad_weights = grads
        s, size = to_unit(weights.sqrt(), -1)
        size = size[..., None]  # everything but the results is brought to size 1
        kept, dropped, width = s[..., None, :k], s[..., None], _broadening(s)
        used = _kept(weights, k, ctx.cutoff)
        gap = torch.where(used[..., None, :k] & ~used[..., None], kept - dropped, 0.0)
        # 1 / (kept**2 - dropped**2) is wanted, finite where the two agree
        gaps = gap / (gap**2 + width**2) / (kept + dropped + width)
        turned = gaps * (vectors.mH @ grad_vectors[..., :k])
        # the gradient of rows gram rows^dagger is vectors core vectors^dagger / size**2; from here
        # on the precision of the states is enough
        core = torch.diag_embed((grad_weights * size[..., 0] ** 2).to(vectors.dtype))
        core = core + torch.nn.functional.pad(turned, (0, s.shape[-1] - k))
        core, vectors, gram = (x.to(rows.dtype) for x in (core, vectors, gram))
        size = size.to(rows.real.dtype)
        image = vectors.mH @ rows / size  # all kept first: m n
        grad_gram = image.mH @ core @ image
        grad_rows = vectors @ ((core + core.mH) @ (image @ gram)) / size
        return grad_rows, grad_gram, None, None, None


def _kept(weights: Tensor, keep: int, cutoff: float) -> Tensor:
    """Which weights are kept: at most `keep`, and no more than the cutoff asks for."""
    used = (torch.arange(weights.shape[-1], device=weights.device) < keep).expand_as(weights)
    tails = weights.flip(-1).cumsum(-1).flip(-1)  # what dropping all from here on would cost
    return used & (tails > cutoff * tails[..., :1]) if cutoff > 0.0 else used


class _Pulled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(site: Tensor, gram: Tensor) -> Tensor:
        b, left, phys, right = site.shape
        image = site.to(gram.dtype).reshape(b, left * phys, right) @ gram  # b (l p) [r] r*
        conjugate = site.conj().to(gram.dtype)  # in one pass, where matmul would take another
        conjugate = conjugate.reshape(b, left, phys * right)
        return image.reshape(b, left, phys * right) @ conjugate.mT  # b l [p r*] l*

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        site, gram = ctx.saved_tensors  # the precision of the states is enough
        grad = grads[0].to(site.dtype)
        b, left, phys, right = site.shape
        rows = site.reshape(b, left * phys, right)
        image = (rows @ gram.to(site.dtype)).reshape(b, left, phys * right)
        grad_site = ((grad + grad.mH) @ image).reshape(site.shape)
        pushed = (grad @ site.reshape(b, left, phys * right)).reshape(b, left * phys, right)
        return grad_site, rows.mH @ pushed


def _prepare(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix brought to size 1 with negligible entries cleared, and its size `(*b, 1, 1)`."""
    scaled, size = to_unit(matrix, -2, -1)
    floor = torch.finfo(matrix.dtype).tiny / torch.finfo(matrix.dtype).eps
    if matrix.is_complex():
        parts = torch.view_as_real(scaled)
        return torch.view_as_complex(torch.where(parts.abs() < floor, 0.0, parts)), size
    return torch.where(scaled.abs() < floor, 0.0, scaled), size


def _broadening(s: Tensor) -> float:
    """Differences below this one, of singular values of at most 1, count as none."""
    return torch.finfo(s.dtype).eps ** 0.5


def _pseudo_inverse(r: Tensor) -> Tensor:
    scaled, size = _prepare(r)
    u, s, vh = torch.linalg.svd(scaled, full_matrices=False)
    s, largest = to_unit(s, -1)
    inverse = s / (s**2 + _broadening(s) ** 2) / largest  # 0 where they vanish
    return (vh.mH * inverse[..., None, :].to(vh.dtype)) @ u.mH / size
