"""Checks of arguments: one clear error that names the argument, the rule and what came."""

from collections.abc import Container, Iterable
from typing import Any

import torch
from torch import Tensor


def check_positive(**values: int) -> None:
    """Raise `ValueError` unless every named integer is at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"`{name}` must be an integer, got {value!r}.")
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")


def check_equal(what: str, **values: object) -> None:
    """Raise `ValueError` unless all named values are equal; `what` says which quantity they are."""
    if len(set(values.values())) > 1:
        came = ", ".join(f"`{name}` has {value}" for name, value in values.items())
        raise ValueError(f"The {what} must agree: {came}.")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(f'"{c}"' if isinstance(c, str) else f"{c:g}" for c in choices)
        raise ValueError(f"`{name}` must be one of {listed}, got {value!r}.")


def check_vectors(name: str, x: Tensor, features: int) -> None:
    """Raise unless `x` is a floating `(batch, features)` tensor."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"`{name}` must be a floating-point tensor, got {kind}.")
    if x.ndim != 2 or x.shape[1] != features:
        raise ValueError(
            f"`{name}` must have shape (batch, {features}), got {tuple(x.shape)}. "
            f"The second axis is the number of features that the head was built for."
        )


def check_texts(name: str, texts: Any) -> None:
    """Raise `TypeError` unless `texts` is a sequence of strings; the message names the place."""
    if isinstance(texts, str | Tensor):
        kind = "one string" if isinstance(texts, str) else "a tensor"
        raise TypeError(f"`{name}` must be a sequence of strings, got {kind}.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"`{name}`[{i}] must be a string, got {type(text).__name__}.")


def check_held(what: str, ids: Iterable[str], held: Container[str], holder: str) -> None:
    """Raise `ValueError` if one of `ids`, which `what` names, is not held."""
    absent = next((identifier for identifier in ids if identifier not in held), None)
    if absent is not None:
        raise ValueError(f"{what}: {absent!r} is not one of {holder}.")


def is_concrete(x: Tensor) -> bool:
    """Whether the numbers of `x` can be looked at: not while torch traces or transforms code."""
    return (
        not torch.compiler.is_compiling() and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # pyright: ignore
    )


def check_finite(name: str, x: Tensor) -> None:
    """Raise `ValueError` where `x` holds NaN or infinity, naming the first such row."""
    if not is_concrete(x):
        return
    bad = ~torch.isfinite(x)
    if bad.any():
        row = int(bad.reshape(len(x), -1).any(dim=1).nonzero()[0])
        raise ValueError(f"`{name}` must be finite, but row {row} holds NaN or infinity.")
