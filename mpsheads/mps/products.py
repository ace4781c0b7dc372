"""Expectation values of small observables in product states, fused for the backward pass.

An observable on w sites is a vector over w-fold products of (1, component, ...); a product state
has one number for each component of each site. Everything runs along the states, the last axis.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpsheads._checks import is_concrete

Rows = slice | list[int]
"""Which site of the register each observable's own site is, one for each observable."""

_CACHE = 1 << 20  # bytes that are worked on at once


def dense_expectation(
    observable: Float[Tensor, "strings observables"],
    components: Float[Tensor, "components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "observables states"]:
    """Expectation value of each observable in each product state.

    Args:
        observable: Over products of (1, component, ...) of its sites, the first most significant:
            `((components + 1)**len(rows), observables)`.
        components: What each site of each state gives for each component; 1 is left out.
        rows: For each site of the observables which sites of the states they are.

    Cost: O(observables * states * (components + 1)**len(rows)), as one batched matrix product of
    the two halves of the sites. First derivatives only, except where torch traces the code.
    """
    if is_concrete(components):
        value = _Expectation.apply(observable, components, rows)
        assert isinstance(value, Tensor)
        return value
    return _plain(observable, components, rows)


def chain_expectation(
    sites: Sequence[Float[Tensor, "observables _left strings _right"]],
    components: Float[Tensor, "components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "observables states"]:
    """`dense_expectation` of observables that are matrix product operators.

    Args:
        sites: Tensors over (left bond, 1 and components, right bond), outer bonds 1.
        components: What each site of each state gives for each component; 1 is left out.
        rows: For each site of the observables which sites of the states they are.

    Cost: O(observables * states * components * bond**2) a site, one batched matrix product each.
    First derivatives only, except where torch traces the code.
    """
    if is_concrete(components):
        value = _ChainExpectation.apply(components, rows, *sites)
        assert isinstance(value, Tensor)
        return value
    return _plain_chain(sites, components, rows)


def pick(components: Tensor, rows: Rows) -> Tensor:
    """The components of some sites, a view where they are evenly spaced."""
    if isinstance(rows, slice):
        return components[:, rows]
    return components.index_select(1, torch.tensor(rows, device=components.device))


def as_rows(sites: Sequence[int]) -> Rows:
    """Site numbers, as a slice where they rise evenly."""
    stride = sites[1] - sites[0] if len(sites) > 1 else 1
    run = range(sites[0], sites[-1] + 1, stride) if stride > 0 else range(0)
    return slice(run.start, run.stop, run.step) if list(run) == list(sites) else list(sites)


def _plain(observable: Tensor, components: Tensor, rows: Sequence[Rows]) -> Tensor:
    value = observable.unsqueeze(2)  # strings o i
    for site in rows:
        found = pick(components, site)
        value = value.unflatten(0, (len(found) + 1, -1))
        rest, *others = value.unbind(0)
        for term, component in zip(others, found.unbind(0), strict=True):
            rest = torch.addcmul(rest, term, component)
        value = rest
    return value[0]


def _plain_chain(sites: Sequence[Tensor], components: Tensor, rows: Sequence[Rows]) -> Tensor:
    value = components.new_ones(len(sites[0]), 1, components.shape[2])  # o l i
    for site, row in zip(sites, rows, strict=True):
        terms = site.permute(0, 2, 3, 1).flatten(1, 2) @ value  # o (p r) [l] i
        value, *others = terms.unflatten(1, site.shape[2:]).unbind(1)
        for term, component in zip(others, pick(components, row).unbind(0), strict=True):
            value = torch.addcmul(value, term, component.unsqueeze(1))  # o [p] r i
    return value[:, 0]


class _Expectation(torch.autograd.Function):
    """`dense_expectation` with its derivative by hand, some observables at a time.

    All that is larger than inputs and outputs fits the cache and is used again from one part to the
    next; the backward pass computes it anew.
    """

    @staticmethod
    def forward(ctx, observable: Tensor, components: Tensor, rows: Sequence[Rows]) -> Tensor:
        ctx.save_for_backward(observable, components)
        ctx.rows = rows
        total = components.new_empty(observable.shape[1], components.shape[2])
        for part, work in _parts(observable, components, rows):
            value = torch.bmm(work.matrix, work.right, out=work.value)  # o l [r] i
            here = total[part].copy_(value[:, 0])
            for place, factor in work.factors:
                here.addcmul_(value[:, place], factor)
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        observable, components = ctx.saved_tensors
        half = len(ctx.rows) // 2
        grad_observable = grad_components = None
        if ctx.needs_input_grad[0]:
            grad_observable = torch.empty_like(observable)
        whole = _covers(ctx.rows, components.shape[1])
        if ctx.needs_input_grad[1]:
            make = torch.empty_like if whole else torch.zeros_like
            grad_components = make(components)
        for part, work in _parts(observable, components, ctx.rows):
            here = grad[part]
            if grad_components is not None and half:
                value = torch.bmm(work.matrix, work.right, out=work.value)
                sites = zip(work.picked[:half], work.rows[:half], strict=True)
                _add_grads(grad_components, list(sites), value, here, whole)
            weighted = work.value  # o l i
            weighted[:, 0] = here
            for place, factor in work.factors:
                torch.mul(here, factor, out=weighted[:, place])
            if grad_observable is not None:
                found = weighted @ work.right.mT  # o l [i] r
                grad_observable[:, part] = found.flatten(1).T
            if grad_components is not None:
                found = torch.bmm(work.matrix.mT, weighted, out=work.right)  # o r [l] i
                sites = zip(work.picked[half:], work.rows[half:], strict=True)
                _add_grads(grad_components, list(sites), found, None, whole)
        return grad_observable, grad_components, None


class _ChainExpectation(torch.autograd.Function):
    """`chain_expectation` with its derivative by hand, some observables at a time."""

    @staticmethod
    def forward(ctx, components: Tensor, rows: Sequence[Rows], *sites: Tensor) -> Tensor:
        ctx.save_for_backward(components, *sites)
        ctx.rows = rows
        total = components.new_empty(len(sites[0]), components.shape[2])
        for part, work in _chain_parts(sites, components, rows, keep=False):
            for value in work.values():
                total[part] = value[:, 0]
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        components, *sites = ctx.saved_tensors
        grad_components = torch.zeros_like(components) if ctx.needs_input_grad[0] else None
        grad_sites = [torch.empty_like(site) for site in sites]
        for part, work in _chain_parts(sites, components, ctx.rows, keep=True):
            values = list(work.values())
            back = grad[part].unsqueeze(1)  # o r i
            for place in range(len(sites) - 1, -1, -1):
                value, found, site = values[place], work.picked[place], work.sites[place]
                count, left, strings, _right = site.shape
                scaled = work.memory(0, count, left, strings, value.shape[2])
                scaled[:, :, 0] = value
                for number, c in enumerate(found.unbind(0), 1):
                    torch.mul(value, c.unsqueeze(1), out=scaled[:, :, number])
                each = scaled.flatten(1, 2) @ back.mT  # o (l p) [i] r
                grad_sites[place][part] = each.view(site.shape)
                terms = scaled.flatten(1, 2)  # the same memory: o (l p) [r] i
                torch.bmm(site.flatten(1, 2), back, out=terms)
                terms = terms.view(scaled.shape)
                if grad_components is not None:
                    for number in range(len(found)):
                        here = (terms[:, :, number + 1] * value).sum(1)
                        _add_rows(grad_components[number], work.rows[place], here)
                back = work.memory(1, count, left, value.shape[2]).copy_(terms[:, :, 0])
                for number, c in enumerate(found.unbind(0), 1):
                    back.addcmul_(terms[:, :, number], c.unsqueeze(1))
        return grad_components, None, *grad_sites


class _ChainWork:
    """What some of the observables need; its memory is that of the others, too."""

    def __init__(
        self,
        sites: list[Tensor],
        picked: list[Tensor],
        rows: list[Rows],
        memories: Sequence[Tensor],
    ) -> None:
        self.sites, self.picked, self.rows, self.memories = sites, picked, rows, memories

    def memory(self, number: int, *shape: int) -> Tensor:
        """The beginning of one of the memories."""
        return self.memories[number][: math.prod(shape)].view(shape)

    def values(self) -> Iterator[Tensor]:
        """What comes into each site from the left, `(observables, left, states)`, and the result.

        Only as many are kept at a time as there are memories from the third on.
        """
        _, count, states = self.picked[0].shape
        value = self.picked[0].new_ones(count, 1, states)
        yield value
        own = range(2, len(self.memories))
        for place, (site, found) in enumerate(zip(self.sites, self.picked, strict=True)):
            _, _, strings, right = site.shape
            matrix = site.permute(0, 2, 3, 1).flatten(1, 2)
            terms = self.memory(0, count, strings * right, states)
            torch.bmm(matrix, value, out=terms)
            split = terms.unflatten(1, (strings, right))
            value = self.memory(own[place % len(own)], count, right, states).copy_(split[:, 0])
            for number, component in enumerate(found.unbind(0), 1):
                value.addcmul_(split[:, number], component.unsqueeze(1))
            yield value


def _chain_parts(
    sites: Sequence[Tensor], components: Tensor, rows: Sequence[Rows], *, keep: bool
) -> Iterator[tuple[slice, _ChainWork]]:
    """The observables in parts whose values fit the cache; `keep` those of all sites."""
    count, states = len(sites[0]), components.shape[2]
    widest = max(site.shape[1] for site in sites)
    one = 4 * max(1, states) * widest * (len(components) + 1)
    size = max(1, _CACHE // one)
    size = -(-count // -(-count // size))
    lengths = [len(components) + 1, *[1] * (1 + (len(sites) if keep else 2))]
    memories = [components.new_empty(size * widest * states * length) for length in lengths]
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        mine = [_narrow(row, part) for row in rows]
        picked = [pick(components, row) for row in mine]
        yield part, _ChainWork([site[part] for site in sites], picked, mine, memories)


def _add_rows(total: Tensor, rows: Rows, value: Tensor) -> None:
    if isinstance(rows, slice):
        total[rows] += value
    else:
        total.index_add_(0, torch.tensor(rows, device=value.device), value)


class _Work(NamedTuple):
    """What some of the observables need, o of them.

    Attributes:
        picked: The components of each of their sites, `(components, o, states)`.
        rows: Which sites of the states these are.
        matrix: The observables `(o, left strings, right strings)`.
        right: Products of components of the right half of the sites, `(o, strings, states)`.
        factors: Those of the left half with their places, after the first, which is 1.
        value: Memory of the shape of `matrix @ right`.
    """

    picked: list[Tensor]
    rows: list[Rows]
    matrix: Tensor
    right: Tensor
    factors: list[tuple[int, Tensor]]
    value: Tensor


def _parts(
    observable: Tensor, components: Tensor, rows: Sequence[Rows]
) -> Iterator[tuple[slice, _Work]]:
    """The observables in parts of some, in memory that the next part uses again."""
    half, states = len(rows) // 2, components.shape[2]
    base, count = len(components) + 1, observable.shape[1]
    left, right = base**half, base ** (len(rows) - half)
    matrix = observable.T.contiguous().view(count, left, right)
    size = max(1, _CACHE // (4 * max(1, states) * (left + right)))
    size = -(-count // -(-count // size))  # parts of nearly equal size
    memory = [components.new_empty(size, base**k, states) for k in range(1, len(rows) - half + 1)]
    more = [components.new_empty(size, base**k, states) for k in range(1, half + 1)]
    value = components.new_empty(size, left, states)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        length = part.stop - start
        mine = [_narrow(row, part) for row in rows]
        picked = [pick(components, row) for row in mine]
        products = _products(picked[half:], [buffer[:length] for buffer in memory])
        factors = list(enumerate(picked[0].unbind(0), 1)) if half == 1 else []
        if half > 1:
            found = _products(picked[:half], [buffer[:length] for buffer in more])
            factors = list(enumerate(found.unbind(1)))[1:]
        yield part, _Work(picked, mine, matrix[part], products, factors, value[:length])


def _narrow(rows: Rows, part: slice) -> Rows:
    if isinstance(rows, list):
        return rows[part]
    start = rows.start + part.start * rows.step
    return slice(start, start + (part.stop - part.start) * rows.step, rows.step)


def _products(
    picked: list[Tensor], memory: list[Tensor]
) -> Float[Tensor, "observables strings states"]:
    """Products of (1, component, ...) over some sites, the first most significant.

    Args:
        picked: The components of each site.
        memory: For the products of the last site, the last two, and so on.
    """
    result = memory[0]
    result[:, 0] = 1
    result[:, 1:] = picked[-1].transpose(0, 1)
    for found, grown in zip(picked[-2::-1], memory[1:], strict=False):
        split = grown.unflatten(1, (len(found) + 1, -1))
        split[:, 0] = result
        torch.mul(found.transpose(0, 1).unsqueeze(2), result.unsqueeze(1), out=split[:, 1:])
        result = grown
    return result


def _add_grads(
    total: Tensor,
    sites: list[tuple[Tensor, Rows]],
    grad: Float[Tensor, "observables strings states"],
    factor: Tensor | None,
    whole: bool,
) -> None:
    """From the gradient of `_products`, times a factor, those of the components of each site.

    They are added to `total`, or written there if nothing else is, `whole`.
    """
    for place, (found, row) in enumerate(sites):
        split = grad.unflatten(1, (len(found) + 1, -1))  # o p rest i
        after = [other for other, _ in sites[place + 1 :]]
        others = list(enumerate(after[0].unbind(0), 1)) if len(after) == 1 else []
        if len(after) > 1:
            memory = [
                found.new_empty(found.shape[1], (len(found) + 1) ** k, found.shape[2])
                for k in range(1, len(after) + 1)
            ]
            others = list(enumerate(_products(after, memory).unbind(1)))[1:]
        for number in range(len(found)):
            value = split[:, number + 1, 0]
            if isinstance(row, slice) and whole:
                here = total[number, row]
                value = here.copy_(value) if factor is None else torch.mul(value, factor, out=here)
            else:
                value = value.clone() if factor is None else value * factor
            for other, product in others:
                term = split[:, number + 1, other]
                value.addcmul_(term if factor is None else term * factor, product)
            if not (isinstance(row, slice) and whole):
                _add_rows(total[number], row, value)
        if after:
            grad = split[:, 0].clone()
            for number, component in enumerate(found.unbind(0), 1):
                grad.addcmul_(split[:, number], component.unsqueeze(1))


def _covers(rows: Sequence[Rows], sites: int) -> bool:
    """Whether slices hold each site once."""
    runs = [range(sites)[row] if isinstance(row, slice) else range(0) for row in rows]
    return sum(map(len, runs)) == sites and len(set().union(*runs)) == sites
