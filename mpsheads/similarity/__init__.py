"""Log-fidelity of vectors that heads return, exact, approximate and on codes; cosine."""

from mpsheads.similarity.codes import Codes, coding_error, load_codes, quantize
from mpsheads.similarity.cosine import cosine
from mpsheads.similarity.fidelity import fidelity, log_fidelity
from mpsheads.similarity.nearest import top_k
from mpsheads.similarity.series import approximate_log_fidelity, approximation_error
from mpsheads.similarity.states import pack_state, state_log_fidelity, unpack_state

__all__ = [
    "Codes",
    "approximate_log_fidelity",
    "approximation_error",
    "coding_error",
    "cosine",
    "fidelity",
    "load_codes",
    "log_fidelity",
    "pack_state",
    "quantize",
    "state_log_fidelity",
    "top_k",
    "unpack_state",
]
