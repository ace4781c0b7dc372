"""To and from TensorNetwork, which holds one state an object.

Its PyTorch backend gives wrong results for complex tensors (conjugation does nothing there), so
states go out on its NumPy backend.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsheads._arrays import door
from mpsheads._optional import optional_import
from mpsheads.interop._batch import as_states, batch, unbatch
from mpsheads.mps import MPS

if TYPE_CHECKING:
    from tensornetwork import FiniteMPS


@door
def to_tensornetwork(state: MPS) -> "list[FiniteMPS]":
    """Each state of a batch as a `FiniteMPS` of TensorNetwork, on the NumPy backend.

    Args:
        state: The states. Gradients are cut, and tensors on a GPU are copied to the CPU.

    Returns:
        As many objects as the batch has states, with site tensors `(left, phys, right)` as here
        and the same amplitudes; `exp(log_norm)` is spread over the sites. They are not in
        canonical form: to bring one there, which also divides out its norm, build
        `FiniteMPS(state.tensors, backend="numpy")` from it.

    Raises:
        ImportError: If TensorNetwork is not installed.
    """
    package = optional_import("tensornetwork", "interop")
    return [
        package.FiniteMPS(arrays, canonicalize=False, backend="numpy") for arrays in unbatch(state)
    ]


def from_tensornetwork(states: "FiniteMPS | Sequence[FiniteMPS]") -> MPS:
    """A batch from TensorNetwork's states, of any of its backends.

    Args:
        states: One state, or several alike in their number of sites and physical dimensions. Bonds
            may differ: smaller ones are filled with zeros.

    Returns:
        The batch, with the same amplitudes and `log_norm` zero. The dtype is the one that holds
        them all.

    Raises:
        ImportError: If TensorNetwork is not installed.
        TypeError: If `states` is or holds something else.
        ValueError: If there is no state, or they do not fit into one batch.
    """
    kind = optional_import("tensornetwork", "interop").FiniteMPS
    states = as_states(states, kind)
    arrays = [[state.get_tensor(i) for i in range(len(state))] for state in states]
    return batch(arrays, [0.0] * len(states))
