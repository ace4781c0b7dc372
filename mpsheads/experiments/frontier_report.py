"""The report of a frontier: what was measured, what to take for a budget, and how to make it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsheads._typing import PathLike
from mpsheads.experiments.frontier import Point, Recommendation
from mpsheads.experiments.results import Line
from mpsheads.experiments.rows import Table


@dataclass(frozen=True)
class Frontier:
    """What a report of a frontier says.

    Attributes:
        table: All rows; `table.encoder`, `.train`, `.tests`, `.measure`, `.rows`.
        points: The rows with intervals and tests.
        recommendation: What to take for the budget, with its sentence.
        command: The command that trains the recommended head; `None` where nothing is trained.
        code: Lines of Python that load or fit it and compress vectors.
        notes: What was left out, and what to know.
    """

    table: Table
    points: tuple[Point, ...]
    recommendation: Recommendation
    command: str | None
    code: str
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The headings of `cells`."""
        raise NotImplementedError

    def cells(self, point: Point) -> list[str]:
        """A point as text, a cell for each of `columns`."""
        raise NotImplementedError

    @property
    def front(self) -> list[Point]:
        """The points of the Pareto front, by their bytes."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """All of this in plain values: what `mpsheads frontier --json` prints, without files."""
        raise NotImplementedError


def make_frontier(
    lines: Iterable[Line],
    budget: int,
    *,
    encoder: str,
    train: str = "",
    notes: Sequence[str] = (),
    device: str | None = None,
) -> Frontier:
    """Make the report of result lines of one encoder and one training collection.

    Args:
        lines: From the runner's file, or `written_lines`.
        budget: Most bytes a vector that is recommended.
        encoder: The encoder, as `mpsheads train` takes it, for the command.
        train: Where heads are trained, likewise: `plan.train`; as the results call it if "".
        notes: What was left out: `plan.notes`.
        device: The device asked for, for the command.

    Raises:
        ValueError: If nothing fits the budget, or the lines are of several encoders.
    """
    raise NotImplementedError


def write_frontier(
    frontier: Frontier, folder: PathLike, plot: PathLike | None = None
) -> list[Path]:
    """Write `report.md`, `frontier.svg` and `frontier.png`; what is there is replaced.

    Args:
        frontier: From `make_frontier`.
        folder: Made if it is missing.
        plot: One more file of the figure, in the format that its ending names.

    Returns:
        The paths.

    Raises:
        ImportError: If matplotlib is missing.
    """
    raise NotImplementedError
