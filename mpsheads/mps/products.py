"""Expectation values of small observables in product states, fused for the backward pass.

An observable on w sites is a vector over w-fold products of (1, component, ...); a product state
has one number for each component of each site. Everything runs along the states, the last axis.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpsheads._checks import is_concrete

Rows = slice | list[int]
"""Which site of the register each observable's own site is, one for each observable."""


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
        found = _Expectation.apply(observable, components, rows)
        assert isinstance(found, Tensor)
        return found
    return _plain(observable, components, rows)


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


class _Expectation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, observable: Tensor, components: Tensor, rows: Sequence[Rows]) -> Tensor:
        picked = [pick(components, site) for site in rows]
        half = len(rows) // 2
        left, right = _products(picked[:half], components), _products(picked[half:], components)
        matrix = observable.unflatten(0, (len(left), len(right))).permute(2, 0, 1)  # o l r
        value = matrix @ right.permute(1, 0, 2)  # o l i
        ctx.save_for_backward(observable, components, value, *([left] if half > 1 else []), right)
        ctx.rows = rows
        if half == 0:
            return value[:, 0]
        total = value[:, 0].clone()
        for place in range(1, len(left)):
            total.addcmul_(value[:, place], left[place])
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        observable, components, value, *halves = ctx.saved_tensors
        rows, half = ctx.rows, len(ctx.rows) // 2
        picked = [pick(components, site) for site in rows]
        right = halves[-1]
        left = halves[0] if half > 1 else _products(picked[:half], components)
        weighted = grad.unsqueeze(1) * left.transpose(0, 1)  # o l i
        grad_observable = grad_components = None
        if ctx.needs_input_grad[0]:
            grad_observable = (weighted @ right.permute(1, 2, 0)).permute(1, 2, 0).flatten(0, 1)
        if ctx.needs_input_grad[1]:
            matrix = observable.unflatten(0, (len(left), len(right))).permute(2, 1, 0)  # o r l
            parts = [
                *_product_grads(picked[:half], (value * grad.unsqueeze(1)).transpose(0, 1)),
                *_product_grads(picked[half:], (matrix @ weighted).transpose(0, 1)),
            ]
            grad_components = torch.zeros_like(components)
            for site, part in zip(rows, parts, strict=True):
                if isinstance(site, slice):
                    grad_components[:, site] += part
                else:
                    index = torch.tensor(site, device=part.device)
                    grad_components.index_add_(1, index, part)
        return grad_observable, grad_components, None


def _products(picked: list[Tensor], like: Tensor) -> Float[Tensor, "strings observables states"]:
    """Products of (1, component, ...) over some sites, the first most significant."""
    if not picked:
        return like.new_ones(1, 1, 1)
    found = picked[-1]
    result = found.new_empty(len(found) + 1, *found.shape[1:])
    result[0] = 1
    result[1:] = found
    for found in picked[-2::-1]:
        grown = found.new_empty(len(found) + 1, *result.shape)
        grown[0] = result
        torch.mul(found.unsqueeze(1), result, out=grown[1:])
        result = grown.flatten(0, 1)
    return result


def _product_grads(picked: list[Tensor], grad: Tensor) -> list[Tensor]:
    """From the gradient of `_products` those of the components of each site."""
    grads = []
    for place, found in enumerate(picked):
        rest = _products(picked[place + 1 :], found) if place + 1 < len(picked) else None
        split = grad.unflatten(0, (len(found) + 1, -1))  # p rest o i
        if rest is None:
            grads.append(split[1:, 0])
            break
        grads.append((split[1:] * rest).sum(1))
        grad = split[0].clone()
        for term, component in zip(split[1:].unbind(0), found.unbind(0), strict=True):
            grad.addcmul_(term, component)
    return grads
