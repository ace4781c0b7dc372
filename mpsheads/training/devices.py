"""What a device's random numbers and memory ask of a training loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, which dropout draws from, and put them back at the end."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
        return
    module = torch.get_device_module(device)
    number = device.index if device.index is not None else module.current_device()
    with torch.random.fork_rng(devices=[number], device_type=device.type):
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
            "A step does not fit the device's memory. Try a smaller `batch_size`, `max_length`, "
            "`hard_negatives` or `trainable_layers`."
        ) from error
