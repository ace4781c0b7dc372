"""How much of a bond is kept."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Truncation:
    """How many singular values a bond keeps.

    Attributes:
        max_bond: Upper limit on the kept number; `None` means no limit.
        cutoff: Largest allowed discarded weight of one bond: the sum of the dropped `s**2` over the
            sum of all. With 0 the bond dimensions do not depend on the numbers, which keeps shapes
            static (for `torch.compile`, `vmap` and CUDA graphs).

    Raises:
        ValueError: If `max_bond` is less than 1, or `cutoff` is not in [0, 1).
    """

    max_bond: int | None = None
    cutoff: float = 0.0

    def __post_init__(self) -> None:
        if self.max_bond is not None and self.max_bond < 1:
            raise ValueError(f"`max_bond` must be at least 1 or None, got {self.max_bond}.")
        if not 0.0 <= self.cutoff < 1.0:
            raise ValueError(f"`cutoff` must lie in [0, 1), got {self.cutoff}.")

    def applies_to(self, bond_dim: int) -> bool:
        """Whether a bond of this dimension may have to drop something."""
        return self.cutoff > 0.0 or (self.max_bond is not None and bond_dim > self.max_bond)
