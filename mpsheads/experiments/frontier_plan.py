"""Which methods, sizes and bits a frontier measures, within its limits of bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mpsheads._checks import check_choice, check_positive
from mpsheads._optional import optional_import
from mpsheads.experiments.rows import UNCOMPRESSED, Line
from mpsheads.experiments.spec import BITS, Experiment, Method

EXPERIMENT = "frontier"
LEAST_BYTES, MOST_BYTES = 8, 3072
DIVISORS = (1, 2, 3, 6, 12)
"""By default a vector has these parts of the features."""
TRAINING: dict[str, Any] = {"loss": "both", "hard_negatives": 2, "epochs": 2}
_PLAIN = (UNCOMPRESSED, "truncation", "pca", "pq", "opq", "dense", "reference", "mps")
METHODS = {
    **{name: Method(name, name) for name in _PLAIN},
    "mps, untrained": Method("mps, untrained", "mps", trained="nothing"),
    "mps, depth 2": Method("mps, depth 2", "mps", settings={"depth": 2}),
}
"""Label -> method; all that a frontier knows."""
DEFAULT = (*_PLAIN, "mps, untrained")
"""The methods that are measured unless others are asked for."""
_LEAST_FITTED = 256  # vectors for the 256 centroids of a code
_ENOUGH_FITTED = 39 * 256  # what faiss asks for
_LEAST_PART = {"pq": 2, "opq": 4}  # numbers a code; shorter parts take minutes to fit


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        experiments: One for each model, those that train nothing first; all have one name.
        notes: What was left out, and why.
    """

    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """What is asked for; each combination that fits is measured.

    Attributes:
        features: Numbers of an uncompressed vector.
        documents: How many vectors PCA and quantisers are fitted to.
        methods: Labels, of `METHODS`; uncompressed vectors always join.
        sizes: Numbers a vector; `None` for the features divided by `DIVISORS`.
        bits: Bits a number.
        least: Fewest bytes a vector.
        most: Most bytes a vector; uncompressed float32 vectors join also if they have more.
    """

    features: int
    documents: int
    methods: tuple[str, ...] = DEFAULT
    sizes: tuple[int, ...] | None = None
    bits: tuple[int, ...] = BITS
    least: int = LEAST_BYTES
    most: int = MOST_BYTES

    def __post_init__(self) -> None:
        for name in self.methods:
            check_choice("method", name, tuple(METHODS))
        for bits in self.bits:
            check_choice("bits", str(bits), tuple(map(str, BITS)))
        for size in self.sizes or ():
            check_positive(size=size)
            if size > self.features:
                raise ValueError(
                    f"`size` must be at most the {self.features} numbers of the embeddings, got "
                    f"{size}."
                )

    def all_sizes(self) -> list[int]:
        """The sizes, largest first."""
        sizes = self.sizes or tuple(self.features // d for d in DIVISORS if d <= self.features)
        return sorted(set(sizes), reverse=True)

    def bits_of(self, size: int) -> tuple[int, ...]:
        """The bits at which a vector of this size has a number of bytes within the limits."""
        fits = (bits for bits in self.bits if self.least <= -(-size * bits // 8) <= self.most)
        return tuple(dict.fromkeys(fits))


def make_plan(grid: Grid, experiment: Experiment) -> Plan:
    """The experiments of a grid.

    Args:
        grid: What is asked for.
        experiment: Where heads are trained and measured, with which seeds; methods, sizes and bits
            are replaced.

    Raises:
        ValueError: If nothing fits the limits of bytes.
        ImportError: If product quantisers alone are asked for, and faiss is missing.
    """
    methods = [METHODS[name] for name in dict.fromkeys([UNCOMPRESSED, *grid.methods])]
    notes: list[str] = []
    cells: dict[str, dict[int, tuple[int, ...]]] = {}
    for method in methods:
        if method.is_quantiser:
            cells[method.label] = _codes(grid, method, notes)
        elif method.head == UNCOMPRESSED:
            asked = grid.bits_of(grid.features) if UNCOMPRESSED in grid.methods else ()
            cells[method.label] = {grid.features: tuple(dict.fromkeys([32, *asked]))}
        else:
            cells[method.label] = _numbers(grid, method, notes)
    others = any(found for label, found in cells.items() if label != UNCOMPRESSED)
    if not others and UNCOMPRESSED not in grid.methods:
        raise ValueError(
            " ".join(["`method`, `size` and `bits` leave nothing to measure.", *notes])
        )
    made = []
    for seed in experiment.seeds:
        for method in methods:
            if seed != experiment.seeds[0] and not method.is_random:
                continue
            for size, bits in cells[method.label].items():
                changes = {"methods": (method,), "sizes": (size,), "bits": bits, "seeds": (seed,)}
                made.append(replace(experiment, name=EXPERIMENT, **changes))
    made.sort(key=lambda one: one.methods[0].is_trained)
    return Plan(tuple(made), tuple(notes))


def quantiser_notes(lines: Iterable[Line]) -> list[str]:
    """What to know of product quantisers that were fitted to few vectors; empty if there are none.

    Args:
        lines: Result lines.
    """
    fitted = [line for line in lines if line.get("fitted", _ENOUGH_FITTED) < _ENOUGH_FITTED]
    if not fitted:
        return []
    count = min(line["fitted"] for line in fitted)
    numbers = max(line["parameters"] for line in fitted)
    return [
        f"pq and opq are fitted to {count:,} vectors, fewer than the {_ENOUGH_FITTED:,} that their "
        f"256 centroids ask for. They partly remember these: documents that come later will be "
        f"found less well. Their parameters, up to {numbers:,} numbers, are as much as "
        f"{-(-4 * numbers // count):,} bytes for each of the vectors."
    ]


def _numbers(grid: Grid, method: Method, notes: list[str]) -> dict[int, tuple[int, ...]]:
    """Size -> bits of a head."""
    found = {size: grid.bits_of(size) for size in grid.all_sizes()}
    found = {size: bits for size, bits in found.items() if bits}
    if method.head in ("truncation", "reference"):  # at all numbers they change nothing
        found.pop(grid.features, None)
    if method.head == "reference":
        odd = [size for size in found if grid.features % size]
        _note(notes, odd, f"{method.label}: its size divides the {grid.features} features")
        found = {size: bits for size, bits in found.items() if size not in odd}
    if method.head == "pca":
        large = [size for size in found if size >= grid.documents]
        _note(
            notes,
            large,
            f"pca: it is fitted to more vectors than it has numbers, here {grid.documents}",
        )
        found = {size: bits for size, bits in found.items() if size not in large}
    return found


def _codes(grid: Grid, method: Method, notes: list[str]) -> dict[int, tuple[int, ...]]:
    """Bytes -> bits of a product quantiser."""
    try:
        optional_import("faiss", "experiments")
    except ImportError as error:
        if all(METHODS[name].is_quantiser for name in grid.methods if name != UNCOMPRESSED):
            raise
        notes.append(f"{method.label} is left out. {error}")
        return {}
    if grid.documents < _LEAST_FITTED:
        notes.append(
            f"{method.label} is left out: it is fitted to at least {_LEAST_FITTED} vectors, and "
            f"there are {grid.documents}."
        )
        return {}
    wanted = {-(-size * bits // 8) for size in grid.all_sizes() for bits in grid.bits_of(size)}
    most = grid.features // _LEAST_PART[method.head]
    sizes = [size for size in wanted if grid.features % size == 0 and size <= most]
    return dict.fromkeys(sorted(sizes, reverse=True), (8,))


def _note(notes: list[str], sizes: Sequence[int], reason: str) -> None:
    if sizes:
        notes.append(f"Left out at {', '.join(map(str, sizes))} numbers: {reason}.")
