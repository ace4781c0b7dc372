"""Expectation values of small observables in product states, fused for the backward pass.

An observable on w sites is a vector over w-fold products of (1, component, ...); a product state
has one number for each component of each site. Everything runs along the states, the last axis.
Observables are taken some at a time, so that all that is larger than inputs and outputs fits the
cache; the backward pass computes it anew.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_traced
from mpsheads._constants import indices
from mpsheads._derivatives import first_derivative

Rows = slice | tuple[int, ...]
"""Which site of the register each observable's own site is, one for each observable."""

_CACHE = 1 << 19  # numbers that are worked on at once


def dense_expectation(
    observable: Float[Tensor, "strings observables"],
    components: Float[Tensor, "components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "observables states"]:
    """Expectation value of each observable in each product state.

    Strings are products of (1, component, ...) over the observables' sites, the first most
    significant; `rows` says for each of these which sites of the states they are. First derivatives
    only, except where torch traces the code. Cost: O(observables * strings * states).
    """
    return _run(_Dense, _dense, components, rows, observable)


def chain_expectation(
    sites: Sequence[Float[Tensor, "observables _left strings _right"]],
    components: Float[Tensor, "components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "observables states"]:
    """`dense_expectation` of observables that are matrix product operators, outer bonds 1.

    Cost: O(observables * states * components * bond**2) a site.
    """
    return _run(_Chain, _chain, components, rows, *sites)


def as_rows(sites: Sequence[int]) -> Rows:
    """Site numbers, as a slice where they rise evenly."""
    stride = sites[1] - sites[0] if len(sites) > 1 else 1
    if stride > 0 and list(sites) == list(range(sites[0], sites[-1] + 1, stride)):
        return slice(sites[0], sites[-1] + 1, stride)
    return tuple(sites)


def _run(
    fused: type[torch.autograd.Function],
    plain: Callable[..., Tensor],
    components: Tensor,
    rows: Sequence[Rows],
    *observables: Tensor,
) -> Tensor:
    """The fused function where numbers are at hand, the plain one where torch traces the code."""
    if is_traced(components):
        return plain([_pick(components, row) for row in rows], *observables)
    everything = range(components.shape[1])
    places = [everything[row] if isinstance(row, slice) else row for row in rows]
    flat = tuple(site for sites in places for site in sites)
    slices = [row for row in rows if isinstance(row, slice)]
    if len(slices) < len(rows) or sorted(flat) != list(everything):  # seen by several, or by none
        count, components = len(places[0]), _pick(components, flat)
        slices = [slice(i * count, (i + 1) * count) for i in range(len(rows))]
    return fused.apply(components, slices, *observables)  # pyright: ignore


def _pick(components: Tensor, rows: Rows) -> Tensor:
    """The components of some sites, a view where they are evenly spaced."""
    if isinstance(rows, slice):
        return components[:, rows]
    return components.index_select(1, indices(rows, components))


def _picked(components: Tensor, rows: Sequence[slice]) -> list[Tensor]:
    """The components of each of the observables' sites, `(components, observables, states)`."""
    return [components[:, row] for row in rows]


def _dense(picked: Sequence[Tensor], observable: Tensor) -> Tensor:
    value = observable.unsqueeze(2)  # strings o i
    for components in picked:
        value, *others = value.unflatten(0, (len(components) + 1, -1)).unbind(0)
        for term, component in zip(others, components.unbind(0), strict=True):
            value = torch.addcmul(value, term, component)
    return value[0]


def _chain(picked: Sequence[Tensor], *sites: Tensor) -> Tensor:
    value = picked[0].new_ones(len(sites[0]), 1, picked[0].shape[2])  # o l i
    for site, components in zip(sites, picked, strict=True):
        terms = site.permute(0, 2, 3, 1).flatten(1, 2) @ value  # o (p r) [l] i
        value, *others = terms.unflatten(1, site.shape[2:]).unbind(1)
        for term, component in zip(others, components.unbind(0), strict=True):
            value = torch.addcmul(value, term, component.unsqueeze(1))  # o [p] r i
    return value[:, 0]


def _parts(count: int, numbers: int) -> list[slice]:
    """Observables in parts of nearly equal size, of which each has so many numbers to work on."""
    most = max(1, _CACHE // max(1, numbers))
    size = -(-count // -(-count // most))
    return [slice(start, start + size) for start in range(0, count, size)]


class _Chain(torch.autograd.Function):
    """`_chain`, some observables at a time."""

    @staticmethod
    def forward(ctx, components: Tensor, rows: Sequence[slice], *sites: Tensor) -> Tensor:
        ctx.save_for_backward(components, *sites)
        widest = max(site.shape[1] for site in sites)
        numbers = widest * (len(components) + 1) * components.shape[2]
        ctx.rows, ctx.parts = rows, _parts(len(sites[0]), numbers)
        picked = _picked(components, rows)
        return torch.cat(
            [_chain([c[:, part] for c in picked], *(s[part] for s in sites)) for part in ctx.parts]
        )

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        components, *sites = ctx.saved_tensors
        totals = [torch.empty_like(tensor) for tensor in ctx.saved_tensors]
        by_site = _picked(totals[0], ctx.rows)
        for part in ctx.parts:
            own = [c[:, part].detach() for c in _picked(components, ctx.rows)]
            own += [site[part].detach() for site in sites]
            for i, tensor in enumerate(own):
                tensor.requires_grad_(i >= len(sites) or ctx.needs_input_grad[0])
            with torch.enable_grad():
                _chain(own[: len(sites)], *own[len(sites) :]).backward(grads[0][part])
            totals_of_part = [total[:, part] for total in by_site]
            totals_of_part += [total[part] for total in totals[1:]]
            for total, tensor in zip(totals_of_part, own, strict=True):
                if tensor.grad is not None:
                    total.copy_(tensor.grad)
        return totals[0] if ctx.needs_input_grad[0] else None, None, *totals[1:]


class _Dense(torch.autograd.Function):
    """`_dense`, some observables at a time, as one product of the two halves of the sites."""

    @staticmethod
    def forward(ctx, components: Tensor, rows: Sequence[slice], observable: Tensor) -> Tensor:
        ctx.save_for_backward(components, observable)
        ctx.rows = rows
        total = components.new_empty(observable.shape[1], components.shape[2])
        for part, _, matrix, left, right in _halves(components, rows, observable):
            value = torch.bmm(matrix, right)  # o l [r] i
            here = total[part].copy_(value[:, 0])
            for place, factor in enumerate(left, 1):
                here.addcmul_(value[:, place], factor)
        return total

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        components, observable = ctx.saved_tensors
        half = len(ctx.rows) // 2
        grad_components = torch.empty_like(components)
        grad_observable = torch.empty_like(observable)
        totals = _picked(grad_components, ctx.rows)
        for part, picked, matrix, left, right in _halves(components, ctx.rows, observable):
            here, own = grads[0][part], [total[:, part] for total in totals]
            if ctx.needs_input_grad[0] and half:
                _write_grads(own[:half], picked[:half], torch.bmm(matrix, right), here)
            weighted = here.new_empty(len(here), matrix.shape[1], here.shape[1])  # o l i
            weighted[:, 0] = here
            for place, factor in enumerate(left, 1):
                torch.mul(here, factor, out=weighted[:, place])
            if ctx.needs_input_grad[2]:
                grad_observable[:, part] = (weighted @ right.mT).flatten(1).T  # o l [i] r
            if ctx.needs_input_grad[0]:
                back = torch.bmm(matrix.mT, weighted)  # o r [l] i
                _write_grads(own[half:], picked[half:], back, None)
        return (
            grad_components if ctx.needs_input_grad[0] else None,
            None,
            grad_observable if ctx.needs_input_grad[2] else None,
        )


def _halves(
    components: Tensor, rows: Sequence[slice], observable: Tensor
) -> Iterator[tuple[slice, list[Tensor], Tensor, list[Tensor], Tensor]]:
    """For each part of the observables, o of them, what their values are products of.

    The components of each of their sites, the observables `(o, left strings, right strings)`, the
    products of components of the left half of the sites, and those of the right half.
    """
    half, base = len(rows) // 2, len(components) + 1
    left, right = base**half, base ** (len(rows) - half)
    matrix = observable.T.contiguous().view(-1, left, right)
    for part in _parts(len(matrix), components.shape[2] * (left + right)):
        picked = [site[:, part] for site in _picked(components, rows)]
        products = _products(picked[half:])
        yield part, picked, matrix[part], _factors(picked[:half]), products


def _products(picked: Sequence[Tensor]) -> Float[Tensor, "observables strings states"]:
    """Products of (1, component, ...) over some sites, the first most significant."""
    result = picked[0].new_empty(picked[0].shape[1], len(picked[0]) + 1, picked[0].shape[2])
    result[:, 0] = 1
    result[:, 1:] = picked[-1].transpose(0, 1)
    for components in picked[-2::-1]:
        one, others = result.unsqueeze(1), components.transpose(0, 1).unsqueeze(2)
        grown = one.new_empty(len(result), len(components) + 1, *result.shape[1:])
        grown[:, :1] = one
        torch.mul(others, one, out=grown[:, 1:])
        result = grown.flatten(1, 2)
    return result


def _factors(picked: Sequence[Tensor]) -> list[Tensor]:
    """What `_products` gives, without the first, which is 1."""
    if len(picked) > 1:
        return list(_products(picked).unbind(1))[1:]
    return [component for components in picked for component in components.unbind(0)]


def _write_grads(
    totals: Sequence[Tensor],
    picked: Sequence[Tensor],
    grad: Float[Tensor, "observables strings states"],
    factor: Tensor | None,
) -> None:
    """From the gradient of `_products`, times a factor, those of the components of each site."""
    for place, (total, components) in enumerate(zip(totals, picked, strict=True)):
        split = grad.unflatten(1, (len(components) + 1, -1))  # o p rest i
        others = _factors(picked[place + 1 :])
        for number, here in enumerate(total.unbind(0), 1):
            terms = split[:, number].unbind(1)
            if factor is None:
                here.copy_(terms[0])
            else:
                torch.mul(terms[0], factor, out=here)
            for term, product in zip(terms[1:], others, strict=True):
                here.addcmul_(term if factor is None else term * factor, product)
        if others:
            grad = split[:, 0].clone()
            for number, component in enumerate(components.unbind(0), 1):
                grad.addcmul_(split[:, number], component.unsqueeze(1))
