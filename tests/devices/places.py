"""Where tests of devices run: on accelerators there are, and on the one that is none."""

from dataclasses import dataclass

import torch
from torch.testing import assert_close
from torch.utils import _pytree

from tests.devices import pretend


@dataclass(frozen=True)
class Place:
    """A device; `home` brings its tensors to the CPU."""

    name: str

    def __str__(self):
        return self.name

    def move(self, x):
        """Tensors, states and modules there."""
        if self.name == pretend.NAME:
            return pretend.pretend(x)
        if isinstance(x, torch.nn.Module):
            return x.to(self.name)
        return _pytree.tree_map(lambda leaf: _to(leaf, self.name), x)

    def home(self, x):
        """Tensors and states back on the CPU."""
        return pretend.held(x) if self.name == pretend.NAME else _pytree.tree_map(_to_cpu, x)


PLACES = [Place(pretend.NAME), *[Place("cuda")] * torch.cuda.is_available()]


def same(result, expected, place, dtype):
    """Assert that a result is at the place, and equals what the CPU has."""
    tensors = [x for x in _pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]
    assert tensors
    assert {x.device.type for x in tensors} == {place.name}
    single = torch.finfo(dtype).bits < 64
    close = {"rtol": 1e-3, "atol": 1e-4} if single else {"rtol": 1e-9, "atol": 1e-10}
    assert_close(_pytree.tree_leaves(place.home(result)), _pytree.tree_leaves(expected), **close)


def _to(leaf, device):
    return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf


def _to_cpu(leaf):
    return leaf.detach().cpu() if isinstance(leaf, torch.Tensor) else leaf
