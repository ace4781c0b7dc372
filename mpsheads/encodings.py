"""Features to qubits: the paper's angle encoding, one feature a qubit.

A head takes from here `components`, expectation values of the Pauli matrices `PAULIS` in its input
qubits, where observables are evolved, and `amplitudes` where states are.
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._checks import is_traced
from mpsheads._derivatives import first_derivative

PAULIS = (0, 1, 3)
"""The Pauli matrices that an input qubit has expectation values of: 1, X and Z, as in `1XYZ`."""

_TINY = 1e-12  # what `normalize` divides a row of zeros by


def equalise_norm(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """Each row brought to norm `sqrt(features)`, so that a feature has size about 1.

    Sentence embeddings of queries and of passages differ in norm; a fidelity of angles would see
    that difference, a cosine does not. A row of zeros stays, and rows of norm below 1e-12, which
    are divided by that, come near it.
    """
    return normalize(x, eps=_TINY) * math.sqrt(x.shape[1])


def feature_angles(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Angle of each feature's qubit, `(tanh(x) + 1) pi / 2`, in (0, pi).

    Computed as `pi sigmoid(2 x)`, which is the same.

    Source: Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return math.pi * torch.sigmoid(2 * x)


def qubit_amplitudes(angles: Float[Tensor, "*b"]) -> Float[Tensor, "*b 2"]:
    """Amplitudes `(cos(angle/2), -sin(angle/2))` of each feature's qubit: phase pi, so real.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), whose phase differs from pi by 1e-9 at most.
    """
    return torch.stack([(angles / 2).cos(), -(angles / 2).sin()], dim=-1)


def amplitudes(
    x: Float[Tensor, "batch features"], scale: Float[Tensor, ""]
) -> Complex[Tensor, "batch features 2"]:
    """`qubit_amplitudes` of each feature of embeddings brought to one norm and scaled."""
    real = qubit_amplitudes(feature_angles(scale * equalise_norm(x)))
    return torch.complex(real, torch.zeros_like(real))


def components(
    x: Float[Tensor, "batch features"], scale: Float[Tensor, ""]
) -> Float[Tensor, "2 features batch"]:
    """Expectation values of X and Z, `(-sin(theta), cos(theta))`, in each feature's qubit.

    Args:
        x: Embeddings; brought to norm `sqrt(features)` and multiplied by `scale` first.
        scale: One number.
    """
    if not is_traced(x):
        values = _Components.apply(x, scale)
        assert isinstance(values, Tensor)
        return values
    angles = feature_angles(scale * equalise_norm(x)).T
    return torch.stack([-angles.sin(), angles.cos()])


class _Components(torch.autograd.Function):
    """`components` with its derivative by hand, which saves passes over memory."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor) -> Tensor:
        norm = torch.linalg.vecdot(x, x).sqrt().clamp_min(_TINY)  # `norm` is slow on columns
        stretch = 2 * math.sqrt(x.shape[1]) / norm
        slope = torch.mul(x.T, stretch, out=x.new_empty(x.shape[1], len(x)))
        slope.mul_(scale).sigmoid_()
        values = x.new_empty(2, *slope.shape)
        angles = torch.mul(slope, math.pi, out=values[1])
        torch.sin(angles, out=values[0]).neg_()
        angles.cos_()
        slope.addcmul_(slope, slope, value=-1)  # sigmoid' = sigmoid - sigmoid^2
        ctx.save_for_backward(x, scale, norm, slope, values)
        return values

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        (grad,) = grads
        x, scale, norm, slope, values = ctx.saved_tensors
        inner = (grad[1] * values[0]).addcmul_(grad[0], values[1], value=-1)
        inner.mul_(slope)  # the derivative by sigmoid's argument, over pi
        stretch = (2 * math.pi * math.sqrt(x.shape[1]) / norm)[:, None]
        grad_x = torch.mul(inner.T, stretch, out=torch.empty_like(x))  # by scale * x, still
        space = inner.T if x.T.is_contiguous() else inner.view_as(x)
        each = torch.mul(grad_x, x, out=space)
        if not ctx.needs_input_grad[0]:
            return None, each.sum()
        along = each.sum(1) * scale
        along = torch.where(norm > _TINY, along / norm.square(), 0.0)
        grad_x.mul_(scale).addcmul_(x, along[:, None], value=-1)
        return grad_x, each.sum()
