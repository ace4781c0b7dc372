"""What the quantum heads share: registers of qubits, and log-fidelity of their angles."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from mpsheads.heads.base import ProjectionHead, check_pair
from mpsheads.similarity import log_fidelity


class FidelityHead(ProjectionHead):
    """A head whose vectors are angles in [0, pi], one per kept qubit, compared by log-fidelity."""

    def __init__(self, in_features: int, out_features: int, **config: Any) -> None:
        super().__init__(in_features, out_features, **config)
        if in_features % out_features:
            divisors = [n for n in range(1, in_features + 1) if in_features % n == 0]
            near = sorted(sorted(divisors, key=lambda n: abs(n - out_features))[:2])
            raise ValueError(
                f"`out_features` must divide `in_features` {in_features}, got {out_features}. "
                f"The nearest that do are {' and '.join(map(str, near))}."
            )

    @property
    def registers(self) -> int:
        """How many features go into each kept qubit, `in_features / out_features`."""
        return self.in_features // self.out_features

    def similarity(
        self, zq: Float[Tensor, "queries _"], zd: Float[Tensor, "documents _"]
    ) -> Float[Tensor, "queries documents"]:
        """Log-fidelity of all pairs, at most 0; higher is closer.

        Args:
            zq: Compressed queries `(queries, out_features)`.
            zd: Compressed documents `(documents, out_features)`.
        """
        check_pair(self, zq, zd)
        return log_fidelity(zq, zd)
