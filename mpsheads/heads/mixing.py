"""Rotations that mix the features of different blocks before they become qubits.

An embedding of n features is the state of one particle on n sites, its features the amplitudes. A
Givens gate on two sites conserves the particle: it rotates the two amplitudes and touches no other.
So a circuit of such gates is an orthogonal matrix, exactly, at a few operations a gate. Layers
whose pairs stand ever closer are those of a fast Fourier transform: after l of them each feature
depends on 2**l of the embedding's, at n/2 angles a layer.

Three layers at a time are one product with an 8 x 8 matrix for each eight features.

Source: Kerenidis et al. 2021 (arXiv:2106.07198), orthogonal layers of Givens gates.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from mpsheads._checks import is_concrete

_AT_ONCE = 3  # layers in one matrix product


def strides(num_blocks: int, layers: int) -> list[int]:
    """How far apart the blocks are that each layer pairs: powers of two, each half the one before.

    They start at the largest that leaves no block without a partner in any layer, or, where there
    are too few of these, at the largest below `num_blocks`; after 1 they start again.
    """
    even = (num_blocks & -num_blocks) // 2
    first = even if even >= 2 ** (layers - 1) else 2 ** max(0, (num_blocks - 1).bit_length() - 1)
    period = first.bit_length()
    return [first >> (layer % period) for layer in range(layers)]


class Mixing(nn.Module):
    """Layers of Givens rotations of pairs of features, at the same place of two blocks.

    Args:
        blocks: The features of each block; places are counted from the kept qubit's. A block
            without a partner waits.
        layers: Number of layers.
        spread: Standard deviation of the angles at the start.
        generator: Source of the angles.

    Attributes:
        angles: In radians, layer after layer.
        pairs: The two features that each of them rotates.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[int]],
        layers: int,
        *,
        spread: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features = sum(map(len, blocks))
        distances = strides(len(blocks), layers)
        stages = _stages(distances)
        table = _table(blocks, distances[0] if distances else 1)
        self.pairs: list[tuple[int, int]] = []
        self.depths = [len(stage) for stage in stages]
        place = torch.arange(table.numel())
        for number, stage in enumerate(stages):
            groups = _groups(table, stage)
            self.register_buffer(f"pick_{number}", self._number_pairs(groups), persistent=False)
            self.register_buffer(f"order_{number}", place[groups.flatten()], persistent=False)
            place = groups.flatten().argsort()
        self.register_buffer(f"order_{len(stages)}", place, persistent=False)
        self.angles = nn.Parameter(spread * torch.randn(len(self.pairs), generator=generator))

    def _number_pairs(self, groups: Tensor) -> Tensor:
        """Which angle rotates each pair of a stage, `(layers, groups, pairs)`; -1 for none."""
        size = groups.shape[1]
        found = []
        half = size // 2
        while half:
            halves = groups.view(len(groups), -1, 2, half)
            first, second = (halves[:, :, i].flatten(1) for i in (0, 1))
            exists = (first < self.features) & (second < self.features)
            number = exists.flatten().cumsum(0).view_as(exists) - 1 + len(self.pairs)
            found.append(torch.where(exists, number, -1))
            self.pairs += zip(first[exists].tolist(), second[exists].tolist(), strict=True)
            half //= 2
        return torch.stack(found)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """The embeddings rotated; their norms stay.

        Cost: O(batch * features * layers), one batched matrix product for three layers.
        """
        angles = pad(self.angles.to(x.dtype), (0, 1))  # the last is that of missing pairs
        y = x.T
        missing = len(self.get_buffer("order_0")) - self.features
        y = pad(y, (0, 0, 0, missing)) if missing else y
        for number, depth in enumerate(self.depths):
            y = _permute(y, self.get_buffer(f"order_{number}"))
            y = y.unflatten(0, (-1, 2**depth))
            y = torch.bmm(_matrices(angles[self.get_buffer(f"pick_{number}")]), y).flatten(0, 1)
        return _permute(y, self.get_buffer(f"order_{len(self.depths)}"))[: self.features].T


def _stages(distances: Sequence[int]) -> list[list[int]]:
    """Layers that one matrix product can do: each stride half the one before."""
    stages: list[list[int]] = []
    for distance in distances:
        if stages and len(stages[-1]) < _AT_ONCE and 2 * distance == stages[-1][-1]:
            stages[-1].append(distance)
        else:
            stages.append([distance])
    return stages


def _table(blocks: Sequence[Sequence[int]], distance: int) -> Tensor:
    """Features `(places, blocks)`, filled up with numbers of no feature where there is none."""
    places = max(map(len, blocks))
    width = -(-len(blocks) // (2 * distance)) * 2 * distance
    free = iter(range(sum(map(len, blocks)), places * width))
    rows = [
        [
            blocks[k][-1 - place] if k < len(blocks) and place < len(blocks[k]) else next(free)
            for k in range(width)
        ]
        for place in range(places)
    ]
    return torch.tensor(rows)


def _groups(table: Tensor, stage: Sequence[int]) -> Tensor:
    """The features that a stage brings together, `(groups, 2**layers)`."""
    split = table.view(len(table), -1, 2 ** len(stage), stage[-1])
    return split.transpose(2, 3).flatten(0, 2)


def _matrices(angles: Float[Tensor, "layers groups pairs"]) -> Float[Tensor, "groups size size"]:
    """The product of the rotations of each group."""
    _, groups, half = angles.shape
    found = torch.eye(2 * half, dtype=angles.dtype, device=angles.device)
    found = found.expand(groups, -1, -1)
    for layer in angles:
        split = found.view(groups, -1, 2, half, found.shape[2])
        cosine, sine = (f(layer).view(groups, -1, half, 1) for f in (torch.cos, torch.sin))
        u, v = split[:, :, 0], split[:, :, 1]
        found = torch.stack([cosine * u + sine * v, cosine * v - sine * u], 2).flatten(1, 3)
        half //= 2
    return found


def _permute(y: Float[Tensor, "rows batch"], order: Tensor) -> Float[Tensor, "rows batch"]:
    """Rows in another order, each once."""
    if not is_concrete(y):
        return y.index_select(0, order)
    found = _Permutation.apply(y, order)
    assert isinstance(found, Tensor)
    return found


class _Permutation(torch.autograd.Function):
    """Rows in another order; the gradient is put back, not added."""

    @staticmethod
    def forward(ctx, y: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return y.index_select(0, order)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        (grad,) = grads
        return torch.empty_like(grad).index_copy_(0, order, grad), None
