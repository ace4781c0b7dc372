"""To and from quimb, which holds one state an object."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from mpsheads._optional import optional_import
from mpsheads.interop._batch import batch, check_states, numbers, unbatch
from mpsheads.mps import MPS, Circuit

if TYPE_CHECKING:
    from quimb.tensor import Gate, MatrixProductState


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


def from_quimb(states: "Sequence[MatrixProductState]") -> MPS:
    """A batch from quimb's states, for example from `CircuitMPS(...).psi`.

    Args:
        states: States with open ends, alike in their number of sites and physical dimensions.
            Bonds may differ: smaller ones are filled with zeros. Arrays of NumPy, torch or
            anything that NumPy reads.

    Returns:
        The batch, with the same amplitudes; quimb's `exponent` becomes `log_norm`. The dtype is
        the one that holds them all.

    Raises:
        ImportError: If quimb is not installed.
        TypeError: If `states` is one state, or holds something else.
        ValueError: If there is no state, one is cyclic, or they do not fit into one batch.
    """
    tensor_module = optional_import("quimb.tensor", "interop")
    kind = tensor_module.MatrixProductState
    check_states(states, kind)
    for i, state in enumerate(states):
        if state.cyclic:
            raise ValueError(f"`states[{i}]` must have open ends, but it is cyclic.")
    log_norms = [float(state.exponent) * math.log(10) for state in states]
    return batch([_site_arrays(state) for state in states], log_norms)


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


def _site_arrays(state: "MatrixProductState") -> list[Any]:
    """The arrays of one state as `(left, phys, right)`, whatever order quimb holds them in."""
    tensors: list[Any] = [state[site] for site in state.sites]
    bonds = [left.bonds(right) for left, right in pairwise(tensors)]
    arrays, size, ends = [], 1, [(), *bonds, ()]
    for i, (site, tensor) in enumerate(zip(state.sites, tensors, strict=True)):
        left, index, right = ends[i], state.site_ind(site), ends[i + 1]
        data = tensor.transpose(*left, index, *right).data
        arrays.append(data.reshape(size, tensor.ind_size(index), -1))
        size = arrays[-1].shape[-1]
    return arrays
