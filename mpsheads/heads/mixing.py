"""Rotations that gather what embeddings hold in the features that are kept.

An embedding of n features is the state of one particle on n sites, its features the amplitudes. A
Givens gate on two sites conserves the particle: it rotates the two amplitudes and touches no other.
So layers of such gates are an orthogonal matrix, exactly, at n/2 angles a layer; after l of them
each feature depends on 2**l of the embedding's.

Which features meet is fitted on data: those of largest covariance, turned to the principal axes of
each pair. That is Jacobi's method for eigenvectors, all pairs at once, stopped after a few layers:
a principal component analysis at l*n/2 parameters in place of n**2.

Source: Jacobi 1846 (doi:10.1515/crll.1846.30.51); stopped early as a fast transform: Le Magoarou,
Gribonval and Tremblay 2018 (arXiv:1612.04542); as a circuit: Kerenidis et al. 2021
(arXiv:2106.07198).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mpsheads._checks import is_concrete


class Mixing(nn.Module):
    """Layers of Givens rotations of pairs of features.

    Before `fit`, layers pair features as those of a fast Fourier transform do, half of them apart,
    then a quarter: each kept one with others that are not.

    Args:
        features: How many there are; those of the kept qubits are the first.
        layers: Number of layers.
        spread: Standard deviation of the angles at the start.
        generator: Source of the angles.

    Attributes:
        angles: In radians `(layers, features // 2)`.
        orders: `(layers + 1, features)`: where each row comes from before each layer, which rotates
            the first half with the second, and at the end.
    """

    orders: Tensor

    def __init__(
        self,
        features: int,
        layers: int,
        *,
        spread: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        start = spread * torch.randn(layers, features // 2, generator=generator)
        self.angles = nn.Parameter(start)
        self.register_buffer("orders", _unfitted(features, layers))

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has chosen the pairs."""
        layers, features = len(self.angles), self.orders.shape[1]
        return not torch.equal(self.orders.cpu(), _unfitted(features, layers))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """The embeddings rotated; their norms stay. Cost: O(batch * features * layers)."""
        angles = self.angles.to(x.dtype)
        if is_concrete(x):
            rotated = _Rotations.apply(x, self.orders, angles)
            assert isinstance(rotated, Tensor)
            return rotated
        y = x.T
        for order, angle in zip(self.orders[:-1], angles, strict=True):
            y = _rotated(y, order, angle)
        return y.index_select(0, self.orders[-1]).T

    @torch.no_grad()
    def fit(self, covariance: Float[Tensor, "features features"]) -> Float[Tensor, " features"]:
        """Choose pairs, angles and the order of the result by the features' covariance.

        Each layer pairs the two features of largest covariance, then of those left the two of
        largest, and so on, and makes each pair uncorrelated. At the end features come in the order
        of their variance, the largest first. The same covariance gives the same rotations.

        Args:
            covariance: Symmetric, `(features, features)`, finite, in float64.

        Returns:
            The variances, descending.

        Cost: O(features**2) a layer.
        """
        c, half = covariance, len(covariance) // 2
        seen = []
        for layer in range(len(self.angles)):
            order = _strongest_pairs(c)
            first, second = order[:half], order[half : 2 * half]
            variance = c.diagonal()
            angle = torch.atan2(2 * c[first, second], variance[first] - variance[second]) / 2
            back = order.argsort()
            for _ in range(2):  # rows, then columns
                c = _rotated(c, order, angle)[back].T
            self.angles[layer] = angle
            seen.append(order)
        variance, ranked = c.diagonal().sort(descending=True, stable=True)
        self.orders.copy_(_relative([*seen, ranked]))
        return variance


def _unfitted(features: int, layers: int) -> Tensor:
    """The orders before `fit`."""
    seen = [_butterfly(features, features >> (layer + 1)) for layer in range(layers)]
    return _relative([*seen, list(range(features))])


def _butterfly(count: int, stride: int) -> list[int]:
    """The features of one layer: the first of each pair, then the second, then who has none."""
    stride = max(1, stride)
    first = [i for i in range(count) if i % (2 * stride) < stride and i + stride < count]
    second = [i + stride for i in first]
    alone = sorted(set(range(count)) - {*first, *second})
    half = len(alone) // 2
    return first + alone[:half] + second + alone[half:]


def _relative(seen: Sequence[Sequence[int] | Tensor]) -> Tensor:
    """From the features in the rows of each layer to where they come from in the layer before."""
    table = torch.stack([torch.as_tensor(order) for order in seen])
    before = [torch.arange(table.shape[1], device=table.device), *table[:-1]]
    return torch.stack([b.argsort()[order] for b, order in zip(before, table, strict=True)])


def _strongest_pairs(covariance: Tensor) -> Tensor:
    """Features: the first of each pair, the second, and one that is left of an odd number.

    Two features whose covariance is the largest of both are a pair; so among those left, until
    there are none: the greedy matching, many pairs at a time.
    """
    weight = covariance.square()
    weight = weight + weight.T  # exactly symmetric: the first of the largest is a pair
    weight.fill_diagonal_(-1)
    free = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    first, second = [], []
    while free.sum() > 1:
        rows = free.nonzero()[:, 0]
        best = rows[weight[rows][:, rows].argmax(1)]
        partner = torch.full_like(free, -1, dtype=torch.long)
        partner[rows] = best
        mutual = rows[(partner[best] == rows) & (rows < best)]
        first.append(mutual)
        second.append(partner[mutual])
        free[mutual] = free[partner[mutual]] = False
    return torch.cat([*first, *second, free.nonzero()[:, 0]])


def _rotated(
    y: Float[Tensor, "rows batch"], order: Tensor, angle: Float[Tensor, " pairs"]
) -> Float[Tensor, "rows batch"]:
    """Rows put in order; then the first half is rotated with the second."""
    y = y.index_select(0, order)
    half = len(angle)
    a, b = y[:half], y[half : 2 * half]
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    return torch.cat([cosine * a + sine * b, cosine * b - sine * a, y[2 * half :]])


class _Rotations(torch.autograd.Function):
    """All layers; each keeps only its result, by which the gradient of its angles is known."""

    @staticmethod
    def forward(ctx, x: Tensor, orders: Tensor, angles: Tensor) -> Tensor:
        space = x.T.clone(memory_format=torch.contiguous_format)  # fresh memory is slow: used again
        y, results = space.index_select(0, orders[0]), []
        for order, angle in zip(orders[1:], angles, strict=True):
            _rotate_(y, angle, space)
            results.append(y)
            last = len(results) == len(angles)
            y = torch.index_select(y, 0, order, out=space if last else None)
        ctx.save_for_backward(orders, angles, *results)
        return y.T

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor, None, Tensor]:
        orders, angles, *results = ctx.saved_tensors
        half, slopes = angles.shape[1], torch.empty_like(angles)
        rows = torch.arange(orders.shape[1], device=orders.device).expand_as(orders)
        back = torch.empty_like(orders).scatter_(1, orders, rows)  # the inverse of each order
        grad = grads[0].T.index_select(0, back[-1])
        space = torch.empty_like(grad)
        for layer in reversed(range(len(angles))):
            (u, v), (p, q) = (t[: 2 * half].view(2, half, -1) for t in (results[layer], grad))
            torch.mul(p, v, out=space[:half])
            slopes[layer] = space[:half].addcmul_(q, u, value=-1).sum(1)
            _rotate_(grad, -angles[layer], space)
            grad, space = torch.index_select(grad, 0, back[layer], out=space), grad
        return grad.T, None, slopes


def _rotate_(y: Tensor, angle: Tensor, space: Tensor) -> None:
    """`_rotated` in place, without the order; `space` is as large and is overwritten."""
    half = len(angle)
    a, b = y[:half], y[half : 2 * half]
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    turned = torch.mul(a, cosine, out=space[:half]).addcmul_(b, sine)
    b.mul_(cosine).addcmul_(sine, a, value=-1)
    a.copy_(turned)
