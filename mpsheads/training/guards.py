"""What keeps a training run repeatable, and names what goes wrong in it with the way out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, which dropout draws from, and put them back at the end."""
    devices = []
    if device.type != "cpu":
        index = device.index
        devices = [torch.get_device_module(device).current_device() if index is None else index]
    kind = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices=devices, device_type=kind):
        torch.manual_seed(seed)
        yield


@contextmanager
def named_memory_failure() -> Iterator[None]:
    """Turn torch's errors of a full memory into one that says what makes a step smaller."""
    try:
        yield
    except RuntimeError as error:
        full = isinstance(error, torch.OutOfMemoryError) or "t allocate memory" in str(error)
        if not full:
            raise
        raise MemoryError(
            "A step does not fit the device's memory. Try a smaller `batch_size` or "
            "`hard_negatives`, or for an encoder a smaller `max_length` or `trainable_layers`."
        ) from error


def check_parameters(model: nn.Module, epoch: int, way_out: str) -> None:
    """Raise `ValueError` if a trained parameter is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise ValueError(
                f"The parameter `{name}` became NaN or infinite in epoch {epoch}. {way_out}"
            )


def validated(validation: Callable[[Any], float] | None, model: nn.Module) -> float | None:
    """The model's score in evaluation mode, `None` without a validation.

    Raises:
        ValueError: If it is NaN.
    """
    if validation is None:
        return None
    model.eval()
    with torch.no_grad():
        score = float(validation(model))
    if score != score:
        raise ValueError("`validation` returned NaN; it must return a number, higher is better.")
    return score
