"""States and circuits to and from other tensor-network packages.

One module a package, imported by nothing else in mpsheads. Install the packages with
`pip install "mpsheads[interop]"`. A new package gets a module here.
"""

from mpsheads.interop.qasm import from_qasm, to_qasm
from mpsheads.interop.qiskit import from_qiskit, to_qiskit
from mpsheads.interop.quimb import from_quimb, to_quimb, to_quimb_gates
from mpsheads.interop.tensornetwork import from_tensornetwork, to_tensornetwork

__all__ = [
    "from_qasm",
    "from_qiskit",
    "from_quimb",
    "from_tensornetwork",
    "to_qasm",
    "to_qiskit",
    "to_quimb",
    "to_quimb_gates",
    "to_tensornetwork",
]
