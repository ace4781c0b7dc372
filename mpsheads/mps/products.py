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

_CACHE = 1 << 19  # numbers that are worked on at once on a CPU
_MEMORY = 1 << 27  # elsewhere


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


def _parts(count: int, numbers: int, device: torch.device) -> list[slice]:
    """Observables in parts of nearly equal size, of which each has so many numbers to work on."""
    most = max(1, (_CACHE if device.type == "cpu" else _MEMORY) // max(1, numbers))
    size = -(-count // -(-count // most))
    return [slice(start, start + size) for start in range(0, count, size)]


class _Chain(torch.autograd.Function):
    """`_chain`, some observables at a time."""

    @staticmethod
    def forward(ctx, components: Tensor, rows: Sequence[slice], *sites: Tensor) -> Tensor:
        ctx.save_for_backward(components, *sites)
        widest = max(site.shape[1] for site in sites)
        numbers = widest * (len(components) + 1) * components.shape[2]
        ctx.rows, ctx.parts = rows, _parts(len(sites[0]), numbers, components.device)
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
    """`_dense` in place, some observables at a time."""

    @staticmethod
    def forward(ctx, components: Tensor, rows: Sequence[slice], observable: Tensor) -> Tensor:
        ctx.save_for_backward(components, observable)
        ctx.rows = rows
        total = components.new_empty(observable.shape[1], components.shape[2])
        for part, picked, value, _ in _picked_parts(components, rows, observable):
            _write_levels(value, picked, observable[:, part])
            total[part] = value[0]
        return total

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        components, observable = ctx.saved_tensors
        grad_components = torch.empty_like(components)
        grad_observable = torch.empty_like(observable)
        totals = _picked(grad_components, ctx.rows)
        base = len(components) + 1
        for part, picked, value, grad in _picked_parts(components, ctx.rows, observable):
            _write_levels(value, picked, observable[:, part])
            grad[0] = grads[0][part]
            for site, own in enumerate(picked[:-1]):  # strings before, component, strings after
                here, others = (
                    t.unflatten(0, (base**site, base, -1))[:, :, 0] for t in (grad, value)
                )
                if ctx.needs_input_grad[0]:
                    _write_sums(totals[site][:, part], here[:, 0], others[:, 1:])
                torch.mul(here[:, :1], own, out=here[:, 1:])
            last, moved = picked[-1], grad.transpose(0, 1)  # o strings i
            if ctx.needs_input_grad[0]:
                weights = observable[:, part].unflatten(0, (-1, base))[:, 1:].permute(2, 1, 0)
                totals[-1][:, part] = torch.bmm(weights.contiguous(), moved).transpose(0, 1)
            if ctx.needs_input_grad[2]:
                one = torch.cat([torch.ones_like(last[:1]), last]).permute(1, 2, 0)  # o i component
                grad_observable[:, part] = torch.bmm(moved, one).flatten(1).T
        return (
            grad_components if ctx.needs_input_grad[0] else None,
            None,
            grad_observable if ctx.needs_input_grad[2] else None,
        )


def _picked_parts(
    components: Tensor, rows: Sequence[slice], observable: Tensor
) -> Iterator[tuple[slice, list[Tensor], Tensor, Tensor]]:
    """Some observables at a time, the components of each of their sites, and memory to work in.

    That is twice `(strings of all sites but the last, observables, states)`.
    """
    strings, states = len(observable) // (len(components) + 1), components.shape[2]
    parts = _parts(observable.shape[1], 2 * strings * states, components.device)
    space = components.new_empty(2, strings, parts[0].stop if parts else 0, states)
    for part in parts:
        picked = [site[:, part] for site in _picked(components, rows)]
        value, grad = space[:, :, : picked[0].shape[1]]
        yield part, picked, value, grad


def _write_levels(value: Tensor, picked: Sequence[Tensor], observable: Tensor) -> None:
    """`_dense` in the memory `value`, whose first row it becomes.

    The others stay what the components of their sites come times.
    """
    *sites, last = picked
    table = observable.unflatten(0, (-1, len(last) + 1)).unsqueeze(3)  # strings component o 1
    torch.mul(table[:, 1], last[0], out=value).add_(table[:, 0])
    for place, component in enumerate(last[1:], 2):
        value.addcmul_(table[:, place], component)
    level = value
    for components in reversed(sites):
        level, *others = level.unflatten(0, (-1, len(components) + 1)).unbind(1)
        for term, component in zip(others, components, strict=True):
            level.addcmul_(term, component)


def _write_sums(
    total: Float[Tensor, "components o i"],
    grad: Float[Tensor, "strings o i"],
    others: Float[Tensor, "strings components o i"],
) -> None:
    """The sums over strings of the products."""
    torch.mul(grad[0], others[0], out=total)
    for row, other in zip(grad[1:], others[1:], strict=True):
        total.addcmul_(row, other)
