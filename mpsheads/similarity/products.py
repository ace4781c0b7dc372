"""Logarithms of products of inner products, for all pairs: the kernel of product states.

Both sides write each group of qubits as one vector, its features, so that the overlap of a group is
an inner product; the log-fidelity is `power` times the sum of the logarithms of the overlaps. A
tile of pairs stays in a processor's cache: the overlaps of a group are a matrix product over all
pairs of the tile, and those of several groups are multiplied before one logarithm is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads._derivatives import first_derivative

_PAIRS = 1 << 17  # of a tile on a CPU, as many as fit a cache of 1 to 2 MiB
_PAIRS_ON_ACCELERATOR = 1 << 24
_QUERIES, _DOCUMENTS = 256, 2048  # of a tile at most, on a CPU
_BATCH = 4  # groups in one batched matrix product
_RUN = 6  # such batches that are multiplied before a logarithm is taken, where none underflows

Groups = Sequence[Tensor]
"""Features of `_BATCH` groups each."""


@dataclass(frozen=True)
class Product:
    """What is multiplied, and how far apart logarithms may be.

    Attributes:
        power: The fidelity of a group is the overlap of its features to this power.
        floor: Overlaps are held at this number from below, so logarithms stay finite.
        held_run: Groups, `_BATCH` at most, that are multiplied where overlaps are held at the
            floor: `floor**held_run` does not underflow.
    """

    power: int
    floor: float
    held_run: int


@dataclass(frozen=True)
class Side:
    """Vectors of one side, one a row, and what makes features `(groups, width, rows)` of them."""

    rows: Tensor
    features: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.rows)


def log_products(
    product: Product, queries: Side, documents: Side
) -> Float[Tensor, "queries documents"]:
    """`power * sum(log(overlap))` over the groups, for all pairs.

    With gradients, only the vectors are kept, and tiles are computed again on the way back. While
    torch traces or transforms the code, all overlaps are held.
    """
    with torch.autocast(queries.rows.device.type, enabled=False):
        if not (is_concrete(queries.rows) and is_concrete(documents.rows)):
            fq, fd = queries.features(queries.rows), documents.features(documents.rows)
            overlaps = fq.mT @ fd  # g q [k] d
            return product.power * overlaps.abs().clamp_min(product.floor).log().sum(0)
        if torch.is_grad_enabled() and (queries.rows.requires_grad or documents.rows.requires_grad):
            return _LogProducts.apply(queries.rows, documents.rows, product, queries, documents)  # pyright: ignore
        with torch.no_grad():
            return _forward(product, queries, documents)


def _forward(product: Product, queries: Side, documents: Side) -> Tensor:
    fq = queries.features(queries.rows)
    out = fq.new_empty(len(queries), len(documents))
    n_queries, n_documents = _tile_sizes(len(queries), len(documents), fq.device)
    blocks = [
        (q, fq[:, :, q : q + n_queries].split(_BATCH)) for q in range(0, len(queries), n_queries)
    ]
    tiles: dict[tuple[int, int], _Overlaps] = {}
    for d in range(0, len(documents), n_documents):
        fd = documents.features(documents.rows[d : d + n_documents]).mT.split(_BATCH)
        for q, block in blocks:
            shape = (fd[0].shape[1], block[0].shape[2])
            if shape not in tiles:
                tiles[shape] = _Overlaps(fq, *shape)
            out[q : q + n_queries, d : d + n_documents] = _tile(product, block, fd, tiles[shape]).T
    return out.mul_(product.power)


def _tile_sizes(n_queries: int, n_documents: int, device: torch.device) -> tuple[int, int]:
    """Queries and documents of a tile."""
    if device.type != "cpu":
        width = max(1, min(n_queries, 4 * _QUERIES))
        return width, max(1, min(n_documents, _PAIRS_ON_ACCELERATOR // width))
    width = max(1, min(n_queries, _QUERIES))
    return width, max(1, min(n_documents, _DOCUMENTS, _PAIRS // width))


class _Overlaps:
    """Memory for the overlaps of a few groups, written again and again. No gradients."""

    def __init__(self, like: Tensor, documents: int, queries: int) -> None:
        self.whole = like.new_empty(_BATCH, documents, queries)
        self.parts = self.whole.unbind()

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Overlaps of some groups, `(groups, documents, queries)`."""
        out = self.whole if len(left) == _BATCH else self.whole[: len(left)]
        return torch.bmm(left, right, out=out)  # g d [k] q

    def product(self, block: Groups, fd: Groups, floor: float | None = None) -> Tensor:
        """Product over the groups of the overlaps, `(documents, queries)`."""
        value: Tensor | None = None
        for left, right in zip(fd, block, strict=True):
            overlaps = self(left, right)
            if floor is not None:
                overlaps.abs_().clamp_min_(floor)
            for overlap in self.parts[: len(left)]:
                value = overlap.clone() if value is None else value.mul_(overlap)
        assert value is not None
        return value


def _tile(product: Product, block: Groups, fd: Groups, overlaps: _Overlaps) -> Tensor:
    """Sums of logarithms `(documents, queries)`; held at the floor only where that is needed."""
    total = torch.zeros_like(overlaps.parts[0])
    least = max(torch.finfo(total.dtype).tiny, product.floor)
    for start in range(0, len(fd), _RUN):
        run = slice(start, start + _RUN)
        value = overlaps.product(block[run], fd[run])
        if value.amin() >= least:  # not where it is NaN
            total += value.log_()
            continue
        for left, right in zip(fd[run], block[run], strict=True):
            for first in range(0, len(left), product.held_run):
                few = slice(first, first + product.held_run)
                total += overlaps.product([right[few]], [left[few]], product.floor).log_()
    return total


class _LogProducts(torch.autograd.Function):
    """Keeps the vectors alone; overlaps are computed again, tile by tile."""

    @staticmethod
    def forward(
        ctx: Any, zq: Tensor, zd: Tensor, product: Product, queries: Side, documents: Side
    ) -> Tensor:
        ctx.save_for_backward(zq, zd)
        ctx.rest = (product, queries.features, documents.features)
        return _forward(product, queries, documents)

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        (zq, zd), (product, query_features, document_features) = ctx.saved_tensors, ctx.rest
        fq = query_features(zq)
        dfq, dd = torch.zeros_like(fq), torch.zeros_like(zd)
        n_queries, n_documents = _tile_sizes(len(zq), len(zd), fq.device)
        with torch.autocast(zq.device.type, enabled=False):
            for d in range(0, len(zd), n_documents):
                rows = zd[d : d + n_documents]
                fd = document_features(rows)
                dfd = torch.zeros_like(fd)
                for q in range(0, len(zq), n_queries):
                    part = slice(q, q + n_queries)
                    weight = product.power * gradients[0][part, d : d + n_documents].T.contiguous()
                    _add_gradients(product, fq[:, :, part], fd, weight, dfq[:, :, part], dfd)
                if ctx.needs_input_grad[1]:
                    dd[d : d + n_documents] = _chain(document_features, rows, dfd)
            dq = _chain(query_features, zq, dfq) if ctx.needs_input_grad[0] else None
        return dq, dd if ctx.needs_input_grad[1] else None, None, None, None


def _add_gradients(
    product: Product, fq: Tensor, fd: Tensor, weight: Tensor, dfq: Tensor, dfd: Tensor
) -> None:
    """Add to the gradients of the features those of one tile; none flows where the floor holds."""
    overlaps_of = _Overlaps(fq, fd.shape[2], fq.shape[2])
    for start in range(0, len(fq), _BATCH):
        groups = slice(start, start + _BATCH)
        overlaps = overlaps_of(fd[groups].mT, fq[groups])
        held = None if overlaps.amin() > product.floor else overlaps.abs() <= product.floor
        slopes = torch.div(weight, overlaps, out=overlaps)  # g d q
        if held is not None:
            slopes.masked_fill_(held, 0)
        dfq[groups] += fd[groups] @ slopes  # g k [d] q
        dfd[groups] += fq[groups] @ slopes.mT  # g k [q] d


def _chain(features: Callable[[Tensor], Tensor], rows: Tensor, gradient: Tensor) -> Tensor:
    """From the gradient of the features to that of the vectors."""
    with torch.enable_grad():
        rows = rows.detach().requires_grad_()
        return torch.autograd.grad(features(rows), rows, gradient)[0]
