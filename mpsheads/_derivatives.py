"""Derivatives by hand: first ones, backwards, and an error for all others."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def first_derivative(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that is no function to differentiate again: whoever tries gets an error.

    Unlike torch's `once_differentiable`, also where the loss is linear in the result.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *grads: Any) -> Any:
        if not torch.is_grad_enabled():
            return backward(ctx, *grads)
        with torch.no_grad():
            found = backward(ctx, *grads)
        origins = (*grads, *ctx.saved_tensors)
        many = found if isinstance(found, tuple) else (found,)
        return tuple(None if x is None else _Last.apply(x, *origins) for x in many)

    return guarded


class _Last(torch.autograd.Function):
    """The first argument, which depends on all of them in a way that nobody differentiates."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, *origins: Tensor | None) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "Second derivatives through decompositions (QR, truncation, Schmidt values), fused "
            "expectation values of local observables, heads or log-fidelity are not available."
        )
