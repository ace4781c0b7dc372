"""OpenQASM means what its text says, is read by others, and refuses by name what is no gate."""

import math
import re

import pytest
import torch
from torch.testing import assert_close

from mpsheads.interop import from_qasm, to_qasm
from mpsheads.mps import Circuit, apply_circuit, basis_state, expectation
from tests.interop.test_circuits import (
    EVERY,
    angled,
    assert_same_up_to_phase,
    dense_state,
    state_of_qiskit,
)
from tests.later import Later

pytestmark = pytest.mark.slow

qasm2 = Later("qiskit.qasm2")

TWO = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\n'
THREE = 'OPENQASM 3;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\n'
ORIGINAL = {  # the gates of qelib1.inc in arXiv:1707.03429, and what the language has
    *("u3", "u2", "u1", "cx", "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "rx", "ry", "rz"),
    *("cz", "cy", "ch", "ccx", "crz", "cu1", "cu3", "U", "CX"),
    *("qreg", "creg", "gate", "include", "OPENQASM", "barrier"),
}
KNOWN = (
    *("u0", "u", "p", "sx", "sxdg", "swap", "cswap", "crx", "cry", "cp", "csx", "cu", "rxx", "rzz"),
    *("rccx", "rc3x", "c3x", "c3sqrtx", "c4x", "delay"),
)


def test_a_gate_is_what_the_text_defines():
    text = TWO + "gate rzz(t) a,b { cx a,b; rz(2*t) b; cx a,b; } h q; rzz(0.35) q[0],q[1];"
    state = apply_circuit(basis_state([0, 0], dtype=torch.complex128), from_qasm(text))
    assert_close(expectation(state, "YZ").real.item(), math.sin(0.7))


@pytest.mark.parametrize("name", KNOWN)
def test_a_definition_holds_for_every_name_that_qiskit_knows(name):
    (known,) = (gate for gate in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if gate.name == name)
    angles, qubits = ["0.3"] * known.num_params, [f"a{i}" for i in range(known.num_qubits)]
    names = ",".join(f"t{i}" for i in range(known.num_params))
    call = f"{name}({','.join(angles)})" if angles else name
    text = (
        f'OPENQASM 2.0; include "qelib1.inc"; // gate cx\n'
        f"gate {name}{f'({names})' if angles else ''} {','.join(qubits)} "
        f"{{ h {qubits[0]}; ry(0.7) {qubits[-1]}; }} "
        f"qreg q[{len(qubits)}]; {call} {','.join(f'q[{i}]' for i in range(len(qubits)))};"
    )
    last = len(qubits) - 1
    expected = Circuit(len(qubits), [("h", 0), ("ry", last, [0.7])])
    assert_same_up_to_phase(dense_state(from_qasm(text)), dense_state(expected))


def test_version_2_goes_out_in_gates_of_the_original_library_or_defines_them():
    circuit = angled(Circuit(3, EVERY))
    for one in (circuit, circuit.inverse()):
        text = to_qasm(one, 2)
        defined = set(ORIGINAL)
        for statement in re.split(r"[;{}]", text):
            words = statement.split("(")[0].split()
            if words:
                assert words[0] in defined, statement
            if words[:1] == ["gate"]:
                defined.add(words[1])
        plain = state_of_qiskit(qasm2.loads(text))  # which knows the original library alone
        assert_same_up_to_phase(plain, dense_state(one))


def test_barriers_are_left_out_and_registers_follow_each_other():
    text = """
    // a comment that names OPENQASM 3
    OPENQASM 2.0; include "qelib1.inc";
    qreg a[1]; qreg b[2];
    h a[0]; barrier a, b; cx a[0], b[1]; rz(pi/4) b;
    """
    circuit = from_qasm(text)
    assert circuit.num_sites == 3
    assert [(op.gate, op.sites) for op in circuit] == [
        ("h", (0,)),
        ("cx", (0, 2)),
        ("rz", (1,)),
        ("rz", (2,)),
    ]
    assert circuit.values == (math.pi / 4,) * 2


def test_qasm_3_may_define_and_modify_gates():
    text = """
    OPENQASM 3; include "stdgates.inc";
    gate rzz(t) a, b { rz(t) a; rz(t) b; }
    qubit[3] q;
    ctrl @ x q[2], q[0]; inv @ s q[1]; ctrl(2) @ z q[0], q[2], q[1]; rzz(0.3) q[0], q[1];
    """
    expected = Circuit(
        3,
        [
            ("cx", (2, 0)),
            ("sdg", 1),
            (torch.diag(torch.tensor([1.0] * 7 + [-1])), (0, 2, 1)),
            ("rz", 0, [0.3]),
            ("rz", 1, [0.3]),
        ],
    )
    assert_same_up_to_phase(dense_state(from_qasm(text)), dense_state(expected))


@pytest.mark.parametrize(
    "text",
    [
        'include "qelib1.inc"; qreg q[2]; x q[1];',
        "qreg q[2]; U(pi, 0, pi) q[1];",
        '\ufeffOPENQASM 2.0; include "qelib1.inc"; qreg q[2]; x q[1];',
        '// OPENQASM 3\nOPENQASM 2.0;\ninclude "qelib1.inc"; qreg q[2]; x q[1];',
        '// OPENQASM 2.0;\nOPENQASM 3; include "stdgates.inc"; qubit[2] q; x q[1];',
        '/*\nOPENQASM 2.0;\n*/ include "stdgates.inc"; qubit[2] q; x q[1];',
        'include "stdgates.inc"; qreg q[2]; x q[1];',
        "qubit[2] q; U(pi, 0, pi) q[1];",
        THREE + "delay[10ns] q[0]; box { x q[1]; } gphase(0.3);",
        THREE + "for int i in [1:2] { rx(i * pi / 3) q[1]; }",
    ],
)
def test_all_of_these_flip_the_second_qubit(text):
    expected = dense_state(Circuit(2, [("x", 1)]))
    assert_same_up_to_phase(dense_state(from_qasm(text)), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (THREE + "h q[0]; c[0] = measure q[1];", '`text` .* gates only, got "measure" on qubit 1'),
        (THREE + "reset q[0];", 'gates only, got "reset" on qubit 0. It is not unitary'),
        (THREE + "if (c[0]) { x q[0]; }", 'got "if_else" on qubit 0. What it does depends on bits'),
        (THREE + "while (c[0]) { x q[0]; }", 'got "while_loop" on qubit 0. What it does depends'),
        (THREE + "input float a; rx(a) q[0];", "`text` must hold numbers .*, got a. "),
        (THREE + "rx(1e400) q[0];", r"`text` must hold finite angles, got rx\(\[inf\]\)"),
        (THREE + "for int i in [0:1] { h q[i]; }", "3: line 5, 'for int i .*index must be int"),
        (THREE + "rx q[0];", "OpenQASM 3: line 5, 'rx q.0.;': .*missing 1 .*'theta'"),
        (THREE + "rx(0.1, 0.2) q[0];", "OpenQASM 3: line 5, 'rx"),
        (THREE + "cx q[0];", "OpenQASM 3: line 5, 'cx q.0.;': .*does not match"),
        (THREE + "cx q[0], q[0];", "OpenQASM 3: line 5, .*duplicate"),
        (THREE + "x q[5];", "OpenQASM 3: line 5, 'x q.5.;': index out of range"),
        (THREE + "rx(1/0) q[0];", "OpenQASM 3: line 5, .*zero"),
        (THREE + "opaque g a;", "OpenQASM 3: line 5, 'opaque g a;'"),
        (THREE + "nonsense q[0];", "`text` must be OpenQASM 3: .*5,0.*nonsense"),
        (TWO + "rx q[0];", "OpenQASM 2: .*:5,0: 'rx' takes 1 parameter, but got 0"),
        (TWO + "U\nq[0];", "OpenQASM 2: .*:5,0: 'U' takes 3 parameters, but got 0"),
        (TWO + "gate g a { rx a; } g q[0];", "OpenQASM 2: .*:5,11: 'rx' takes 1 parameter"),
        (TWO + "gate g(t) a { rx(t) a; }\ng q[0];", "OpenQASM 2: .*:6,0: 'g' takes 1 parameter"),
        (TWO + "rx(0.1, 0.2) q[0];", "OpenQASM 2: .*:5,0: 'rx' takes 1 parameter, but got 2"),
        (TWO + "cx q[0];", "OpenQASM 2: .*:5,0: 'cx' takes 2 quantum arguments"),
        (TWO + "cx q[0], q[0];", "OpenQASM 2: .*:5,0: duplicate qubits"),
        (TWO + "x q[5];", "OpenQASM 2: .*:5,4: index 5 is out-of-range"),
        (TWO + "opaque g a; g q[0];", '`text` .* got "g" on qubit 0. It has no definition'),
        (TWO + "reset q[1];", 'got "reset" on qubit 1. It is not unitary'),
        (TWO + 'include "other.inc";', "OpenQASM 2: .*unable to find 'other.inc'"),
        ("OPENQASM 2.0; nonsense", "`text` must be OpenQASM 2: .*nonsense"),
        ("OPENQASM 4; nonsense", "`text` must be OpenQASM 2 or 3, got version 4"),
        ("hello", "`text` must be OpenQASM 3: line 1.*hello"),
        ("", "`text` must be an OpenQASM program, but it is empty"),
        ("// nothing\n", "`text` must be an OpenQASM program, but it is empty"),
        ('OPENQASM 2.0; include "qelib1.inc"; gate a b {}', "`text` must have at least one qubit"),
    ],
)
def test_what_is_not_a_circuit_of_gates_is_refused(text, message, capfd):
    with pytest.raises(ValueError, match=message):
        from_qasm(text)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="`text` must be str, got b'OPENQASM"):
        from_qasm(b"OPENQASM 2.0;")
    with pytest.raises(ValueError, match="`version` must be 2 or 3, got 1"):
        to_qasm(Circuit(1, []), 1)
