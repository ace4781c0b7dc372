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
    fit_grouping,
    load_head,
)
from mpsheads.mps import MPS, Circuit, Truncation
from mpsheads.similarity import (
    Codes,
    approximate_log_fidelity,
    bloch_log_fidelity,
    cosine,
    fidelity,
    load_codes,
    log_fidelity,
    quantize,
    state_log_fidelity,
    top_k,
)

__version__ = "0.1.0"

__all__ = [
    "MPS",
    "Circuit",
    "Codes",
    "DenseHead",
    "MPSProjectionHead",
    "PCAHead",
    "ProjectionHead",
    "ReferenceHead",
    "Truncation",
    "TruncationHead",
    "approximate_log_fidelity",
    "bloch_log_fidelity",
    "cosine",
    "fidelity",
    "fit_grouping",
    "load",
    "load_codes",
    "load_head",
    "log_fidelity",
    "quantize",
    "state_log_fidelity",
    "top_k",
]
