"""To and from Qiskit.

Site i is qubit i. Qiskit writes basis states with qubit 0 last, and we with site 0 first: amplitude
`b_0 b_1 ... b_n` here is amplitude `b_n ... b_1 b_0` there, that of `Statevector(circuit.
reverse_bits())`.
"""

import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mpsheads._optional import optional_import
from mpsheads.interop._batch import numbers
from mpsheads.mps import Circuit, Operation

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

SAME = (
    *("rx", "ry", "rz", "p", "id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "cx", "cz", "cp"),
    *("crx", "cry", "crz", "swap", "iswap", "ccx", "rxx", "ryy", "rzz"),
)
"""Gates with the same name, angles and order of qubits."""
_HALF_PI = math.pi / 2
_OTHER = {  # its U(t, f, d) is exp(i (f + d) / 2) Rz(f) Ry(t) Rz(d)
    "u": ("zyz", lambda t, f, d: (f, t, d)),
    "u3": ("zyz", lambda t, f, d: (f, t, d)),
    "u2": ("zyz", lambda f, d: (f, _HALF_PI, d)),
    "u1": ("p", lambda d: (d,)),
    "cu": ("controlled-unitary", lambda t, f, d, g: (g + (f + d) / 2, f, t, d)),
    "cu3": ("controlled-unitary", lambda t, f, d: ((f + d) / 2, f, t, d)),
    "cu1": ("cp", lambda d: (d,)),
}
_EXTRA = "interop"
_MATRIX_SITES = 3  # up to so many qubits a gate without angles is a matrix here
_EXACT_SITES = 6  # up to so many, what Qiskit would approximate is taken from its matrix
_CURES = {
    "measure": "Leave it out, as `QuantumCircuit.remove_final_measurements(inplace=False)` does.",
    "reset": "It is not unitary; `mpsheads.mps.measure` and `project` act on states.",
    "initialize": "It resets its qubits; `QuantumCircuit.prepare_state` is a gate.",
    **dict.fromkeys(
        ("if_else", "while_loop", "switch_case"),
        "What it does depends on bits: write the gates that it runs in its place.",
    ),
}
_CURE = (
    "It has no definition in gates: give it one, as `qiskit.transpile` may for a `QuantumCircuit`, "
    "or leave it out."
)


def to_qiskit(
    circuit: Circuit, parameters: Float[Tensor, " parameters"] | None = None
) -> "QuantumCircuit":
    """The circuit for Qiskit, with numbers for its parameters.

    Gates that Qiskit has keep their names; `zyz` becomes `u`, `controlled-unitary` becomes `cu`,
    and the others become matrices.

    Args:
        circuit: What to convert.
        parameters: `(num_parameters,)`; the circuit's own values if `None`.

    Returns:
        A `QuantumCircuit` of the same unitary, its global phase included. Site i is qubit i.

    Raises:
        ImportError: If Qiskit is not installed.
        ValueError: If the parameters are not as many as the circuit takes.
    """
    package = optional_import("qiskit", _EXTRA)
    values, matrices = numbers(circuit, parameters)
    sent = package.QuantumCircuit(circuit.num_sites)
    for operation, matrix in zip(circuit, matrices, strict=True):
        angles = values[operation.start : operation.stop].tolist()
        gate, phase = _to_gate(operation, angles, matrix)
        reverse = gate.name == "unitary"  # the first qubit is the least significant there
        sent.append(gate, operation.sites[::-1] if reverse else operation.sites)
        sent.global_phase += phase
    return sent


def from_qiskit(circuit: "QuantumCircuit") -> Circuit:
    """A circuit from one of Qiskit's, the same up to a global phase.

    Gates without a counterpart here are taken apart, as Qiskit does it; of those without parameters
    on up to three qubits the matrix is taken. An evolution of terms that do not commute, which
    Qiskit takes apart into Trotter steps, is exact on up to six qubits. Barriers and delays are
    left out, loops over numbers are unrolled.

    Args:
        circuit: Gates on qubits, with numbers for its parameters. Qubit i becomes site i.

    Raises:
        ImportError: If Qiskit is not installed.
        TypeError: If `circuit` is no `QuantumCircuit`.
        ValueError: If the circuit measures, resets, depends on classical bits, has parameters
            without numbers, or cannot be taken apart exactly.
    """
    package = optional_import("qiskit", _EXTRA)
    if not isinstance(circuit, package.QuantumCircuit):
        raise TypeError(f"`circuit` must be a `QuantumCircuit`, got {type(circuit).__name__}.")
    return convert(circuit, "circuit")


def convert(circuit: "QuantumCircuit", name: str) -> Circuit:
    """`from_qiskit`, where messages call what came by the given name."""
    if circuit.parameters:
        names = ", ".join(parameter.name for parameter in circuit.parameters)
        raise ValueError(
            f"`{name}` must hold numbers for its parameters, got {names}. "
            f"`QuantumCircuit.assign_parameters` puts numbers in their place."
        )
    if not circuit.num_qubits:
        raise ValueError(f"`{name}` must have at least one qubit.")
    return Circuit(circuit.num_qubits, _gates(circuit, tuple(range(circuit.num_qubits)), name))


def _to_gate(operation: Operation, angles: list[float], matrix: Any) -> tuple[Any, float]:
    """Qiskit's gate, and the phase that ours has beyond it."""
    library = optional_import("qiskit.circuit.library", _EXTRA)
    phase = 0.0
    if operation.gate in SAME:
        gate = _standard()[operation.gate](*angles)
    elif operation.gate == "zyz":
        beta, gamma, delta = angles
        gate, phase = library.UGate(gamma, beta, delta), -(beta + delta) / 2
    elif operation.gate == "controlled-unitary":
        alpha, beta, gamma, delta = angles
        gate = library.CUGate(gamma, beta, delta, alpha - (beta + delta) / 2)
    else:
        return library.UnitaryGate(matrix), 0.0
    return (gate.inverse(), -phase) if operation.adjoint else (gate, phase)


def _gates(circuit: Any, sites: tuple[int, ...], name: str) -> Iterator[tuple[Any, ...]]:
    """What `Circuit` takes, for a circuit whose qubits are the given sites."""
    module = optional_import("qiskit.circuit", _EXTRA)
    place = dict(zip(circuit.qubits, sites, strict=True))
    for instruction in circuit.data:
        operation = instruction.operation
        where = tuple(place[qubit] for qubit in instruction.qubits)
        if isinstance(operation, (module.Barrier, module.Delay)):
            continue
        if isinstance(operation, module.BoxOp):
            yield from _gates(operation.blocks[0], where, name)
            continue
        if isinstance(operation, module.ForLoopOp):
            values, parameter, body = operation.params
            for value in values:
                bound = {} if parameter is None else {parameter: value}
                yield from _gates(body.assign_parameters(bound), where, name)
            continue
        numbers = (int, float, module.ParameterExpression)
        given = getattr(operation, "params", ())
        angles = [float(angle) for angle in given if isinstance(angle, numbers)]
        if not all(map(math.isfinite, angles)):
            raise ValueError(f"`{name}` must hold finite angles, got {operation.name}({angles}).")
        if _is_standard(operation, angles):
            family, convert = _OTHER.get(operation.name, (operation.name, lambda *same: same))
            yield family, where, convert(*angles)
        else:
            found = None if instruction.clbits else _matrix_or_parts(operation, angles)
            if found is None:
                raise ValueError(
                    f'`{name}` must hold gates only, got "{operation.name}" on qubit '
                    f"{', '.join(map(str, where))}. {_CURES.get(operation.name, _CURE)}"
                )
            if isinstance(found, np.ndarray):
                yield found, where[::-1]
            else:
                yield from _gates(found, where, name)


def _matrix_or_parts(operation: Any, angles: list[float]) -> Any:
    """The matrix of a gate, qubit 0 least significant, or a circuit of simpler gates; else None."""
    package, module = (optional_import(name, _EXTRA) for name in ("qiskit", "qiskit.circuit"))
    operator = optional_import("qiskit.quantum_info", _EXTRA).Operator
    library = optional_import("qiskit.circuit.library", _EXTRA)
    count, parts = operation.num_qubits, getattr(operation, "definition", None)
    if isinstance(operation, library.Initialize):  # which resets
        return None
    try:
        unitary = isinstance(operation, (module.Gate, module.AnnotatedOperation))
        if unitary and not angles and count <= _MATRIX_SITES:
            return operator(operation).data
        if parts is None:
            parts = package.QuantumCircuit(count)
            parts.append(operation, range(count))
            parts = package.transpile(parts, basis_gates=["u", "cx"], optimization_level=0)
            if set(parts.count_ops()) - {"u", "cx"}:
                return None
    except package.exceptions.QiskitError:
        return None
    evolution = getattr(operation, "base_op", operation)
    if not isinstance(evolution, library.PauliEvolutionGate):
        return parts
    terms = evolution.operator  # of one operator, terms that commute can be taken apart exactly
    if hasattr(terms, "group_commuting") and len(terms.group_commuting()) == 1:
        return parts
    if count > _EXACT_SITES:
        raise ValueError(
            f'`circuit` must not hold "{operation.name}" of terms that do not commute on more than '
            f"{_EXACT_SITES} qubits, got {count}. Its Trotter steps, which are not exact, are "
            f"`circuit.decompose({operation.name!r})`."
        )
    with warnings.catch_warnings(action="ignore"):  # SciPy's, of a slow way to store the matrix
        gate = library.UnitaryGate(operator(operation))
    return gate.to_matrix() if count <= _MATRIX_SITES else gate.definition


def _is_standard(operation: Any, angles: list[float]) -> bool:
    """Whether this is the gate that its name says, one of those that we share with Qiskit.

    OpenQASM 3 has no `rzz`, `iswap` and so on: files define them, so a gate that has such a name
    is compared with what the name says.
    """
    standard = _standard().get(operation.name)
    if standard is None or getattr(operation, "base_class", None) is standard:
        return standard is not None
    try:
        gate = standard(*angles)
    except TypeError:  # another number of angles
        return False
    operator = optional_import("qiskit.quantum_info", _EXTRA).Operator
    return gate.num_qubits == operation.num_qubits and operator(gate).equiv(operator(operation))


@lru_cache
def _standard() -> dict[str, type[Any]]:
    """Qiskit's class of each gate that we have too, by its name there."""
    gates = optional_import("qiskit.circuit.library", _EXTRA).get_standard_gate_name_mapping()
    return {name: gates[name].base_class for name in (*SAME, *_OTHER)}
