"""Overlaps of all pairs of two batches of MPS: the kernel behind the matrices of `contract`.

An environment has one bra bond x and one ket bond y for each pair. A bra's site is a matrix product
over all documents at once, a ket's site one over all queries at once, so between the two the pairs
change from query-major to document-major order. That costs a copy, so sites go in turns: bra, ket |
ket, bra | bra, ket: one copy a site, and the neighbouring bra sites are merged beforehand. Complex
numbers meet bras as pairs of real ones, which fills the vectors of a processor better.
"""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Inexact
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mpsheads._checks import is_concrete
from mpsheads.mps.arguments import check_alike
from mpsheads.mps.linalg import unit_sites
from mpsheads.mps.state import MPS

_RESCALE_STEPS = 8
SAFE = {torch.float32: 1e25, torch.float64: 1e200}  # sizes, and inverses, that lost nothing
_QUERIES = 32
_NUMBERS_IN_CACHE = 3 << 17
_NUMBERS_ON_ACCELERATOR = 1 << 24
_NUMBERS_WITH_GRADIENT = 1 << 24


@dataclass(frozen=True)
class _Bra:
    """Two neighbouring sites of all queries, merged.

    `matrix` is (p, q, x c, p' u c') if complex, with c the real and imaginary parts, and
    (p, q, u p', x) if real.
    """

    matrix: Tensor
    phys: int
    right: int


class _Workspace:
    """Two stretches of memory in turns: a step reads one and writes the other. No gradients."""

    def __init__(self) -> None:
        self.turn = 0
        self.buffers: dict[int, Tensor] = {}
        self.views: dict[tuple, Tensor] = {}

    def __call__(self, like: Tensor, *shape: int) -> Tensor:
        self.turn = 1 - self.turn
        key = (self.turn, like.is_complex(), shape)
        if key not in self.views:
            self.views[key] = self._view(like, shape)
        return self.views[key]

    def _view(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        needed = prod(shape) * (2 if like.is_complex() else 1)
        buffer = self.buffers.get(self.turn)
        if buffer is None or buffer.numel() < needed:
            self.views = {key: view for key, view in self.views.items() if key[0] != self.turn}
            buffer = self.buffers[self.turn] = like.real.new_empty(needed)
        if like.is_complex():
            return torch.view_as_complex(buffer[:needed].view(*shape, 2))
        return buffer[:needed].view(shape)


def log_overlap_matrix(
    queries: MPS, documents: MPS, chunk: int | None
) -> tuple[Inexact[Tensor, "queries documents"], Float[Tensor, "queries documents"]]:
    """A number and a logarithm for each pair: `<query|document> = number * exp(log)`.

    With gradients each chunk is computed again on the way back, so one chunk at a time is held.
    """
    check_alike(queries=queries, documents=documents)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 or None, got {chunk}.")
    sites = (*queries.sites, *documents.sites)
    transformed = not all(is_concrete(x) for x in sites)
    gradient = torch.is_grad_enabled() and any(x.requires_grad for x in sites)
    workspace = None if gradient or transformed else _Workspace()
    chunk = chunk or _default_chunk(queries, documents, gradient)
    rows = []
    for block in zip(*(site.split(_QUERIES) for site in queries.sites), strict=True):
        units, of_bras = unit_sites(block)
        bras = _merged_bras(units)
        columns = []
        for kets in zip(*(site.split(chunk) for site in documents.sites), strict=True):
            arguments = (bras, kets, workspace, transformed)
            if gradient and not transformed:
                columns.append(checkpoint(_tile, *arguments, use_reentrant=False))
            else:
                columns.append(_tile(*arguments))
        number, log = (torch.cat(parts, dim=1) for parts in zip(*columns, strict=True))
        rows.append((number, log + of_bras[:, None]))
    number, log = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return number, log + queries.log_norm.double()[:, None] + documents.log_norm.double()


def _default_chunk(queries: MPS, documents: MPS, gradient: bool) -> int:
    """As many documents as keep the largest tensor of a tile in cache, or the graph in bounds."""
    pair = max(documents.phys_dims) * queries.max_bond * documents.max_bond
    if gradient:
        budget, pair = _NUMBERS_WITH_GRADIENT, 2 * pair * documents.n_sites
    else:
        cpu = documents.device.type == "cpu"
        budget = _NUMBERS_IN_CACHE if cpu else _NUMBERS_ON_ACCELERATOR
    most = max(1, budget // max(1, pair * min(queries.batch_size, _QUERIES)))
    parts = max(1, -(-documents.batch_size // most))
    return max(1, -(-documents.batch_size // parts))  # of nearly equal size


def _merged_bras(queries: tuple[Tensor, ...]) -> list[_Bra]:
    """Sites 0, 1 and 2, 3 and 4, ..., conjugated; what is missing at the end is a trivial site."""
    sites = [site.conj() for site in queries]
    trivial = sites[0].new_ones(len(sites[0]), 1, 1, 1)
    if len(sites) % 2:
        sites.append(trivial)
    bras = []
    for left, right in zip([trivial, *sites[1::2]], [*sites[0::2], trivial], strict=True):
        (q, x, p, _), (phys, u) = left.shape, right.shape[2:]
        merged = left.flatten(1, 2) @ right.flatten(2)  # q (x p) [m] (p' u)
        merged = merged.view(q, x, p, phys, u)
        if merged.is_complex():
            parts = torch.stack([merged, 1j * merged], dim=2)  # q x c p p' u
            matrix = torch.view_as_real(parts).permute(3, 0, 1, 2, 4, 5, 6)  # p q x c p' u c'
            matrix = matrix.reshape(p, q, 2 * x, phys * u * 2)
        else:
            matrix = merged.permute(2, 0, 4, 3, 1).reshape(p, q, u * phys, x)
        bras.append(_Bra(matrix, phys, u))
    return bras


def _tile(
    bras: list[_Bra], kets: tuple[Tensor, ...], workspace: _Workspace | None, transformed: bool
) -> tuple[Tensor, Tensor]:
    """Number and logarithm of all pairs of some queries and documents.

    Few rescalings do, and many, also of the sites, where a size came near the ends of its range.
    Where numbers cannot be asked for, there are many from the start.
    """
    if not transformed:
        number, sizes = _steps(bras, kets, workspace, _RESCALE_STEPS)
        limit = SAFE[sizes.dtype]
        if ((sizes < limit) & (sizes > 1 / limit) & (number.abs() > 0)).all():
            return number, sizes.double().log().sum(0)
    kets, of_kets = unit_sites(kets)
    number, sizes = _steps(bras, kets, workspace, 1)
    return number, sizes.double().log().sum(0) + of_kets


def _steps(
    bras: list[_Bra], kets: tuple[Tensor, ...], workspace: _Workspace | None, every: int
) -> tuple[Tensor, Tensor]:
    """Number and sizes of all pairs of some queries and documents, rescaled every few steps."""
    apply_bra = _apply_complex_bra if kets[0].is_complex() else _apply_real_bra
    d, q = len(kets[0]), bras[0].matrix.shape[1]
    trivial = kets[0].new_ones(d, 1, 1, 1)
    env = trivial[..., None].expand(d, 1, 1, q, 1).contiguous()  # d y p q x
    sizes = []
    for step, bra in enumerate(bras[:-1], 1):
        first, second = [*kets[2 * step - 2 : 2 * step], trivial][:2]
        env = apply_bra(bra, env, workspace)  # d (y p) (q x)
        env = _apply_kets(first, second, env, workspace)  # d (y p') (q x)
        if step % every == 0:
            env, size = _rescale(env, q, workspace)
            sizes.append(size)
        env = env.view(d, second.shape[3], second.shape[2], q, bra.right)
    env = apply_bra(bras[-1], env, workspace).reshape(d, q)
    size = env.detach().abs()
    sizes.append(torch.where(size > 0, size, torch.ones_like(size)))
    return (env / sizes[-1]).T, torch.stack(sizes).mT


def _apply_complex_bra(bra: _Bra, env: Tensor, workspace: _Workspace | None) -> Tensor:
    """From (d, y, p, q, x) over [p] and [x] to (d, y p', q u)."""
    d, y, _, q, _ = env.shape
    real = torch.view_as_real(env).flatten(0, 1).flatten(-2)  # (d y) p q (x c)
    made = (q, d * y, bra.matrix.shape[-1])
    out = workspace(real, *made) if workspace else None
    product = torch.bmm(real[:, 0].transpose(0, 1), bra.matrix[0], out=out)  # q (d y) (p' u c)
    for p in range(1, len(bra.matrix)):
        product = torch.baddbmm(product, real[:, p].transpose(0, 1), bra.matrix[p], out=out)
    moved = _swap(product.view(q, d * y * bra.phys, bra.right * 2), workspace)
    return torch.view_as_complex(moved.view(d, y * bra.phys, q * bra.right, 2))


def _apply_real_bra(bra: _Bra, env: Tensor, workspace: _Workspace | None) -> Tensor:
    """From (d, y, p, q, x) over [p] and [x] to (d, y p', q u), where p' is slower than y."""
    d, y, _, q, _ = env.shape
    pairs = env.flatten(0, 1)  # (d y) p q x
    made = (q, bra.matrix.shape[2], d * y)
    out = workspace(env, *made) if workspace else None
    product = torch.bmm(bra.matrix[0], pairs[:, 0].permute(1, 2, 0), out=out)  # q (u p') (d y)
    for p in range(1, len(bra.matrix)):
        product = torch.baddbmm(product, bra.matrix[p], pairs[:, p].permute(1, 2, 0), out=out)
    moved = _swap(product.view(q * bra.right * bra.phys, d, y), workspace)  # d (q u p') y
    return moved.view(d, q * bra.right, bra.phys * y).mT


def _apply_kets(first: Tensor, second: Tensor, env: Tensor, workspace: _Workspace | None) -> Tensor:
    """From (d, y p, q x) over [p] and [y], with two sites, to (d, y p', q x)."""
    d, _, _, middle = first.shape
    columns = env.shape[2]
    # rows m, and the columns in the order that the bras leave: (y p) or (p y)
    matrix = first.flatten(1, 2).mT if first.is_complex() else first.permute(0, 3, 2, 1).flatten(2)
    out = workspace(first, d, middle, columns) if workspace else None
    env = torch.bmm(matrix, env, out=out)  # d m (q x)
    matrix = second.permute(0, 3, 2, 1).flatten(1, 2)  # d (y p') m
    out = workspace(first, d, matrix.shape[1], columns) if workspace else None
    return torch.bmm(matrix, env, out=out)


def _swap(x: Tensor, workspace: _Workspace | None) -> Tensor:
    """(a, b, k) to (b, a, k), moving up to 16 bytes at once."""
    if workspace is None or x.device.type != "cpu":
        return x.transpose(0, 1).contiguous()
    a, b, k = x.shape
    out = workspace(x, b, a, k)
    size = k * x.element_size()
    wide = next(t for t in (torch.complex128, torch.float64, x.dtype) if size % t.itemsize == 0)
    out.view(wide).copy_(x.view(wide).transpose(0, 1))
    return out


def _rescale(env: Tensor, q: int, workspace: _Workspace | None) -> tuple[Tensor, Tensor]:
    """Divide each pair's part of (d, y p, q x) by its size, which comes back as (d, q)."""
    d, rows, _ = env.shape
    real = torch.view_as_real(env).flatten(2) if env.is_complex() else env
    width = real.shape[2] // q
    size = real.detach().abs().amax(1).view(d * q, width)
    size = size @ size.new_ones(width, width)  # summed, and there for each of the columns
    size = torch.where(size > 0, size, torch.ones_like(size))
    scale = size.reciprocal().view(d, 1, q * width)
    real = real.mul_(scale) if workspace else real * scale
    env = torch.view_as_complex(real.view(d, rows, -1, 2)) if env.is_complex() else real
    return env, size[:, 0].view(d, q)
