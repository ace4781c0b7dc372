"""What comes in at the door: NumPy wherever tensors and numbers are welcome, and nothing else."""

import functools
import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])
_CALLED = ("__init__", "__getitem__")  # members with an underscore that callers pass arguments to
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NUMBERS = {"Float": "real", "Inexact": "real or complex", "Integer": "integer", "Int": "integer"}


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

    NumPy's scalars and arrays become numbers, sequences of numbers, or tensors, whichever the
    signature asks for; tensors go out. Another type, or another kind of number in a tensor, raises
    `TypeError`, and another number of axes `ValueError`. Cost: about a microsecond an argument.

    Args:
        function: A function; or a class, for its constructor and its public methods.
        module: Where the result is found by its name, if not where the function is.
    """
    if isinstance(function, type):
        for name, member in list(vars(function).items()):
            if inspect.isfunction(member) and (name in _CALLED or name[0] != "_"):
                setattr(function, name, door(member))
        return function  # pyright: ignore[reportReturnType]
    parameters = inspect.signature(function).parameters.items()
    wanted = {name: _kinds(p.annotation) for name, p in parameters if p.kind not in _MANY}
    names = tuple(wanted)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        first = [_fit(name, value, *wanted[name]) for name, value in zip(names, args, strict=False)]
        named = {k: _fit(k, v, *wanted[k]) if k in wanted else v for k, v in kwargs.items()}
        return function(*first, *args[len(first) :], **named)

    wrapped.__module__ = module or wrapped.__module__  # pickle asks for it
    return wrapped  # pyright: ignore[reportReturnType]


def _kinds(annotation: Any) -> tuple[tuple[type, ...], Any]:
    """The classes that an annotation allows, and the one of jaxtyping among its parts, if any."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    typed = next((part for part in parts if hasattr(part, "dim_str")), None)
    kinds = [Tensor if part is typed else get_origin(part) or part for part in parts]
    kinds = [NoneType if kind is None else kind for kind in kinds]
    kinds += [list] if tuple in kinds else []
    if float in kinds or complex in kinds:
        kinds.append(int)
    plain = all(isinstance(kind, type) and kind not in (Any, inspect._empty) for kind in kinds)
    return tuple(kinds) if plain else (object,), typed


def _fit(name: str, value: Any, kinds: tuple[type, ...], typed: Any) -> Any:
    """The value as one of the kinds."""
    if typed is None and type(value) in kinds:
        return value
    if isinstance(value, np.ndarray) and np.ndarray not in kinds:
        value = _tensor(value) if Tensor in kinds else value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    kind = next((kind for kind in (bool, str, bytes, Tensor) if isinstance(value, kind)), object)
    meant = kind is object or kind in kinds or object in kinds  # these pass for others
    if not (meant and isinstance(value, kinds)):
        listed = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "None")
        raise TypeError(f"`{name}` must be {listed}, got {value!r:.50}.")
    if typed is not None and isinstance(value, Tensor):
        _check_axes(name, value, typed)
    return value


def _check_axes(name: str, value: Tensor, typed: Any) -> None:
    """Raise unless a tensor has the kind of numbers and the number of axes that jaxtyping names."""
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
