"""The interface of engines, and the one that reads everything."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from mpsheads.heads import ProjectionHead
from mpsheads.similarity import Codes


class Engine(ABC):
    """What finds candidates among codes; the index scores them exactly, and knows the ids.

    Attributes:
        name: The word that chooses it.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def build(cls, codes: Codes, head: ProjectionHead, **options: Any) -> "Engine":
        """Make the engine for rows of codes."""

    @abstractmethod
    def add(self, codes: Codes) -> None:
        """Add rows behind those that are there."""

    @abstractmethod
    def keep(self, mask: Tensor) -> "Engine":
        """An engine of the rows where `mask` is true, numbered anew; this one is of no use then."""

    @abstractmethod
    def candidates(self, z: Tensor, k: int, allowed: Tensor | None) -> list[Tensor] | None:
        """For each compressed query the rows, ascending, that are worth an exact score.

        Args:
            z: Compressed queries `(queries, out_features)`.
            k: How many of them will be asked for.
            allowed: The rows that may be found, ascending; `None` for all.

        Returns:
            `None` to score all allowed rows.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what it needs into the folder of the index."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, codes: Codes, head: ProjectionHead) -> "Engine":
        """Read it back.

        Raises:
            ValueError: If what is there does not belong to these codes.
        """

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that it keeps in memory beside the codes."""


class Exact(Engine):
    """All codes are read: no structure, no memory, the exact answer."""

    name = "exact"

    @classmethod
    def build(cls, codes: Codes, head: ProjectionHead, **options: Any) -> "Exact":
        """There is nothing to build, and there are no options."""
        if options:
            raise ValueError(f"The engine exact takes no options, got {', '.join(options)}.")
        return cls()

    def add(self, codes: Codes) -> None:
        """There is nothing to add to."""

    def keep(self, mask: Tensor) -> "Exact":
        """All rows are read anyway."""
        return self

    def candidates(self, z: Tensor, k: int, allowed: Tensor | None) -> None:
        """All rows."""

    def save(self, folder: Path) -> None:
        """There is nothing to save."""

    @classmethod
    def load(cls, folder: Path, codes: Codes, head: ProjectionHead) -> "Exact":
        """There is nothing to load."""
        return cls()

    @property
    def nbytes(self) -> int:
        """None."""
        return 0


def unit_vectors(z: Tensor | Codes) -> Tensor:
    """Vectors, or what codes stand for, brought to norm 1; float32, on the CPU."""
    return normalize((z.dequantize() if isinstance(z, Codes) else z).float().cpu())
