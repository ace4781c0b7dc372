"""Rotations that mix the features of different blocks before they become qubits.

An embedding of n features is the state of one particle on n sites, its features the amplitudes. A
Givens gate on two sites conserves the particle: it rotates the two amplitudes and touches no other.
So a circuit of such gates is an orthogonal matrix, exactly, at a few operations a gate. Layers
whose pairs stand ever closer are those of a fast Fourier transform: after l of them each feature
depends on 2**l of the embedding's, at n/2 angles a layer.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mpsheads._checks import is_concrete

Pairs = tuple[list[int], list[int]]


def butterfly(blocks: Sequence[Sequence[int]], layers: int) -> list[Pairs]:
    """The pairs of features that each layer rotates: those at the same place of two blocks.

    The blocks of a pair are half of all blocks apart in the first layer, a quarter in the second,
    and so on, from the start again once they are neighbours. Blocks that have no partner wait.

    Args:
        blocks: The features of each block; places are counted from the kept qubit's.
        layers: Number of layers.
    """
    found = []
    strides = []
    while not strides or strides[-1] > 1:
        strides.append(max(1, (strides[-1] if strides else len(blocks)) // 2))
    for layer in range(layers):
        stride = strides[layer % len(strides)]
        first: list[int] = []
        second: list[int] = []
        for number in range(len(blocks) - stride):
            if number // stride % 2 == 0:
                couples = zip(reversed(blocks[number]), reversed(blocks[number + stride]))  # noqa: B905
                for a, b in couples:
                    first.append(a)
                    second.append(b)
        found.append((first, second))
    return found


class Mixing(nn.Module):
    """Layers of Givens rotations of pairs of features.

    Args:
        pairs: The features of each layer's pairs, each feature once a layer at most.
        features: Width of the embeddings.
        generator: Source of the angles, small at first.

    Attributes:
        angles: In radians, layer after layer.
    """

    def __init__(
        self,
        pairs: Sequence[Pairs],
        features: int,
        *,
        spread: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.sizes = [len(first) for first, _ in pairs]
        orders, place = [], torch.arange(features)
        for first, second in pairs:
            used = set(first) | set(second)
            order = torch.tensor([*first, *second, *(i for i in range(features) if i not in used)])
            orders.append(place[order])
            place = torch.empty_like(order)
            place[order] = torch.arange(features)
        orders.append(place)
        self.register_buffer("orders", torch.stack(orders), persistent=False)
        start = spread * torch.randn(sum(self.sizes), generator=generator)
        self.angles = nn.Parameter(start)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """The embeddings rotated; their norms stay.

        Cost: O(batch * features * layers).
        """
        angles, orders = self.angles.to(x.dtype), self.get_buffer("orders")
        if is_concrete(x):
            found = _Rotations.apply(x, angles, orders, self.sizes)
            assert isinstance(found, Tensor)
            return found
        y = x.T
        for order, part in zip(orders, angles.split(self.sizes), strict=False):
            y = y.index_select(0, order)
            u, v, rest = y.split([len(part), len(part), len(y) - 2 * len(part)])
            cosine, sine = part.cos()[:, None], part.sin()[:, None]
            y = torch.cat([cosine * u + sine * v, cosine * v - sine * u, rest])
        return y.index_select(0, orders[-1]).T


class _Rotations(torch.autograd.Function):
    """`Mixing.forward`, whose backward pass undoes the rotations: it keeps the result alone."""

    @staticmethod
    def forward(ctx, x: Tensor, angles: Tensor, orders: Tensor, sizes: list[int]) -> Tensor:
        y = x.T
        for order, part in zip(orders, angles.split(sizes), strict=False):
            y = _rotate(y.index_select(0, order), part.cos(), part.sin())
        ctx.save_for_backward(y, angles, orders)
        ctx.sizes = sizes
        return y.index_select(0, orders[-1]).T

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        y, angles, orders = ctx.saved_tensors
        (grad,) = grads
        grad = torch.empty_like(y).index_copy_(0, orders[-1], grad.T)
        found = []
        parts = list(zip(orders, angles.split(ctx.sizes), strict=False))
        for order, part in reversed(parts):
            n = len(part)
            by_angle = grad[:n] * y[n : 2 * n]
            by_angle.addcmul_(grad[n : 2 * n], y[:n], value=-1)
            found.append(by_angle.sum(1))
            cosine, sine = part.cos(), -part.sin()
            grad = torch.empty_like(y).index_copy_(0, order, _rotate(grad, cosine, sine))
            y = torch.empty_like(y).index_copy_(0, order, _rotate(y, cosine, sine))
        return grad.T, torch.cat(found[::-1]), None, None


def _rotate(y: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The first rows with as many after them; all others stay."""
    n = len(cosine)
    cosine, sine = cosine[:, None], sine[:, None]
    u, v = y[:n], y[n : 2 * n]
    found = torch.empty_like(y)
    torch.mul(u, cosine, out=found[:n]).addcmul_(v, sine)
    torch.mul(v, cosine, out=found[n : 2 * n]).addcmul_(u, sine, value=-1)
    found[2 * n :] = y[2 * n :]
    return found
