"""Projection heads that compress embeddings with a simulated quantum circuit.

`from mpsheads import MPSProjectionHead` is all that most users need. The batched matrix product
states behind it live in `mpsheads.mps`.
"""

from mpsheads._load import load
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
    load_head,
)
from mpsheads.mps import MPS, Circuit, Truncation
from mpsheads.similarity import cosine, fidelity, log_fidelity

__version__ = "0.1.0"

__all__ = [
    "MPS",
    "Circuit",
    "DenseHead",
    "MPSProjectionHead",
    "PCAHead",
    "ProjectionHead",
    "ReferenceHead",
    "Truncation",
    "TruncationHead",
    "cosine",
    "fidelity",
    "load",
    "load_head",
    "log_fidelity",
]
