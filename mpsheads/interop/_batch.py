"""A batch of MPS taken apart into NumPy arrays, one state at a time, and put together again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpsheads.mps import MPS


def unbatch(state: MPS) -> list[list[Any]]:
    """The site tensors `(left, phys, right)` of each state, as NumPy arrays of its own.

    The factor `exp(log_norm)` is spread evenly over the sites, which keeps the tensors of long
    chains within the range of floats.
    """
    factor = (state.log_norm / state.n_sites).exp()[:, None, None, None]
    sites = [(site * factor).detach().cpu().numpy() for site in state.sites]
    return [[site[i] for site in sites] for i in range(state.batch_size)]


def batch(states: Sequence[Sequence[Any]], log_norms: Sequence[float]) -> MPS:
    """One batch from lists of site arrays `(left, phys, right)`, smaller bonds filled with zeros.

    Args:
        states: For each state its arrays, of NumPy or of anything that NumPy or torch reads.
        log_norms: Natural logarithm of a factor of each state.

    Raises:
        ValueError: If there is no state, or the states differ in sites or physical dimensions.
    """
    if not states:
        raise ValueError("`states` must hold at least one state.")
    tensors = [[_tensor(array) for array in arrays] for arrays in states]
    dims = [tuple(tensor.shape[1] for tensor in chain) for chain in tensors]
    for i, found in enumerate(dims):
        if found != dims[0]:
            raise ValueError(
                f"`states` must agree in sites and physical dimensions to form one batch: "
                f"state 0 has {_describe(dims[0])}, state {i} has {_describe(found)}."
            )
    sites = tuple(_pad_and_stack(column) for column in zip(*tensors, strict=True))
    dtype = sites[0].dtype
    for site in sites:
        dtype = torch.promote_types(dtype, site.dtype)
    sites = tuple(site.to(dtype) for site in sites)
    log_norm = torch.tensor(log_norms, dtype=sites[0].real.dtype, device=sites[0].device)
    return MPS(sites, log_norm)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach()
    import numpy

    tensor = torch.from_numpy(numpy.array(array))  # a copy: some arrays are read-only
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()


def _pad_and_stack(tensors: Sequence[Tensor]) -> Tensor:
    left, right = (max(tensor.shape[axis] for tensor in tensors) for axis in (0, 2))
    dtype = tensors[0].dtype
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    stacked = tensors[0].new_zeros(len(tensors), left, tensors[0].shape[1], right, dtype=dtype)
    for i, tensor in enumerate(tensors):
        stacked[i, : tensor.shape[0], :, : tensor.shape[2]] = tensor
    return stacked


def _describe(dims: tuple[int, ...]) -> str:
    kinds = sorted(set(dims))
    return f"{len(dims)} sites of dimension {' and '.join(map(str, kinds))}"
