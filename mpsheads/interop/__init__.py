"""Matrix product states to and from other tensor-network packages.

One module a package, imported by nothing else in mpsheads. Install the packages with
`pip install "mpsheads[interop]"`. A new package gets a module here.
"""

from mpsheads.interop.quimb import from_quimb, to_quimb
from mpsheads.interop.tensornetwork import from_tensornetwork, to_tensornetwork

__all__ = ["from_quimb", "from_tensornetwork", "to_quimb", "to_tensornetwork"]
