"""Whatever Qiskit's state vector takes is read as the same circuit, or refused with the cure."""

import numpy as np
import pytest

from mpsheads.interop import from_qiskit
from mpsheads.mps import Circuit
from tests.interop.test_circuits import assert_same_up_to_phase, dense_state, state_of_qiskit
from tests.later import Later

pytestmark = pytest.mark.slow

qiskit = Later("qiskit")
library = Later("qiskit.circuit.library")
module = Later("qiskit.circuit")
info = Later("qiskit.quantum_info")
random = Later("qiskit.circuit.random")
annotated = Later("qiskit.circuit.annotated_operation")


def quantum_circuit(n_qubits, *instructions):
    circuit = qiskit.QuantumCircuit(n_qubits)
    for gate, qubits in instructions:
        circuit.append(gate, qubits)
    return circuit


def on_all(gate):
    return quantum_circuit(gate.num_qubits, (gate, range(gate.num_qubits)))


def numbered(circuit):
    return circuit.assign_parameters(np.linspace(-3, 3, circuit.num_parameters))


def with_box():
    circuit = qiskit.QuantumCircuit(3)
    circuit.delay(10, 0)
    circuit.h(range(3))
    circuit.barrier()
    circuit.rx(np.float32(0.25), 0)
    return circuit


def evolution(*strings, time=0.8):
    return library.PauliEvolutionGate(info.SparsePauliOp(strings), time=time)


CIRCUITS = {
    "one qubit": lambda: quantum_circuit(
        3,
        (library.U2Gate(0.3, -0.4), [0]),
        (library.U1Gate(0.2), [1]),
        (library.U3Gate(0.3, 0.5, 0.7), [2]),
        (library.RGate(0.3, 0.4), [1]),
        (library.RVGate(0.3, 0.4, 0.5), [1]),
        (library.PauliGate("XYZ"), [2, 0, 1]),
        (library.GlobalPhaseGate(0.3), []),
    ),
    "open controls": lambda: quantum_circuit(
        3,
        (library.CXGate(ctrl_state=0), [0, 1]),
        (library.CPhaseGate(0.4, ctrl_state=0), [1, 2]),
        (library.CUGate(0.1, 0.2, 0.3, 0.4, ctrl_state=0), [2, 0]),
        (library.RYGate(0.3).control(2, ctrl_state=1, annotated=False), [2, 0, 1]),
    ),
    "delays and barriers": with_box,
    "several controls": lambda: quantum_circuit(
        4,
        (library.C3XGate(), [3, 1, 0, 2]),
        (library.MCPhaseGate(0.3, 3), [0, 1, 2, 3]),
        (library.MCXGate(3), [1, 0, 2, 3]),
        (library.XGate().control(2, annotated=True), [2, 0, 3]),
        (library.RXGate(0.3).control(3, annotated=True), [2, 0, 3, 1]),
    ),
    "a power of a control": lambda: on_all(
        annotated.AnnotatedOperation(
            library.RXXGate(0.3),
            [annotated.ControlModifier(2, 1), annotated.PowerModifier(0.5)],
        )
    ),
    "matrices": lambda: quantum_circuit(
        4,
        (library.UnitaryGate(info.random_unitary(16, seed=1)), [2, 0, 1, 3]),
        (library.UnitaryGate(info.random_unitary(8, seed=1)), [2, 0, 3]),
        (library.HamiltonianGate(np.diag([1.0, 2, 3, 5]) + np.eye(4)[::-1], 0.3), [3, 1]),
        (library.DiagonalGate(np.exp(1j * np.arange(16))), [2, 0, 1, 3]),
        (library.UCRYGate(list(range(8))), [2, 0, 1, 3]),
    ),
    "an instruction": lambda: quantum_circuit(
        4, (quantum_circuit(2, (library.CXGate(), [1, 0])).to_instruction(), [3, 1])
    ),
    "permutation": lambda: on_all(library.PermutationGate([3, 0, 2, 1])),
    "linear function": lambda: on_all(
        library.LinearFunction(np.tril(np.ones((4, 4), dtype=bool))),
    ),
    "cliffords": lambda: quantum_circuit(
        4,
        (info.random_clifford(4, seed=3), [2, 0, 1, 3]),
        (info.random_clifford(2, seed=3), [2, 0]),
    ),
    "prepare_state": lambda: on_all(library.StatePreparation(np.array([1, 2j, 3, 1]) / 15**0.5)),
    "commuting evolution": lambda: on_all(evolution("XXXXXXX", "ZZIIIII", "IIIIIZZ")),
    "evolution": lambda: on_all(evolution("XX", "ZI")),
    "evolution backwards": lambda: on_all(evolution("XXII", "IZZI", "YIII").inverse()),
    "controlled evolution": lambda: on_all(evolution("XX", "ZI").control(2)),
    "annotated evolution": lambda: on_all(evolution("XX", "ZI").control(2, annotated=True)),
    "evolution of a list": lambda: on_all(
        library.PauliEvolutionGate([info.SparsePauliOp("XX"), info.SparsePauliOp("ZI")], 0.8)
    ),
    "evolution in a gate": lambda: on_all(on_all(evolution("XXII", "ZIIZ")).to_gate()),
    "efficient_su2": lambda: numbered(library.efficient_su2(4, reps=1)),
    "excitation_preserving": lambda: numbered(library.excitation_preserving(3, reps=1)),
    "qaoa_ansatz": lambda: numbered(library.qaoa_ansatz(info.SparsePauliOp(["ZZI", "IZZ"]))),
    "evolved_operator_ansatz": lambda: numbered(
        library.evolved_operator_ansatz(info.SparsePauliOp(["ZZI", "XIZ"]), reps=1)
    ),
    "zz_feature_map": lambda: numbered(library.zz_feature_map(3, reps=1)),
    "pauli_two_design": lambda: numbered(library.pauli_two_design(3, reps=2, seed=1)),
    "quantum_volume": lambda: library.quantum_volume(4, seed=1),
    "iqp": lambda: library.iqp([[6, 5, 3], [5, 4, 5], [3, 5, 1]]),
    "fourier_checking": lambda: library.fourier_checking([1, -1, -1, -1], [1, 1, -1, -1]),
    "hidden_linear_function": lambda: library.hidden_linear_function(
        [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    ),
    "grover_operator": lambda: library.grover_operator(library.PhaseOracleGate("a & ~b | c")),
    "phase_estimation": lambda: library.phase_estimation(3, on_all(library.TGate())),
    "graph_state": lambda: on_all(library.GraphStateGate([[0, 1, 0], [1, 0, 1], [0, 1, 0]])),
    "qft": lambda: on_all(library.QFTGate(5)),
    "adders": lambda: quantum_circuit(
        7,
        (library.ModularAdderGate(3), range(6)),
        (library.HalfAdderGate(2), range(5)),
        (library.FullAdderGate(2), range(6)),
    ),
    "multiplier": lambda: on_all(library.MultiplierGate(2)),
    "comparator": lambda: on_all(library.IntegerComparatorGate(2, 2)),
    "logic": lambda: quantum_circuit(
        5,
        (library.AndGate(3, [1, 0, -1]), range(4)),
        (library.OrGate(3, [1, 1, -1]), range(4)),
        (library.BitwiseXorGate(3, 5), range(3)),
        (library.InnerProductGate(2), range(4)),
        (library.BitFlipOracleGate("a & ~b"), range(3)),
    ),
    "pauli rotations": lambda: quantum_circuit(
        4,
        (library.LinearPauliRotationsGate(3, 0.3, 0.2), range(4)),
        (library.PolynomialPauliRotationsGate(3, [0.1, 0.2]), range(4)),
    ),
    "several targets": lambda: on_all(library.MCMTGate(library.ZGate(), 2, 2)),
    "uniform superposition": lambda: on_all(library.UniformSuperpositionGate(5, 3)),
    "mølmer-sørensen": lambda: on_all(library.MSGate(3, 0.3)),
    "pauli product": lambda: on_all(
        library.PauliProductRotationGate(info.Pauli("XYZZ"), 0.4),
    ),
}


def assert_read(sent):
    assert_same_up_to_phase(dense_state(from_qiskit(sent)), state_of_qiskit(sent))


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_circuit_of_the_library_is_read(name):
    assert_read(CIRCUITS[name]())


def test_every_standard_gate_is_read():
    standard = library.get_standard_gate_name_mapping()
    gates = {name: gate for name, gate in standard.items() if isinstance(gate, module.Gate)}
    assert len(gates) > 40
    del gates["global_phase"]  # which is on no qubit
    for gate in gates.values():
        angles = np.linspace(0.3, 2, len(gate.params))
        assert_read(on_all(type(gate)(*angles) if gate.params else gate))


def test_random_circuits_are_read_before_and_after_a_transpiler():
    bases = [["u", "cx"], ["rz", "sx", "x", "ecr"], ["rx", "ry", "rzz"], ["h", "p", "cz"]]
    for seed in range(50):
        sent = random.random_circuit(2 + seed % 3, 3, max_operands=4, seed=seed)
        assert_read(sent)
        basis, level = bases[seed % 4], seed % 8 // 4
        assert_read(qiskit.transpile(sent, basis_gates=basis, optimization_level=level))


def bits(fill):
    circuit = qiskit.QuantumCircuit(2, 2)
    fill(circuit)
    return circuit


def branch(circuit):
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)


REFUSED = {
    "measure": (lambda c: c.measure(1, 0), "measure.* on qubit 1. Leave it out"),
    "reset": (lambda c: c.reset(1), "reset.* on qubit 1. It is not unitary"),
    "initialize": (lambda c: c.initialize([0, 1], 1), "initialize.* on qubit 1. .*prepare_state"),
    "if": (branch, "if_else.* on qubit 0.* depends on bits"),
    "opaque": (lambda c: c.append(module.Gate("g", 1, []), [0]), "g.* qubit 0. It has no def"),
    "parameter": (
        lambda c: c.rx(module.Parameter("angle"), 0),
        "numbers for its parameters, got angle. .*assign_parameters",
    ),
    "infinite": (lambda c: c.rx(float("inf"), 0), r"finite angles, got rx\(\[inf\]\)"),
    "empty": (lambda c: c.qregs.clear() or c.__init__(), "at least one qubit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_unitary_is_refused_with_the_cure(name):
    fill, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"`circuit` must .*{message}"):
        from_qiskit(bits(fill))


def test_an_evolution_on_many_qubits_is_exact_or_refused():
    strings = ["X" * 8, "Z" + "I" * 7]
    with pytest.raises(ValueError, match=r"do not commute .* 6 qubits, got 8.*decompose\('Pauli"):
        from_qiskit(on_all(evolution(*strings)))
    steps = on_all(evolution(*strings)).decompose("PauliEvolution")
    assert len(from_qiskit(steps)) > 8


def test_loops_over_numbers_are_unrolled():
    circuit = qiskit.QuantumCircuit(2)
    with circuit.for_loop(range(3)) as i:
        circuit.rx(i * 0.1, 1)
        circuit.cx(0, 1)
    gates = [gate for i in range(3) for gate in (("rx", 1, [i * 0.1]), ("cx", (0, 1)))]
    assert from_qiskit(circuit) == Circuit(2, gates)


def test_what_is_no_circuit_is_refused():
    with pytest.raises(TypeError, match="`circuit` must be a `QuantumCircuit`, got str"):
        from_qiskit("circuit")
