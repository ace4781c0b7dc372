"""Rotations that gather what embeddings hold in the features that are kept.

An embedding of n features is the state of one particle on n sites, its features the amplitudes. A
Givens gate on two sites conserves the particle: it rotates the two amplitudes and touches no other.
So layers of such gates are an orthogonal matrix, at one angle a gate, and the state stays a matrix
product of bond dimension 2 at any depth (`mpsheads.mps.one_particle_state`).

Only rotations of a kept with a dropped feature change what is kept: those among kept ones, or among
dropped ones, change no cosine. `fit` chooses the pairs, and turns each to its principal axes: this
is Jacobi's method for eigenvectors, all pairs at once, stopped after a few layers.

Source: Jacobi 1846 (doi:10.1515/crll.1846.30.51); stopped early as a fast transform: Le Magoarou,
Gribonval and Tremblay 2018 (arXiv:1612.04542); as a circuit: Kerenidis et al. 2021
(arXiv:2106.07198), Cherrat et al. 2022 (arXiv:2209.08167).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._checks import is_traced
from mpsheads._derivatives import first_derivative
from mpsheads.mps import Circuit

FEW_LAYERS = 4
"""Up to which rotating a large batch is faster than making the matrix first."""


class Mixing(nn.Module):
    """Layers of Givens rotations, each of pairs of a kept and a dropped feature.

    Before `fit`, kept features meet ever other ones in turn.

    Of `features` numbers the `kept` ones are the first of the result. Angles are drawn from
    `generator` with the standard deviation `spread`.

    Attributes:
        angles: In radians `(layers, pairs)`, with `min(kept, features - kept)` pairs.
        orders: `(layers + 1, features)`: where each row comes from before each layer, which rotates
            the first `pairs` rows with the next as many, and at the end.
    """

    orders: Tensor

    def __init__(
        self,
        features: int,
        kept: int,
        layers: int,
        *,
        spread: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kept, pairs = kept, min(kept, features - kept)
        self.angles = nn.Parameter(spread * torch.randn(layers, pairs, generator=generator))
        self.register_buffer("orders", _unfitted(features, kept, layers))

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has chosen the pairs."""
        layers, features = len(self.angles), self.orders.shape[1]
        return not torch.equal(self.orders.cpu(), _unfitted(features, self.kept, layers))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """The embeddings rotated; their norms stay. Cost: O(batch * features * layers)."""
        if len(self.angles) > FEW_LAYERS and (is_traced(x) or len(x) > x.shape[1]):
            return x @ self.matrix().to(x.dtype).T
        return _apply(x, self.orders, self.angles.to(x.dtype))

    def matrix(self, rows: int | None = None) -> Float[Tensor, "rows features"]:
        """The first rows of the orthogonal matrix, all by default.

        Cost: O(rows * features * layers).
        """
        angles = _precise(self.angles)
        eye = torch.eye(rows or len(self.orders.T), len(self.orders.T), device=angles.device)
        return _apply(eye.to(angles.dtype), self.orders.argsort(1).flip(0), -angles.flip(0))

    def circuit(self) -> tuple[Circuit, list[int]]:
        """The rotations as a circuit of Givens gates, a site for each feature.

        Returns:
            The circuit with the angles as its values, and for each output the site that holds it at
            the end.
        """
        pairs, place = self.angles.shape[1], torch.arange(self.orders.shape[1])
        gates: list[tuple[str, tuple[int, ...]]] = []
        for order in self.orders[:-1].cpu():
            place = place[order]
            couples = place[: 2 * pairs].view(2, pairs).T.tolist()
            gates += [("givens", tuple(couple)) for couple in couples]
        values = tuple(self.angles.detach().flatten().tolist())
        return Circuit(len(place), gates, values), place[self.orders[-1].cpu()].tolist()

    @torch.no_grad()
    def fit(self, matrix: Float[Tensor, "features features"]) -> Float[Tensor, " features"]:
        """Choose pairs, angles and the order of the result by what is to be kept.

        Each layer takes the pair of a kept and a dropped feature that gains the kept one most,
        then the best of those left, and so on, and turns each pair to its principal axes. At the
        end features come in the order of what they hold, the largest first. The same matrix gives
        the same rotations.

        Args:
            matrix: What each direction holds, as a quadratic form: the covariance of the features,
                or of queries with their documents. Symmetric, finite, in float64.

        Returns:
            What each of the rotated features holds, descending.

        Cost: O(features**2) a layer.
        """
        c, pairs = matrix, min(self.kept, len(matrix) - self.kept)
        if self.angles.shape[1] != pairs:  # of a head of version 0.1
            self.angles = nn.Parameter(self.angles.new_zeros(len(self.angles), pairs))
        by_size = c.diagonal().argsort(descending=True, stable=True)
        kept, dropped = by_size[: self.kept].sort().values, by_size[self.kept :].sort().values
        seen = []
        for layer in range(len(self.angles)):
            first, second = _best_pairs(c, kept, dropped)
            own = c.diagonal()
            angle = torch.atan2(2 * c[first, second], own[first] - own[second]) / 2
            rest = torch.ones_like(own, dtype=torch.bool)
            rest[first] = rest[second] = False
            order = torch.cat([first, second, rest.nonzero()[:, 0]])
            back = order.argsort()
            for _ in range(2):  # rows, then columns
                c = _rotated(c, order, angle)[back].T
            self.angles[layer] = angle
            seen.append(order)
        held, ranked = c.diagonal().sort(descending=True, stable=True)
        self.orders.copy_(_relative([*seen, ranked]))
        return held

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Heads of version 0.1 have half of the features as pairs."""
        saved, pairs = state_dict.get(f"{prefix}angles"), self.orders.shape[1] // 2
        if saved is not None and saved.shape[1] == pairs != self.angles.shape[1]:
            self.angles = nn.Parameter(torch.empty_like(saved, device=self.angles.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class Rotation(nn.Module):
    """Any rotation of the features, of which some rows are kept: as deep a circuit as there is.

    On paper it is a triangle of `features * (features - 1) / 2` Givens gates. It is computed as one
    matrix product, and stays orthogonal in training: its rows are those of `weight` brought to an
    orthonormal basis, from the first on.

    Attributes:
        weight: `(rows, features)`, of full rank; from `generator` at the start.
    """

    def __init__(
        self, features: int, rows: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        start = nn.init.orthogonal_(_precise(torch.empty(rows, features)), generator=generator)
        self.weight = nn.Parameter(start.to(torch.get_default_dtype()))

    is_fitted = True  # there are no pairs to choose

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch rows"]:
        """The kept coordinates of embeddings. Cost: O(batch * features * rows)."""
        return x @ self.matrix().to(x.dtype).T

    def matrix(self, rows: int | None = None) -> Float[Tensor, "rows features"]:
        """The first rows of the matrix, orthonormal, in single precision at least."""
        weight = _precise(self.weight[:rows])
        lower = torch.linalg.cholesky(weight @ weight.T)
        return torch.linalg.solve_triangular(lower, weight, upper=False)

    @torch.no_grad()
    def fit(self, matrix: Float[Tensor, "features features"]) -> Float[Tensor, " rows"]:
        """Turn to the leading eigenvectors of a quadratic form, as `Mixing.fit`; in closed form."""
        held, axes = torch.linalg.eigh(matrix)  # ascending
        axes = axes.flip(1)[:, : len(self.weight)].T
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
        self.weight.copy_(axes * largest.sign())
        return held.flip(0)[: len(self.weight)]


def scrambler(width: int, seed: int) -> Mixing:
    """A fixed circuit that mixes features until all have one spread and look Gaussian.

    Each of its `2 ceil(log2(width))` layers pairs the features at random and turns each pair by
    45 or 135 degrees, to one side or the other: half of each goes to each. So every entry of its
    matrix tends to `+-1 / sqrt(width)` with signs as good as random, at O(width log width).
    """
    generator = torch.Generator().manual_seed(seed)
    layers, pairs = 2 * max(1, math.ceil(math.log2(width))), width // 2
    mixing = Mixing(width, pairs, layers, generator=generator)
    seen = [torch.randperm(width, generator=generator) for _ in range(layers)]
    mixing.orders.copy_(_relative([*seen, torch.arange(width)]))
    quarters = torch.randint(4, (layers, pairs), generator=generator).float()
    with torch.no_grad():
        mixing.angles = nn.Parameter((2 * quarters + 1) * (math.pi / 4), requires_grad=False)
    return mixing


def _precise(parameter: Tensor) -> Tensor:
    """In float32 if it is less precise: a matrix of many products must stay orthogonal."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _unfitted(features: int, kept: int, layers: int) -> Tensor:
    """The orders before `fit`: kept feature i meets another dropped one in each layer."""
    pairs, seen = min(kept, features - kept), []
    for layer in range(layers):
        first = [(i + layer * pairs) % kept for i in range(pairs)]
        second = [kept + (i + layer * (pairs + 1)) % (features - kept) for i in range(pairs)]
        seen.append([*first, *second, *sorted(set(range(features)) - {*first, *second})])
    return _relative([*seen, list(range(features))])


def _relative(seen: Sequence[Sequence[int] | Tensor]) -> Tensor:
    """From the features in the rows of each layer to where they come from in the layer before."""
    table = torch.stack([torch.as_tensor(order) for order in seen])
    before = [torch.arange(table.shape[1], device=table.device), *table[:-1]]
    return torch.stack([b.argsort()[order] for b, order in zip(before, table, strict=True)])


def _best_pairs(c: Tensor, kept: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of a kept and a dropped feature, those first whose rotation gains the kept one most.

    Two that are each other's best are a pair; so among those left, until one side has none: the
    greedy matching, many pairs at a time.
    """
    own = c.diagonal()
    half = (own[kept][:, None] - own[dropped]) / 2
    gain = torch.hypot(half, c[kept][:, dropped]) - half
    first, second = [], []
    for _ in range(min(gain.shape)):
        rows = torch.arange(len(gain), device=gain.device)
        best = gain.argmax(1)
        mutual = rows[(gain.argmax(0)[best] == rows) & (gain[rows, best] >= 0)]
        if not len(mutual):
            break
        first.append(kept[mutual])
        second.append(dropped[best[mutual]])
        gain[mutual] = -torch.inf
        gain[:, best[mutual]] = -torch.inf
    return torch.cat(first or [kept[:0]]), torch.cat(second or [kept[:0]])


def _apply(
    x: Float[Tensor, "batch features"], orders: Tensor, angles: Float[Tensor, "layers pairs"]
) -> Float[Tensor, "batch features"]:
    """All layers on each row of `x`."""
    if not is_traced(x):
        if not (torch.is_grad_enabled() and (x.requires_grad or angles.requires_grad)):
            return _rotate_all(x, orders, angles, None)
        rotated = _Rotations.apply(x, orders, angles, x[:0].clone())
        assert isinstance(rotated, Tensor)
        return rotated
    y = x.T
    for order, angle in zip(orders[:-1], angles, strict=True):
        y = _rotated(y, order, angle)
    return y.index_select(0, orders[-1]).T


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
    """All layers; each keeps only its result, by which the gradient of its angles is known.

    The last argument, no rows of `x`, ties that gradient to `x`, so that second derivatives raise.
    """

    @staticmethod
    def forward(ctx, x: Tensor, orders: Tensor, angles: Tensor, tie: Tensor) -> Tensor:
        results: list[Tensor] = []
        y = _rotate_all(x, orders, angles, results)
        ctx.save_for_backward(tie, orders, angles, *results)
        return y

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor, None, Tensor, None]:
        _, orders, angles, *results = ctx.saved_tensors
        half, slopes = angles.shape[1], torch.empty_like(angles)
        rows = torch.arange(orders.shape[1], device=orders.device).expand_as(orders)
        back = torch.empty_like(orders).scatter_(1, orders, rows)  # the inverse of each order
        grad = grads[0].T.index_select(0, back[-1])
        space = torch.empty_like(grad)
        for layer in reversed(range(len(angles))):
            (u, v), (p, q) = ((t[:half], t[half : 2 * half]) for t in (results[layer], grad))
            torch.mul(p, v, out=space[:half])
            slopes[layer] = space[:half].addcmul_(q, u, value=-1).sum(1)
            _rotate_(grad, -angles[layer], space)
            grad, space = torch.index_select(grad, 0, back[layer], out=space), grad
        return grad.T, None, slopes, None


def _rotate_all(x: Tensor, orders: Tensor, angles: Tensor, results: list[Tensor] | None) -> Tensor:
    """All layers, in two pieces of memory, or with the result of each in `results`."""
    space = x.T.clone(memory_format=torch.contiguous_format)  # fresh memory is slow: used again
    y = space.index_select(0, orders[0])
    for order, angle in zip(orders[1:], angles, strict=True):
        _rotate_(y, angle, space)
        if results is None:
            y, space = torch.index_select(y, 0, order, out=space), y
            continue
        results.append(y)
        last = len(results) == len(angles)
        y = torch.index_select(y, 0, order, out=space if last else None)
    return y.T


def _rotate_(y: Tensor, angle: Tensor, space: Tensor) -> None:
    """`_rotated` in place, without the order; `space` is as large and is overwritten."""
    half = len(angle)
    a, b = y[:half], y[half : 2 * half]
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    turned = torch.mul(a, cosine, out=space[:half]).addcmul_(b, sine)
    b.mul_(cosine).addcmul_(sine, a, value=-1)
    a.copy_(turned)
