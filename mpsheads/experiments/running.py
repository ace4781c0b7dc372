"""Running experiments: every trial once, each result written as soon as it is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsheads._typing import PathLike
from mpsheads.experiments.results import Key
from mpsheads.experiments.spec import Experiment
from mpsheads.experiments.trials import Trial
from mpsheads.retrieval import EmbeddedCollection, Encoder


class Runner:
    """Runs experiments on one encoder; embeddings and mined negatives are made once.

    Args:
        encoder: Makes embeddings, or reads them from the cache. Heads train on its device.
        name: What results call it.
        file: Where results go, one JSON object a line.
        progress: Whether bars are shown.
    """

    def __init__(
        self, encoder: Encoder, name: str, file: PathLike, *, progress: bool = False
    ) -> None:
        self.encoder, self.name, self.file = encoder, name, Path(file)
        self.progress = progress

    def trials(self, experiment: Experiment) -> list[Trial]:
        """All trials of an experiment on this encoder."""
        raise NotImplementedError

    def missing(self, experiment: Experiment) -> list[Trial]:
        """The trials of which some result is not in the file."""
        raise NotImplementedError

    def embedded(self, dataset: str) -> EmbeddedCollection:
        """A collection with its embeddings, read once."""
        raise NotImplementedError

    def run(self, experiment: Experiment, advance: Callable[[int], None] = lambda _: None) -> int:
        """Do what is missing, and write each result as soon as its model is done.

        Returns:
            How many results were added.
        """
        raise NotImplementedError

    def run_all(self, experiments: Sequence[Experiment]) -> None:
        """Do what is missing of several experiments, with one bar and one thread for heads."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plan:
    """What `run_experiments` runs.

    Attributes:
        rows: A mapping for each method, experiment and encoder: experiment, encoder, method,
            trained, sizes, runs (trials in all), to_do (those that are not in the file).
        keys: The keys of all results.
    """

    rows: list[dict[str, Any]]
    keys: list[Key]


def run_experiments(
    experiments: Sequence[Experiment],
    file: PathLike,
    *,
    device: str | None = None,
    dry_run: bool = False,
    progress: bool = False,
) -> Plan:
    """Run what is missing of some experiments, on all their encoders.

    Everything is checked before anything is embedded.

    Args:
        experiments: Which.
        file: Where results go.
        device: As `Encoder` takes it.
        dry_run: Only say what would be run.
        progress: Whether bars are shown.
    """
    raise NotImplementedError
