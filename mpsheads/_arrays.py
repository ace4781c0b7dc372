"""NumPy arrays wherever tensors are welcome: what comes in as NumPy goes out as NumPy."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])


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


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    plain = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="), copy=False))
    return torch.from_numpy(plain if plain.flags.writeable else plain.copy())


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value
