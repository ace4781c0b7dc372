"""What the packages share: batches taken apart and put together, circuits with their numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads._arrays import door
from mpsheads.mps import MPS, Circuit, concatenate


def unbatch(state: MPS) -> list[list[Any]]:
    """The site tensors `(left, phys, right)` of each state, as NumPy arrays of its own.

    `exp(log_norm)` is spread over the sites, so that long chains stay within the range of floats.
    """
    factor = (state.log_norm / state.n_sites).exp()[:, None, None, None]
    sites = [(site * factor).detach().cpu().numpy() for site in state.sites]
    return [[site[i] for site in sites] for i in range(state.batch_size)]


def batch(states: Sequence[Sequence[Any]], log_norms: Sequence[float]) -> MPS:
    """One batch of lists of site arrays `(left, phys, right)`; bonds are filled up with zeros."""
    chains = [[_tensor(array) for array in arrays] for arrays in states]
    dtype = torch.float32
    for tensor in (tensor for chain in chains for tensor in chain):
        dtype = torch.promote_types(dtype, tensor.dtype)
    members = []
    for chain, log_norm in zip(chains, log_norms, strict=True):
        sites = tuple(tensor[None].to(dtype) for tensor in chain)
        members.append(MPS(sites, sites[0].real.new_full((1,), log_norm)))
    return concatenate(members)


def as_states(states: Any, kind: type) -> Sequence[Any]:
    """One state of another package, or a sequence of them, as a sequence; others raise."""
    if isinstance(states, kind):
        return [states]
    if not isinstance(states, Sequence):
        raise TypeError(f"`states` must be one state or a sequence, got {type(states).__name__}.")
    for i, state in enumerate(states):
        if not isinstance(state, kind):
            raise TypeError(f"`states[{i}]` must be a {kind.__name__}, got {type(state)}.")
    return states


@door
def numbers(circuit: Circuit, parameters: Tensor | None) -> tuple[Tensor, list[Any]]:
    """The parameters in double precision, and each operation's matrix as an array."""
    if parameters is None:
        parameters = circuit.parameters(torch.float64)
    values = parameters.detach().double().cpu()
    matrices = circuit.unitaries(values)
    if values.ndim != 1:
        raise ValueError(f"`parameters` must be one vector, got shape {tuple(values.shape)}.")
    return values, [matrix.resolve_conj().numpy() for matrix in matrices]


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach()
    tensor = torch.from_numpy(np.array(array))  # a copy: some arrays are read-only
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
