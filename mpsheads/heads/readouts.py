"""What a head returns of its kept qubits. A new readout goes here."""

import torch
from jaxtyping import Float
from torch import Tensor


def probability_angle(z: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The angle `2 asin(sqrt(p1))` of a qubit with `<Z> = z`, which is `acos(z)`, in [0, pi].

    Its derivative is unbounded at the poles, so z is held a rounding error away from them, where
    the gradient is zero instead.
    """
    limit = 1 - 2 * torch.finfo(z.dtype).eps
    return torch.acos(z.clamp(-limit, limit))
