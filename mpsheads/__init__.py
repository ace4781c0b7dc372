"""Projection heads that compress embeddings with a simulated quantum circuit.

`from mpsheads import MPSProjectionHead` is all that most users need. The batched matrix product
states behind it live in `mpsheads.mps`. Names are imported when they are first asked for, so that
`import mpsheads` alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpsheads._checks import assume_finite
    from mpsheads._load import load
    from mpsheads.heads import (
        DenseHead,
        MPSProjectionHead,
        PCAHead,
        ProjectionHead,
        ReferenceHead,
        TruncationHead,
        load_head,
        make_head,
    )
    from mpsheads.mps import MPS, Circuit, Truncation
    from mpsheads.similarity import (
        Codes,
        approximate_log_fidelity,
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
    "assume_finite",
    "cosine",
    "fidelity",
    "load",
    "load_codes",
    "load_head",
    "log_fidelity",
    "make_head",
    "quantize",
    "state_log_fidelity",
    "top_k",
]

_MODULES = {
    "MPS": "mps",
    "Circuit": "mps",
    "Truncation": "mps",
    "load": "_load",
    "assume_finite": "_checks",
}
_ROOM_OF_HEADS = ("make_head", "load_head")


def __getattr__(name: str) -> Any:
    """Import a public name from its room, and keep it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    of_heads = name.endswith("Head") or name in _ROOM_OF_HEADS
    room = _MODULES.get(name, "heads" if of_heads else "similarity")
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
