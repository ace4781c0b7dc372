"""A device that is none: its tensors live on the CPU, and refuse to meet those that say so.

With it a machine without an accelerator finds what would fail on one: a tensor made on the CPU in
the midst of a computation, and results that come back on another device. `COUNTS` says what would
be slow there: kernels that are launched, and looks at numbers, which wait for all of them.
"""

from collections import Counter

import torch
from torch.utils import _pytree
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"
COUNTS: Counter[str] = Counter()
_MOVES = {"copy_", "_to_copy", "_copy_from"}
_LOOKS = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "is_nonzero", "_unique2"}
_VIEWS = {"view", "_unsafe_view", "_reshape_alias", "as_strided", "slice", "select", "expand"}
_VIEWS |= {"permute", "transpose", "t", "unsqueeze", "squeeze", "detach", "alias", "unbind"}
_VIEWS |= {"view_as_real", "view_as_complex", "unfold", "split_with_sizes", "split", "diagonal"}
_VIEWS |= {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_conj"}


class _Backend(_DummyBackendModule):
    """What torch asks of a device."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def is_available(self):
        return False

    def get_rng_state(self, device):
        return torch.get_rng_state()

    def set_rng_state(self, state, device):
        torch.set_rng_state(state)


class _Hook(_DummyPrivateUse1Hook):
    """It is not there for who looks for an accelerator, as other tests do."""

    def is_available(self):
        return False


_setup_privateuseone_for_python_backend(NAME, _Backend(), _Hook())
_LIBRARY = torch.library.Library("aten", "IMPL")


class PretendTensor(torch.Tensor):
    """A tensor that says it is elsewhere, and keeps its numbers in `held`, on the CPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held, requires_grad=False):
        new = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            held.stride(),
            held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
            requires_grad=requires_grad,
        )
        new.held = held
        return new

    def tolist(self):
        COUNTS["tolist to cpu"] += 1
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def pretend(x):
    """A copy of a tensor, a state or a module on that device."""
    if isinstance(x, torch.nn.Module):
        return x._apply(_pretend)
    return _pytree.tree_map(_pretend, x)


def held(x):
    """The same on the CPU."""
    return _pytree.tree_map(lambda t: t.held if isinstance(t, PretendTensor) else t, x)


def launches():
    """Calls so far that would start a kernel."""
    return sum(count for name, count in COUNTS.items() if name not in _VIEWS)


def waits():
    """Calls so far that would wait for numbers, or for the CPU to send some."""
    return {name: n for name, n in COUNTS.items() if n and (name in _LOOKS or "cpu" in name)}


def _pretend(x):
    if not isinstance(x, torch.Tensor) or isinstance(x, PretendTensor):
        return x
    return PretendTensor(x.detach().clone(), x.requires_grad)


def _run(func, args, kwargs):
    name = func.overloadpacket.__name__
    given = [x for x in _pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    stays = kwargs.get("device") is None or torch.device(kwargs["device"]).type == NAME
    if name not in _MOVES and any(x.ndim for x in given if not isinstance(x, PretendTensor)):
        raise RuntimeError(f"{func}: expected all tensors on one device, found {NAME} and cpu.")
    arrives = name in _MOVES and any(x.ndim for x in given if not isinstance(x, PretendTensor))
    COUNTS[f"{name} from cpu" if arrives else name if stays else f"{name} to cpu"] += 1
    kwargs |= {"device": torch.device("cpu")} if "device" in kwargs else {}
    result = func(*held(args), **held(kwargs))
    written = [x for x in (*args, *kwargs.values()) if _holds(x, result)]
    if written:  # in place
        return written[0]
    return _pytree.tree_map(_wrap, result) if stays else result


def _holds(x, result):
    return isinstance(x, PretendTensor) and x.held is result


def _wrap(x):
    return PretendTensor(x.resolve_conj().resolve_neg()) if isinstance(x, torch.Tensor) else x


def _copy_from(source, target, non_blocking=False):
    COUNTS["copy_ from cpu"] += isinstance(target, PretendTensor) and source.ndim > 0
    held(target).copy_(held(source))
    return target


def _factory(name):
    """A function of torch that makes tensors from numbers, which makes them on this device."""
    packet, _, overload = name.partition(".")
    function = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def made(*args, device=None, **kwargs):
        return PretendTensor(function(*args, **kwargs, device="cpu"))

    _LIBRARY.impl(name, made, "PrivateUse1")


for _name in ["empty.memory_format", "empty_strided", "eye", "eye.m", "linspace", "randperm"]:
    _factory(_name)
for _name in ["arange", "arange.start", "arange.start_step", "tril_indices", "triu_indices"]:
    _factory(_name)
_LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")
