"""Log-fidelity of vectors that heads return, exact, approximate and on codes; cosine."""

from mpsheads.similarity.angles import approximate_log_fidelity, fidelity, log_fidelity
from mpsheads.similarity.codes import Codes, load_codes, quantize, quantize_trellis
from mpsheads.similarity.nearest import cosine, top_k
from mpsheads.similarity.states import pack_state, state_log_fidelity, unpack_state

__all__ = [
    "Codes",
    "approximate_log_fidelity",
    "cosine",
    "fidelity",
    "load_codes",
    "log_fidelity",
    "pack_state",
    "quantize",
    "quantize_trellis",
    "state_log_fidelity",
    "top_k",
    "unpack_state",
]
