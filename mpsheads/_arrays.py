"""What comes in at the door: NumPy wherever tensors and numbers are welcome, and nothing else."""

import functools
import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from mpsheads._checks import check_choice, check_integers, list_of_texts

Function = TypeVar("Function", bound=Callable[..., Any])
Rule = Callable[[str, Any], Any]
"""What checks an argument by its name and value; it returns the value to take, or `None`."""
_CALLED = ("__init__", "__getitem__")  # members with an underscore that callers pass arguments to
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_OPEN = (Any, Annotated, inspect.Parameter.empty)  # what says nothing of a class
_NUMBERS = {"Float": "real", "Inexact": "real or complex", "Integer": "integer", "Int": "integer"}
_NUMBERS |= {"Int64": "int64"}


def takes_arrays(function: Function) -> Function:
    """Let a function of tensors take NumPy arrays, too.

    If one of its arguments is an array, all are made tensors, no gradient is kept, and tensors that
    it returns, alone or in a tuple, become arrays. Half precision stays what it is.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if not any(isinstance(value, np.ndarray) for value in given):
            return function(*args, **kwargs)
        with torch.no_grad():
            named = {name: _tensor(value) for name, value in kwargs.items()}
            result = function(*map(_tensor, args), **named)
        if isinstance(result, tuple):
            return tuple(map(_array, result))
        return _array(result)

    return wrapped  # pyright: ignore[reportReturnType]


def as_tensor(name: str, value: Any) -> Tensor:
    """A tensor of anything that holds numbers; `TypeError` if it does not."""
    try:
        return torch.as_tensor(value)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TypeError(f"`{name}` must be an array of numbers: {reason}.") from error


def door(function: Function, module: str | None = None) -> Function:
    """Hold a function's arguments to its signature, before anything is computed.

    NumPy's scalars and arrays, and columns of tables, become numbers, sequences, or tensors,
    whichever the signature asks for; a `Sequence[str]` becomes a list, by `list_of_texts`. Tensors
    go out. Another type, or another kind of number in a tensor, raises `TypeError`; another number
    of axes, a value that a `Literal` does not list, or an integer that is not `Positive`,
    `ValueError`. Cost: about a microsecond an argument.

    Args:
        function: A function; or a class, for its constructor and its public methods.
        module: Where the result is found by its name, if not where the function is.
    """
    if isinstance(function, type):
        for name, member in list(vars(function).items()):
            inner = getattr(member, "__func__", member)
            if inspect.isfunction(inner) and (name in _CALLED or name[0] != "_"):
                held = door(inner)
                setattr(function, name, held if inner is member else type(member)(held))
        return function  # pyright: ignore[reportReturnType]
    parameters = inspect.signature(function).parameters.items()
    names = tuple(name for name, p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    found = {name: _wanted(p.annotation) for name, p in parameters if p.kind not in _MANY}
    wanted = {name: kinds for name, kinds in found.items() if kinds is not None}

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        pairs = zip(names, args, strict=False)
        first = [_fit(n, v, *wanted[n]) if n in wanted else v for n, v in pairs]
        named = {n: _fit(n, v, *wanted[n]) if n in wanted else v for n, v in kwargs.items()}
        return function(*first, *args[len(first) :], **named)

    wrapped.__module__ = module or wrapped.__module__  # pickle asks for it
    return wrapped  # pyright: ignore[reportReturnType]


def hold(room: dict[str, Any]) -> None:
    """Put the public names of a room behind doors: callers from outside pass them.

    Args:
        room: `globals()` of its `__init__`.
    """
    for name in room["__all__"]:
        if callable(room[name]) and get_origin(room[name]) is None:  # no constant, nor `dict[...]`
            room[name] = door(room[name], room["__name__"])


def _wanted(annotation: Any) -> tuple[tuple[type, ...], Rule | None] | None:
    """The classes that an annotation allows, and what else it asks; `None` if it allows all."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    rule = next((rule for part in parts if (rule := _rule(part))), None)
    kinds = [Tensor if hasattr(part, "dim_str") else get_origin(part) or part for part in parts]
    kinds = [NoneType if kind is None else kind for kind in kinds]
    if rule is list_of_texts and Tensor in kinds:
        return None  # texts or embeddings
    kinds += [list] if tuple in kinds else []
    if float in kinds or complex in kinds:
        kinds.append(int)
    if rule is list_of_texts or any(k in _OPEN or not isinstance(k, type) for k in kinds):
        kinds = [object, *(kind for kind in kinds if kind is NoneType)]
    return None if object in kinds and rule is None else (tuple(kinds), rule)


def _rule(part: Any) -> Rule | None:
    """What a part of an annotation asks of a value beyond its class."""
    if hasattr(part, "dim_str"):
        return lambda name, value: _check_axes(name, value, part)
    if get_origin(part) is Literal:
        return lambda name, value: check_choice(name, value, get_args(part))
    if get_origin(part) is Annotated:
        return lambda name, value: check_integers(part.__metadata__[0], **{name: value})
    return list_of_texts if part in (Sequence[str], list[str]) else None


def _fit(name: str, value: Any, kinds: tuple[type, ...], rule: Rule | None) -> Any:
    """The value as one of the kinds."""
    if rule is None and type(value) in kinds:
        return value
    if isinstance(value, np.generic):
        value = value.item()
    kind = next((kind for kind in (bool, str, bytes, Tensor) if isinstance(value, kind)), object)
    meant = kind is object or kind in kinds or object in kinds  # these pass for others
    if not (meant and isinstance(value, kinds)):
        if kind is object and hasattr(value, "__array__"):
            array = np.asarray(value)
            return _fit(name, _tensor(array) if Tensor in kinds else array.tolist(), kinds, rule)
        listed = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "None")
        raise TypeError(f"`{name}` must be {listed}, got {value!r:.50}.")
    if rule is None or (value is None and NoneType in kinds):
        return value
    changed = rule(name, value)
    return value if changed is None else changed


def _check_axes(name: str, value: Any, typed: Any) -> None:
    """Raise unless a tensor has the kind of numbers and the number of axes that jaxtyping names."""
    if not isinstance(value, Tensor):
        return
    if str(value.dtype)[6:] not in typed.dtypes:
        numbers = _NUMBERS.get(typed.__name__.partition("[")[0], typed.dtypes)
        raise TypeError(f"`{name}` must hold {numbers} numbers, got {value.dtype}.")
    axes = typed.dim_str.replace("_", "").split()
    some = any(axis[0] in "*." for axis in axes)  # any number of them
    lengths = zip(axes, value.shape, strict=False) if not some else ()
    fits = all(int(axis) == length for axis, length in lengths if axis.isdigit())
    if not fits or (value.ndim < len(axes) - 1 if some else value.ndim != len(axes)):
        raise ValueError(
            f"`{name}` must have the axes ({', '.join(axes)}), got shape {tuple(value.shape)}."
        )


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    plain = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="), copy=False))
    return torch.from_numpy(plain if plain.flags.writeable else plain.copy())


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value
