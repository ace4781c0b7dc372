"""What a frontier measures: methods, sizes and bits, within its limits of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpsheads.experiments.results import Line
from mpsheads.experiments.running import Runner
from mpsheads.experiments.spec import Experiment


@dataclass(frozen=True)
class Grid:
    """What a frontier is asked for; each combination that fits is measured.

    Attributes:
        tests: Where heads are measured: `COLLECTION[:SPLIT][@POOL]`, the pool "all" by default.
        train: Where heads are trained, and PCA and quantisers fitted: `COLLECTION[:SPLIT]`; the
            split train of the tests' collection if `None`.
        untrained: Train nothing, and fit on the documents of the first test.
        methods: Labels, of `FRONTIER_METHODS`; empty for `DEFAULT_METHODS`. Uncompressed vectors
            always join.
        sizes: Numbers a vector; empty for the features divided by 1, 2, 3, 6 and 12.
        bits: Bits a number; empty for 32, 8, 4, 2, 1.
        seeds: One trial each for what is random.

    Raises:
        ValueError: If a label, a number of bits or the combination of options is wrong.
    """

    tests: tuple[str, ...] = ()
    train: str | None = None
    untrained: bool = False
    methods: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class FrontierPlan:
    """What a frontier runs.

    Attributes:
        train: Where heads are trained, as `mpsheads train` takes it.
        experiments: One for each model, those that train nothing first; all have one name.
        notes: What was left out, and why.
    """

    train: str
    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...]


def plan_frontier(grid: Grid, runner: Runner, budget: int = 64) -> FrontierPlan:
    """The experiments of a grid; embeds the training collection.

    Raises:
        ValueError: If nothing fits the budget or the limits of bytes, `train` is missing, or the
            tests are what heads are trained on.
        ImportError: If product quantisers alone are asked for, and faiss is missing.
    """
    raise NotImplementedError


def run_frontier(grid: Grid, runner: Runner, budget: int = 64) -> tuple[FrontierPlan, list[Line]]:
    """Plan a frontier, run what is missing, and return the plan and all its result lines."""
    raise NotImplementedError


def written_lines(grid: Grid, lines: Sequence[Line], encoder: str) -> list[Line]:
    """The result lines that a grid asks for; what it does not name may be anything.

    Args:
        grid: What is asked for.
        lines: All lines of a file.
        encoder: What results call the encoder.

    Raises:
        ValueError: If there are none, or they are of several training collections.
    """
    raise NotImplementedError
