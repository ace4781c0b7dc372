"""Constants that are computed once, and that no transform of torch sees being computed."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def constant(function: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Keep what a function of hashable arguments returns, as NumPy arrays; give it as tensors.

    A tensor that is kept would be a fake one if `torch.export` was the first to ask for it. Code
    that `torch.compile` may trace asks once beforehand.
    """
    known: dict[tuple[object, ...], np.ndarray] = {}

    def call(*key: object) -> Tensor:
        if key not in known:
            known[key] = np.ascontiguousarray(function(*key))
        return torch.from_numpy(known[key])

    call.__doc__ = function.__doc__
    return call
