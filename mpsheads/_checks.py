"""Checks of arguments: one clear error that names the argument, the rule and what came."""

import os
from collections.abc import Container, Iterable, Mapping, Set
from numbers import Real
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


def check_type(name: str, value: object, kind: Any, what: str = "") -> None:
    """Raise `TypeError` unless `value` is of that kind, which `what` puts into words."""
    if not isinstance(value, kind):
        first = kind[0] if isinstance(kind, tuple) else kind
        wanted = what or f"a {first.__name__}"
        raise TypeError(f"`{name}` must be {wanted}, got {type(value).__name__}.")


def check_path(name: str, value: object) -> None:
    """Raise `TypeError` unless `value` is a path or a name."""
    check_type(name, value, (str, os.PathLike), "a path or a name")


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


def as_device(device: torch.device | str) -> torch.device:
    """The device of that name; raise `ValueError` or `TypeError` if it is not to be had."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f'`device` {device!r} is not to be had here. Use "cpu".') from error
    except TypeError as error:
        raise TypeError(f"`device` must be a name such as 'cpu', got {device!r}.") from error


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


def list_of_texts(name: str, texts: Any) -> list[str]:
    """The texts of any sequence by position, also of a column of pandas, whatever its index is.

    Raises:
        TypeError: If it is no sequence of strings; the message names the place.
        ValueError: If a text holds a lone surrogate.
    """
    if isinstance(texts, str | bytes | Tensor | Mapping | Set) or not isinstance(texts, Iterable):
        kind = {str: "one string", Tensor: "a tensor"}.get(type(texts), type(texts).__name__)
        raise TypeError(f"`{name}` must be a sequence of strings, got {kind}.")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"`{name}`[{i}] must be a string, got {type(text).__name__}.")
        check_unicode(f"`{name}`[{i}]", text)
    return texts


def check_unicode(what: str, text: str) -> None:
    """Raise `ValueError` if a text holds half of a surrogate pair, which no file can carry."""
    try:
        if not text.isascii():  # which costs next to nothing
            text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds a lone surrogate, which is not Unicode.") from None


def check_id(place: str, what: str, identifier: object) -> None:
    """Raise unless an id can stand in every file, and be read by trec_eval, where a NUL ends it.

    Args:
        place: Of the error: an argument, or a file and line.
        what: Which id it is, such as "query id".
        identifier: The id.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is empty, not Unicode, or holds a NUL, a tab or a line break.
    """
    if isinstance(identifier, str) and identifier.strip() and identifier.isprintable():
        return  # nearly always
    shown, what = ascii(identifier)[:80], f"{place}: the {what}"
    if not isinstance(identifier, str):
        raise TypeError(f"{what} must be a string, got {shown}: write integers as strings, too.")
    if not identifier.strip():
        raise ValueError(f"{what} is empty.")
    if any(character in identifier for character in "\0\t\n\r"):
        raise ValueError(f"{what} {shown} holds a NUL, a tab or a line break.")
    check_unicode(f"{what} {shown}", identifier)


def whole_number(what: str, value: Any, most: int) -> int:
    """A whole number from -`most` to `most`, also if it is written as a float such as 2.0.

    Raises:
        ValueError: If it is none.
    """
    number: Any = value
    if isinstance(value, Real) and abs(number) <= most and number == int(number):
        return int(number)
    shown = repr(value)[:80]
    raise ValueError(f"{what} must be an integer from -{most:,} to {most:,}, got {shown}.")


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
