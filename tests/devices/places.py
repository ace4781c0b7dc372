"""Where tests of devices run: on the accelerator, or on a device that is none."""

from contextlib import contextmanager

import torch
from torch.testing import assert_close
from torch.utils import _pytree

if not torch.cuda.is_available():
    from tests.devices import pretend


class Pretend:
    """The device that is none."""

    name = "pretend"

    def move(self, x):
        """Tensors, states and modules there."""
        return pretend.pretend(x)

    def home(self, x):
        """Tensors and states back on the CPU."""
        return pretend.held(x)

    @contextmanager
    def without_waiting(self):
        """Fail where a number is looked at, or a tensor comes from the CPU."""
        pretend.COUNTS.clear()
        yield
        assert pretend.launches() > 0
        assert pretend.waits() == {}


class Cuda:
    """The first NVIDIA card."""

    name = "cuda"

    def move(self, x):
        """Tensors, states and modules there."""
        if isinstance(x, torch.nn.Module):
            return x.to(self.name)
        return _pytree.tree_map(lambda leaf: _moved(leaf, self.name), x)

    def home(self, x):
        """Tensors and states back on the CPU."""
        return _pytree.tree_map(lambda leaf: _moved(leaf, "cpu"), x)

    @contextmanager
    def without_waiting(self):
        """Fail where the CPU waits for the card."""
        torch.cuda.set_sync_debug_mode("error")
        yield
        torch.cuda.set_sync_debug_mode("default")


PLACE = Cuda() if torch.cuda.is_available() else Pretend()


def _moved(leaf, device):
    return leaf.detach().to(device) if isinstance(leaf, torch.Tensor) else leaf


def same(result, expected, dtype):
    """Assert that a result is at the place, and equals what the CPU has."""
    tensors = [x for x in _pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]
    assert tensors
    assert {x.device.type for x in tensors} == {PLACE.name}
    single = torch.finfo(dtype).bits < 64
    close = {"rtol": 1e-3, "atol": 1e-4} if single else {"rtol": 1e-9, "atol": 1e-10}
    assert_close(_pytree.tree_leaves(PLACE.home(result)), _pytree.tree_leaves(expected), **close)
