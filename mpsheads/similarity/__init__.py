"""Log-fidelity of vectors that heads return, exact, approximate and on codes; cosine."""

from mpsheads.similarity.cosine import cosine
from mpsheads.similarity.fidelity import fidelity, log_fidelity

__all__ = ["cosine", "fidelity", "log_fidelity"]
