"""To and from quimb, which holds one state an object."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from mpsheads._arrays import door
from mpsheads._optional import optional_import
from mpsheads.interop._batch import as_states, batch, numbers, unbatch
from mpsheads.mps import MPO, MPS, Circuit

if TYPE_CHECKING:
    from quimb.tensor import Gate, MatrixProductOperator, MatrixProductState

    Network = MatrixProductState | MatrixProductOperator


@door
def to_quimb(state: MPS) -> "list[MatrixProductState]":
    """Each state of a batch as a quimb `MatrixProductState` of NumPy arrays.

    Args:
        state: The states. Gradients are cut, and tensors on a GPU are copied to the CPU.

    Returns:
        As many objects as the batch has states, with quimb's names: index `k0` and tag `I0` for
        site 0, which is leftmost and most significant there too. The amplitudes are the same;
        `exp(log_norm)` is spread over the sites.

    Raises:
        ImportError: If quimb is not installed.
    """
    tensor_module = optional_import("quimb.tensor", "interop")
    sent = []
    for arrays in unbatch(state):
        arrays[0] = arrays[0][0]  # open chains have no outer bonds there
        arrays[-1] = arrays[-1][..., 0]
        sent.append(tensor_module.MatrixProductState(arrays, shape="lpr"))
    return sent


def from_quimb(states: "Network | Sequence[Network]") -> MPS | MPO:
    """A batch from quimb's states, for example `CircuitMPS(...).psi`, or from its operators.

    Args:
        states: A `MatrixProductState` or a `MatrixProductOperator`, or several of one kind, with
            open ends, alike in their number of sites and physical dimensions.
            Bonds may differ: smaller ones are filled with zeros. Arrays of NumPy, torch or
            anything that NumPy reads.

    Returns:
        States with the same amplitudes, quimb's `exponent` as `log_norm`, or operators with the
        same matrices. The dtype is the one that holds them all.

    Raises:
        ImportError: If quimb is not installed.
        TypeError: If `states` is or holds something else.
        ValueError: If there is no state, one is cyclic, or they do not fit into one batch.
    """
    tensor_module = optional_import("quimb.tensor", "interop")
    first = states[0] if isinstance(states, Sequence) and states else states
    is_operator = isinstance(first, tensor_module.MatrixProductOperator)
    kind = type(first) if is_operator else tensor_module.MatrixProductState
    states = as_states(states, kind)
    for i, state in enumerate(states):
        if state.cyclic:
            raise ValueError(f"`states[{i}]` must have open ends, but it is cyclic.")
    log_norms = [float(state.exponent) * math.log(10) for state in states]
    found = batch([_site_arrays(state) for state in states], log_norms)
    if not is_operator:
        return found
    factor = (found.log_norm / found.n_sites).exp()[:, None, None, None]
    legs = [round(phys**0.5) for phys in found.phys_dims]  # out and in, merged until here
    sites = zip(found.sites, legs, strict=True)
    return MPO(tuple((site * factor).unflatten(2, (leg, leg)) for site, leg in sites))


def to_quimb_gates(
    circuit: Circuit, parameters: Float[Tensor, " parameters"] | None = None
) -> "list[Gate]":
    """The gates of a circuit for any of quimb's simulators, with numbers for its parameters.

    `quimb.tensor.Circuit(n).apply_gates(gates)` and `CircuitMPS(n, max_bond=8).apply_gates(gates)`
    take them; site i is qubit i, and amplitudes come in the same order as here.

    Args:
        circuit: What to convert.
        parameters: `(num_parameters,)`; the circuit's own values if `None`.

    Returns:
        One gate for each operation, as a complex128 matrix.

    Raises:
        ImportError: If quimb is not installed.
        ValueError: If the parameters are not as many as the circuit takes.
    """
    gate = optional_import("quimb.tensor", "interop").Gate
    _, matrices = numbers(circuit, parameters)
    return [
        gate.from_raw(matrix, operation.sites)
        for operation, matrix in zip(circuit, matrices, strict=True)
    ]


def _site_arrays(state: "Network") -> list[Any]:
    """The arrays of one state as `(left, phys, right)`, phys of an operator out and in."""
    tensors: list[Any] = [state[site] for site in state.sites]
    bonds = [left.bonds(right) for left, right in pairwise(tensors)]
    arrays, size, ends = [], 1, [(), *bonds, ()]
    for i, (site, tensor) in enumerate(zip(state.sites, tensors, strict=True)):
        names = ("upper_ind", "lower_ind") if hasattr(state, "upper_ind") else ("site_ind",)
        outer = [getattr(state, name)(site) for name in names]
        data = tensor.transpose(*ends[i], *outer, *ends[i + 1]).data
        arrays.append(data.reshape(size, tensor.inds_size(outer), -1))
        size = arrays[-1].shape[-1]
    return arrays
