"""Constants that are computed once, and that no transform of torch sees being computed."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mpsheads._checks import is_traced

_MOST = 64  # of one kind that are kept


def constant(function: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Keep what a function of hashable arguments returns; give it as a tensor beside another.

    It is in the dtype of that other tensor, or in `dtype`. Traced code gets it from an array of
    NumPy: a tensor that is kept would be a fake one if `torch.export` was the first to ask for it.
    What `torch.compile` may trace asks once beforehand.
    """
    arrays: dict[tuple[object, ...], np.ndarray] = {}  # torch.compile looks into no lru_cache

    def array(*key: object) -> np.ndarray:
        if key not in arrays:
            if len(arrays) >= _MOST:
                del arrays[next(iter(arrays))]
            arrays[key] = np.ascontiguousarray(function(*key))
        return arrays[key]

    @lru_cache(maxsize=_MOST)
    @torch.inference_mode(False)
    def tensor(device: torch.device, dtype: torch.dtype, *key: object) -> Tensor:
        return torch.from_numpy(array(*key)).to(device, dtype)

    def call(*key: object, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        if is_traced(like):
            return torch.from_numpy(array(*key)).to(like.device, dtype or like.dtype)
        return tensor(like.device, dtype or like.dtype, *key)

    call.__doc__ = function.__doc__
    return call


def indices(numbers: Iterable[int], like: Tensor) -> Tensor:
    """Integers as a tensor where `like` is.

    It is kept, so that an accelerator gets it once: a copy would wait, and no CUDA graph holds one.
    """
    if is_traced(like):
        return torch.tensor(list(numbers), dtype=torch.long, device=like.device)
    return _kept(tuple(numbers), like.device)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)
def _kept(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.long, device=device)
