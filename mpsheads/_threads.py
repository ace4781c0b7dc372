"""How many threads torch uses for an operation on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for each operation on the CPU while the block runs.

    With one, a thread waits for no other. Training a head takes many small steps: there several
    threads gain little, and where the cores are shared they were seen to be ten times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
