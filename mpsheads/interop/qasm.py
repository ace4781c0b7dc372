"""To and from OpenQASM 2 and 3, which Qiskit reads and writes."""

import contextlib
import io
import re
from traceback import walk_tb
from typing import TYPE_CHECKING

from torch import Tensor

from mpsheads._arrays import door
from mpsheads._optional import optional_import
from mpsheads.interop.qiskit import SAME, convert, to_qiskit
from mpsheads.mps import Circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_EXTRA = "interop"
_INCLUDE = 'include "qelib1.inc";'
_DEFINITIONS = {  # of gates that Qiskit takes for known, and that qelib1.inc of 2017 lacks
    "u": "gate u(theta,phi,lambda) a { u3(theta,phi,lambda) a; }",
    "p": "gate p(lambda) a { u1(lambda) a; }",
    "sx": "gate sx a { sdg a; h a; sdg a; }",
    "sxdg": "gate sxdg a { s a; h a; s a; }",
    "cp": "gate cp(lambda) a,b { cu1(lambda) a,b; }",
    "swap": "gate swap a,b { cx a,b; cx b,a; cx a,b; }",
    "crx": "gate crx(theta) a,b { h b; crz(theta) a,b; h b; }",
    "cry": "gate cry(theta) a,b { ry(theta/2) b; cx a,b; ry(-theta/2) b; cx a,b; }",
    "cu": "gate cu(theta,phi,lambda,gamma) a,b { u1(gamma+(lambda+phi)/2) a; u1((lambda-phi)/2) b; "
    "cx a,b; u3(-theta/2,0,-(phi+lambda)/2) b; cx a,b; u3(theta/2,phi,0) b; }",
    "rxx": "gate rxx(theta) a,b { h a; h b; cx a,b; u1(theta) b; cx a,b; h a; h b; }",
    "rzz": "gate rzz(theta) a,b { cx a,b; u1(theta) b; cx a,b; }",
}


@door
def to_qasm(circuit: Circuit, version: int = 3, parameters: Tensor | None = None) -> str:
    """The circuit as OpenQASM, as Qiskit writes it; the same up to a global phase.

    Gates without a counterpart there go out as rotations and CX gates. What the standard library of
    the language lacks is defined in the text, so that every reader knows it.

    Args:
        circuit: What to write.
        version: 2 or 3.
        parameters: `(num_parameters,)`; the circuit's own values if `None`.

    Raises:
        ImportError: If Qiskit is not installed.
        ValueError: If the version is another, or the parameters are not as many as the circuit
            takes.

    Source of the library of OpenQASM 2: Cross et al. 2017 (arXiv:1707.03429), appendix.
    """
    if version not in (2, 3):
        raise ValueError(f"`version` must be 2 or 3, got {version!r}.")
    package = optional_import("qiskit", _EXTRA)
    sent = to_qiskit(circuit, parameters)
    if "unitary" in sent.count_ops():
        basis = [*SAME, "u", "cu"]
        sent = package.transpile(sent, basis_gates=basis, optimization_level=0)
    text = optional_import(f"qiskit.qasm{version}", _EXTRA).dumps(sent)
    if version == 3:
        return text
    used = [line for name, line in _DEFINITIONS.items() if re.search(rf"\b{name}\b", text)]
    return text.replace(_INCLUDE, "\n".join([_INCLUDE, *used]), 1)


@door
def from_qasm(text: str) -> Circuit:
    """A circuit from OpenQASM 2 or 3, as Qiskit reads it; the same up to a global phase.

    A gate is what the text defines, also where Qiskit knows one of that name.

    Args:
        text: The program. Qubit i becomes site i, registers follow each other. Barriers and delays
            are left out; gates without a counterpart here are taken apart. A text without its
            first line, `OPENQASM 2.0;` for example, is version 2 if it includes `qelib1.inc`, or
            has a `qreg` and no `stdgates.inc`. No other file is included.

    Raises:
        ImportError: If Qiskit is not installed.
        TypeError: If `text` is no string.
        ValueError: If the program is not OpenQASM, or does more than apply gates.
    """
    text = text.removeprefix("\ufeff")  # a mark that some editors put before a text
    bare = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL).strip()
    if not bare:
        raise ValueError("`text` must be an OpenQASM program, but it is empty.")
    found = re.match(r"OPENQASM\s+(\d+)", bare)
    old = "qelib1.inc" in bare or (re.search(r"\bqreg\b", bare) and "stdgates.inc" not in bare)
    version = int(found[1]) if found else 2 if old else 3
    if version not in (2, 3):
        raise ValueError(f"`text` must be OpenQASM 2 or 3, got version {version}.")
    return convert(_read(text, bare, version), "text")


def _read(text: str, bare: str, version: int) -> "QuantumCircuit":
    """What Qiskit makes of a text; its readers raise errors of many kinds, and print some."""
    qasm, options = optional_import(f"qiskit.qasm{version}", _EXTRA), {}
    if version == 2:
        known = qasm.LEGACY_CUSTOM_INSTRUCTIONS  # the gates that Qiskit's qelib1.inc holds
        defined = set(re.findall(r"\bgate\s+(\w+)", bare))
        defined -= {name for name, line in _DEFINITIONS.items() if line in bare}
        names = [gate for gate in known if gate.name not in defined]
        options = {"custom_instructions": names, "include_path": ()}
        angled = ["U", *(gate.name for gate in names if gate.num_params)]
        angled += re.findall(r"\bgate\s+(\w+)\s*\(\s*\w", bare)
        text = re.sub(rf"\b({'|'.join(angled)})(?=\s+[a-zA-Z])", r"\1()", text)  # else no error
    else:
        optional_import("qiskit_qasm3_import", _EXTRA)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return qasm.loads(text, **options)
    except Exception as error:
        reason = (printed.getvalue() or str(error) or "it cannot be parsed").strip()
        line = _line(error)
        if line is not None:
            reason = f"line {line}, {text.splitlines()[line - 1].strip()!r}: {reason}"
        raise ValueError(f"`text` must be OpenQASM {version}: {reason}") from error


def _line(error: Exception) -> int | None:
    """The line at which Qiskit's reader of OpenQASM 3 stood; other errors name it themselves."""
    nodes = (frame.f_locals.get("node") for frame, _ in walk_tb(error.__traceback__))
    spans = (getattr(node, "span", None) for node in nodes)
    lines = [span.start_line for span in spans if span]
    for cause in error.__context__.args if error.__context__ else ():
        token = getattr(cause, "offendingToken", None)
        lines += [token.line] if token else []
    return lines[-1] if lines else None
