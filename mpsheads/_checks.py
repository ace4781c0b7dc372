"""Checks of arguments: one clear error that names the argument, the rule and what came."""

import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral, Real
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

_ASSUMED: ContextVar[bool] = ContextVar("assume_finite", default=False)


@contextmanager
def assume_finite() -> Iterator[None]:
    """Within it no argument is searched for NaN or infinity; types and shapes are checked still.

    For hot loops over embeddings that were checked before, and for accelerators, where a look at
    the numbers waits for them. It holds for the thread that enters it, and is a decorator, too.
    Named after the setting of scikit-learn.
    """
    token = _ASSUMED.set(True)
    try:
        yield
    finally:
        _ASSUMED.reset(token)


def check_positive(**values: int) -> None:
    """Raise `ValueError` unless every named integer is at least 1."""
    check_integers(1, **values)


def check_integers(least: int, **values: int) -> None:
    """Raise unless every named value is an integer, Python's or NumPy's, of `least` at least."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"`{name}` must be an integer, got {value!r}.")
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}.")


def check_type(name: str, value: object, kind: Any, what: str = "") -> None:
    """Raise `TypeError` unless `value` is of that kind, which `what` puts into words."""
    if not isinstance(value, kind):
        first = kind[0] if isinstance(kind, tuple) else kind
        wanted = what or f"a {first.__name__}"
        raise TypeError(f"`{name}` must be {wanted}, got {type(value).__name__}.")


def as_integers(name: str, values: Any) -> tuple[int, ...]:
    """One integer or several, of Python, NumPy or torch, as a tuple; `TypeError` for others."""
    try:
        return (index(values),)
    except TypeError:
        try:
            return tuple(map(index, values))
        except TypeError:
            raise TypeError(f"`{name}` must be integers, got {values!r}.") from None


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


def check_shape(name: str, x: Tensor, features: int | None = None) -> None:
    """Raise unless `x` is a floating `(batch, features)` tensor; of any width if that is `None`."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"`{name}` must be a floating-point tensor, got {kind}.")
    if x.ndim != 2 or x.shape[1] != (features or x.shape[1] or 1):
        width = features or "1 or more"
        raise ValueError(f"`{name}` must have shape (batch, {width}), got {tuple(x.shape)}.")


def check_vectors(name: str, x: Tensor, features: int | None = None) -> None:
    """`check_shape`, and raise `ValueError` where a row is not finite, or its norm overflows.

    Cost: one read of `x`, and on an accelerator a wait for it; see `assume_finite`.
    """
    check_shape(name, x, features)
    if not can_look(x):
        return
    wide = torch.promote_types(x.dtype, torch.float32)
    norms = torch.linalg.vector_norm(x.detach(), dim=1, dtype=wide)
    if not norms.isfinite().all():
        check_finite(name, x)
        row, most = int((~norms.isfinite()).nonzero()[0]), torch.finfo(wide).max ** 0.5
        raise ValueError(f"`{name}` must have norms below {most:.2g}, but row {row} is longer.")


def list_of_texts(name: str, texts: Any) -> list[str]:
    """The texts of any sequence by position, also of a column of pandas; other things raise."""
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

    `place` is an argument, or a file and line; `what` such as "query id".
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
    """A whole number from -`most` to `most`, also one written as 2.0; `ValueError` for others."""
    number: Any = value
    if isinstance(value, Real) and abs(number) <= most and number == int(number):
        return int(number)
    shown = repr(value)[:80]
    raise ValueError(f"{what} must be an integer from -{most:,} to {most:,}, got {shown}.")


def first_fault(error: Any) -> str:
    """What pydantic finds wrong first, of a union the nearest: which part, the rule, what came."""
    first = max(error.errors(), key=lambda each: len(each["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and "`" in message:  # a whole sentence of ours
        return message
    where = ".".join(part for part in map(str, first["loc"]) if not {"[", "-"} & {*part})[:80]
    return f"`{where}`: {message[0].lower()}{message[1:]}, got {first['input']!r:.80}."


def check_held(what: str, ids: Iterable[str], held: Container[str], holder: str) -> None:
    """Raise `ValueError` if one of `ids`, which `what` names, is not held."""
    absent = next((identifier for identifier in ids if identifier not in held), None)
    if absent is not None:
        raise ValueError(f"{what}: {absent!r} is not one of {holder}.")


def check_sample(name: str, x: Tensor, numbers: int) -> None:
    """Raise `ValueError` unless two rows of `x` differ; warn if there are but `numbers` rows."""
    if len(x) < 2:
        raise ValueError(f"`{name}` must hold two rows, better some thousand, got {len(x)}.")
    if (x - x[0]).abs().max() <= 1e-10 * x.abs().max():
        raise ValueError(f"`{name}` must hold rows that differ, but all {len(x)} are the same.")
    if len(x) <= numbers:
        warnings.warn(
            f"`{name}` holds {len(x)} rows, no more than the {numbers} numbers that are kept: some "
            f"of these say nothing of other rows. Give some thousand.",
            stacklevel=6,
        )


def is_traced(x: Tensor) -> bool:
    """Whether torch traces or transforms the code, so that it must be made of torch's functions.

    Within a transform or forward mode all of it must, also what does not depend on its arguments.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or x.is_meta
    )


def is_concrete(x: Tensor) -> bool:
    """Whether the numbers of `x` can be looked at: not if traced, nor in a CUDA graph."""
    return not (is_traced(x) or (x.is_cuda and torch.cuda.is_current_stream_capturing()))


def can_look(x: Tensor) -> bool:
    """Whether the numbers of `x` are to be looked at: not within `assume_finite`, either."""
    return is_concrete(x) and not _ASSUMED.get()


def check_finite(name: str, x: Tensor) -> None:
    """Raise `ValueError` where `x` holds NaN or infinity, naming the first such row."""
    if not can_look(x) or torch.linalg.vector_norm(x.detach()).isfinite():
        return  # the norm may overflow where each number is finite, and costs a tenth
    bad = ~torch.isfinite(x)
    if bad.any():
        row = int(bad.reshape(len(x), -1).any(dim=1).nonzero()[0])
        raise ValueError(f"`{name}` must be finite, but row {row} holds NaN or infinity.")
