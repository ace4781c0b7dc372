"""Dense state vectors in complex128: slow, plain, and the judge of everything else.

Used by tests alone. One state at a time, no batching, no shared code with `mpsheads.mps`. Site 0 is
the most significant bit; a gate matrix is `(out, in)`.
"""

from mpsheads.oracle.dense import (
    apply_matrix,
    controlled,
    fidelity,
    partial_trace,
    pauli_matrix,
    product_vector,
    renyi_entropy,
    schmidt_values,
    uhlmann_fidelity,
)

__all__ = [
    "apply_matrix",
    "controlled",
    "fidelity",
    "partial_trace",
    "pauli_matrix",
    "product_vector",
    "renyi_entropy",
    "schmidt_values",
    "uhlmann_fidelity",
]
