"""Z of each kept qubit in the Heisenberg picture: its light cone, evolved, met with the inputs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads.encodings import PAULIS
from mpsheads.heads.register import Register
from mpsheads.mps import Circuit
from mpsheads.mps.lightcone import Observable, evolve_cones, find_cones, meet_inputs

_LARGEST = 1 << 27  # numbers of all evolved observables; above, states are evolved


class KeptObservables:
    """Light cones of Z of the kept qubits, those of one form together.

    Args:
        circuit: On all qubits.
        register: Which qubits are kept, and the feature of each.

    Attributes:
        sizes: How many qubits kept ones depend on, ascending.
    """

    def __init__(self, circuit: Circuit, register: Register) -> None:
        self._cones = find_cones(circuit, "Z", tuple((site,) for site in register.kept))
        self._inputs = [cones.window_rows(register.features) for cones in self._cones]
        rows = [row for cones in self._cones for row in cones.rows]
        self._order = sorted(range(len(rows)), key=rows.__getitem__)
        self.sizes = sorted({len(cones.letters) for cones in self._cones})

    def evolve(self, angles: Float[Tensor, " angles"]) -> list[Observable]:
        """The observables evolved backwards through the circuit, those of each form of cone."""
        return [evolve_cones(cones, cones.own(angles), PAULIS) for cones in self._cones]

    def meet(
        self, observables: Sequence[Observable], components: Float[Tensor, "_ features batch"]
    ) -> Float[Tensor, "kept batch"]:
        """Their expectation values in the states of the inputs, `encodings.components`."""
        values = [
            meet_inputs(observable, components, rows)
            for observable, rows in zip(observables, self._inputs, strict=True)
        ]
        if len(values) == 1:
            return values[0]
        index = torch.tensor(self._order, device=components.device)
        return torch.cat(values).index_select(0, index)


def fits_memory(bonds: Sequence[int]) -> bool:
    """Whether observables of states that need these bonds are small enough to be evolved.

    The bond of an observable is up to the square of that of the states.
    """
    return 4 * (len(bonds) + 1) * max(bonds, default=1) ** 4 <= _LARGEST
