"""To and from Qiskit and OpenQASM 2 and 3, which Qiskit reads and writes.

Site i is qubit i. Qiskit writes basis states with qubit 0 last, and we with site 0 first: amplitude
`b_0 b_1 ... b_n` here is amplitude `b_n ... b_1 b_0` there, that of `Statevector(circuit.
reverse_bits())`.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from mpsheads._optional import optional_import
from mpsheads.interop._batch import numbers
from mpsheads.mps import Circuit, Operation

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_SAME = (  # gates with the same name, angles and order of qubits
    *("rx", "ry", "rz", "p", "id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "cx", "cz", "cp"),
    *("crx", "cry", "crz", "swap", "iswap", "ccx", "rxx", "ryy", "rzz"),
)
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

    Gates without a counterpart here are taken apart into those that their definition names; of
    those without parameters on up to three qubits the matrix is taken. Barriers are left out.

    Args:
        circuit: Gates on qubits, with numbers for its parameters. Qubit i becomes site i.

    Raises:
        ImportError: If Qiskit is not installed.
        ValueError: If the circuit measures, resets, depends on classical bits, or has parameters
            without numbers.
    """
    optional_import("qiskit", _EXTRA)
    if circuit.parameters:
        names = ", ".join(parameter.name for parameter in circuit.parameters)
        raise ValueError(
            f"`circuit` must hold numbers for its parameters, got {names}. "
            f"Use `circuit.assign_parameters` first."
        )
    return Circuit(circuit.num_qubits, _gates(circuit, tuple(range(circuit.num_qubits))))


def to_qasm(circuit: Circuit, version: int = 3, parameters: Tensor | None = None) -> str:
    """The circuit as OpenQASM, as Qiskit writes it; the same up to a global phase.

    Gates without a counterpart there go out as rotations and CX gates.

    Args:
        circuit: What to write.
        version: 2 or 3.
        parameters: `(num_parameters,)`; the circuit's own values if `None`.

    Raises:
        ImportError: If Qiskit is not installed.
        ValueError: If the version is another, or the parameters are not as many as the circuit
            takes.
    """
    if version not in (2, 3):
        raise ValueError(f"`version` must be 2 or 3, got {version!r}.")
    package = optional_import("qiskit", _EXTRA)
    sent = to_qiskit(circuit, parameters)
    if "unitary" in sent.count_ops():
        basis = [*_SAME, "u", "cu"]
        sent = package.transpile(sent, basis_gates=basis, optimization_level=0)
    return optional_import(f"qiskit.qasm{version}", _EXTRA).dumps(sent)


def from_qasm(text: str) -> Circuit:
    """A circuit from OpenQASM 2 or 3, as Qiskit reads it; the same up to a global phase.

    Args:
        text: The program. Qubit i becomes site i, registers follow each other. Barriers are left
            out; gates without a counterpart here are taken apart.

    Raises:
        ImportError: If Qiskit is not installed.
        ValueError: If the program is not OpenQASM, or does more than apply gates.
    """
    found = re.search(r"^\s*OPENQASM\s+(\d+)", text, re.MULTILINE)
    version = int(found[1]) if found else 3  # which may leave it out
    if version not in (2, 3):
        raise ValueError(f"`text` must be OpenQASM 2 or 3, got version {version}.")
    read, mistakes = _reader(version)
    try:
        circuit = read(text)
    except mistakes as error:
        reason = str(error) or "it cannot be parsed"
        raise ValueError(f"`text` must be OpenQASM {version}: {reason}") from error
    return from_qiskit(circuit)


def _reader(version: int) -> "tuple[Callable[[str], QuantumCircuit], tuple[type[Exception], ...]]":
    """What reads OpenQASM, and what it raises."""
    qasm = optional_import(f"qiskit.qasm{version}", _EXTRA)
    if version == 2:
        names = qasm.LEGACY_CUSTOM_INSTRUCTIONS  # the gates that Qiskit's qelib1.inc holds
        return lambda text: qasm.loads(text, custom_instructions=names), (qasm.QASM2ParseError,)
    optional_import("qiskit_qasm3_import", _EXTRA)
    parser = optional_import("openqasm3.parser", _EXTRA)
    return qasm.loads, (qasm.QASM3ImporterError, parser.QASM3ParsingError)


def _to_gate(operation: Operation, angles: list[float], matrix: Any) -> tuple[Any, float]:
    """Qiskit's gate, and the phase that ours has beyond it."""
    library = optional_import("qiskit.circuit.library", _EXTRA)
    phase = 0.0
    if operation.gate in _SAME:
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


def _gates(circuit: Any, sites: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """What `Circuit` takes, for a circuit whose qubits are the given sites."""
    place = dict(zip(circuit.qubits, sites, strict=True))
    for instruction in circuit.data:
        operation = instruction.operation
        where = tuple(place[qubit] for qubit in instruction.qubits)
        if operation.name == "barrier":
            continue
        angles = [float(angle) for angle in getattr(operation, "params", ()) if _is_number(angle)]
        definition = getattr(operation, "definition", None)
        if _is_standard(operation, angles):
            family, convert = _OTHER.get(operation.name, (operation.name, lambda *same: same))
            yield family, where, convert(*angles)
        elif not angles and len(where) <= 3 and _is_unitary(operation):
            matrix = optional_import("qiskit.quantum_info", _EXTRA).Operator(operation).data
            yield matrix, where[::-1]
        elif definition is not None and not instruction.clbits:
            yield from _gates(definition, where)
        else:
            raise ValueError(
                f'`circuit` must hold gates only, got "{operation.name}" on qubit '
                f"{', '.join(map(str, where))}. Measurements at the end go with "
                f"`circuit.remove_final_measurements()`."
            )


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
    return {name: gates[name].base_class for name in (*_SAME, *_OTHER)}


def _is_number(angle: Any) -> bool:
    return isinstance(angle, (int, float)) or type(angle).__name__ == "ParameterExpression"


def _is_unitary(operation: Any) -> bool:
    circuit_module = optional_import("qiskit.circuit", _EXTRA)
    return isinstance(operation, (circuit_module.Gate, circuit_module.AnnotatedOperation))
