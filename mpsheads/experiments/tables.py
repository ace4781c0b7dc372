"""Result lines gathered into tables: a row for each method and size, and how sure it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.results import Line, key_of
from mpsheads.experiments.spec import UNCOMPRESSED
from mpsheads.retrieval import bootstrap_interval, holm, paired_test

pl = optional_import("polars", "retrieval")

_TRAINED = ("nothing", "head", "layers")
"""Ways of training in the order of a table."""
_TABLE = ("experiment", "encoder", "measure", "train")
_ROW = ("label", "trained", "size", "bits", "fraction", "epoch")


@dataclass(frozen=True)
class Comparison:
    """Whether a row differs from another on the same queries.

    Attributes:
        difference: Mean over tests of their difference, each test counting the same.
        interval: Its 95% bootstrap interval over queries, drawn anew within each test.
        p_queries: Two-sided p-value of the randomisation test over queries, on scores averaged
            over seeds; `None` with a single query.
        p_seeds: Two-sided p-value of the paired t-test over the seeds that both have run; `None`
            with fewer than two of them, or where nothing depends on the seed.
    """

    difference: float
    interval: tuple[float, float]
    p_queries: float | None
    p_seeds: float | None


@dataclass(frozen=True, eq=False)
class Row:
    """One method at one size, over all its seeds.

    Attributes:
        method: Its name in the results.
        label: The same, with the settings by which the rows of one method differ.
        trained: "nothing", "head" or "layers".
        size: Numbers a vector.
        bits: Bits a number.
        fraction: Part of the training queries.
        epoch: The epoch after which it was measured, 0 if it is not trained.
        bytes: Bytes a vector.
        parameters: Trained parameters.
        seed_means: seed -> mean over tests, for seeds that ran on each test.
        scores: test -> score of each query, sorted by the queries' ids, averaged over seeds.
        mean: Mean over the table's tests; `None` if one is missing.
        sd: Its standard deviation over seeds; `None` with fewer than two.
        kept: `mean` by that of uncompressed vectors; `None` where either is missing.
        comparison: With the baseline of the same size, bits, fraction and training; p-values are
            corrected over the experiment. `None` where either is missing.
    """

    method: str
    label: str
    trained: str
    size: int
    bits: int
    fraction: float
    epoch: int
    bytes: int
    parameters: int
    seed_means: Mapping[int, float] = field(repr=False)
    scores: Mapping[str, Any] = field(repr=False)  # arrays of numpy
    mean: float | None
    sd: float | None = None
    kept: float | None = None
    comparison: Comparison | None = None

    def __str__(self) -> str:
        return f"{self.label} {self.size}×{self.bits}"

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95% bootstrap interval over queries of the mean over tests."""
        return bootstrap_interval(*self.scores.values())

    @property
    def is_uncompressed(self) -> bool:
        """Whether it stands for the encoder's own vectors, however they are compared."""
        return self.method.startswith(UNCOMPRESSED)


@dataclass(frozen=True)
class Table:
    """What one experiment measured with one encoder.

    Attributes:
        experiment: Its name.
        encoder: The encoder's name.
        measure: Such as "nDCG@10".
        train: The training collection.
        features: Numbers of an uncompressed vector.
        tests: test -> number of its queries, sorted by name.
        baseline: The method that the others are compared with, `None` if there is none.
        rows: Each method, after each epoch that was measured.
    """

    experiment: str
    encoder: str
    measure: str
    train: str
    features: int
    tests: Mapping[str, int]
    baseline: str | None
    rows: tuple[Row, ...]

    def varying(self, name: str) -> list[Any]:
        """The values of a field in which rows of one method differ, none if it is one."""
        values: dict[tuple[str, Any], set[Any]] = {}
        for row in self.rows:
            method = row.label, name == "trained" or row.trained
            values.setdefault(method, set()).add(getattr(row, name))
        return sorted(set[Any]().union(*(found for found in values.values() if len(found) > 1)))


def make_tables(lines: Iterable[Line], baseline: str = "dense") -> list[Table]:
    """Gather lines into tables, one for each experiment, encoder, measure and training collection.

    Of two lines with one key the later counts.

    Args:
        lines: As `read_results` returns them, complete or not.
        baseline: The method that the others of its size are compared with. Where an experiment
            lacks it, "uncompressed" takes its place.

    Raises:
        ValueError: If the lines of one table hold different queries of one test.
        ImportError: If polars or SciPy is missing.
    """
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in {key_of(line): line for line in lines}.values():
        groups.setdefault(tuple(line[name] for name in _TABLE), []).append(line)
    first = list(dict.fromkeys(experiment for experiment, *_ in groups))
    tables = [_table(names, members, baseline) for names, members in groups.items()]
    tables.sort(key=lambda table: first.index(table.experiment))
    by_experiment = groupby(tables, key=lambda table: table.experiment)
    return [table for _, members in by_experiment for table in _compared(list(members))]


def compare(row: Row, other: Row) -> Comparison:
    """Compare two rows of the same tests and queries; p-values are uncorrected.

    The queries' differences are weighted so that their mean is the mean over tests.

    Raises:
        ValueError: If tests or numbers of queries differ.
    """
    shapes = [{test: len(scores) for test, scores in each.scores.items()} for each in (row, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"`row` and `other` must hold the same queries, got {shapes}.")
    by_test: list[Any] = [scores - other.scores[test] for test, scores in row.scores.items()]
    difference = np.concatenate(by_test)
    count = len(difference)
    weight = np.concatenate([np.full(len(d), count / (len(by_test) * len(d))) for d in by_test])
    weighted: Any = weight * difference
    p_queries = paired_test(weighted) if count > 1 else None
    seeds = sorted(row.seed_means.keys() & other.seed_means.keys())
    by_seed = [row.seed_means[seed] - other.seed_means[seed] for seed in seeds]
    p_seeds = None
    if len(seeds) > 1 and float(np.std(by_seed)) >= 1e-12:
        p_seeds = float(optional_import("scipy.stats", "retrieval").ttest_1samp(by_seed, 0).pvalue)
    return Comparison(float(weighted.mean()), bootstrap_interval(*by_test), p_queries, p_seeds)


def compare_all(rows: Sequence[Row], others: Sequence[Row | None]) -> list[Comparison | None]:
    """Compare each row with its other one; p-values over queries and seeds corrected by Holm."""
    pairs = zip(rows, others, strict=True)
    found = [compare(row, other) if other is not None else None for row, other in pairs]
    for name in ("p_queries", "p_seeds"):
        values = [getattr(comparison, name, None) for comparison in found]
        corrected = iter(holm([p for p in values if p is not None]))
        found = [
            comparison and replace(comparison, **{name: p if p is None else next(corrected)})
            for comparison, p in zip(found, values, strict=True)
        ]
    return found


def _table(names: tuple[str, ...], lines: Sequence[Line], baseline: str) -> Table:
    """The table of lines without comparisons."""
    first: dict[str, Line] = {}
    for line in lines:
        other = first.setdefault(line["test"], line)
        if other["scores"].keys() != line["scores"].keys():
            raise ValueError(
                f"`lines` must hold the same queries of {line['test']}: of "
                f"{line['experiment']}, {other['method']} has {len(other['scores'])} and "
                f"{line['method']} {len(line['scores'])}, which are not the same. The collection "
                "changed between runs; run one of them again."
            )
    tests = {test: len(first[test]["scores"]) for test in sorted(first)}
    methods = {line["method"] for line in lines}
    base = next((name for name in (baseline, UNCOMPRESSED) if name in methods), None)
    frame = _frame(lines)
    rows = [_row(cell, len(tests)) for _, cell in frame.group_by(*_ROW, maintain_order=True)]
    labels = list(dict.fromkeys(frame["label"]))
    labels.sort(key=lambda label: label not in (base, UNCOMPRESSED))
    rows.sort(key=lambda row: _order(row, labels))
    experiment, encoder, measure, train = names
    features = lines[0]["features"]
    return Table(experiment, encoder, measure, train, features, tests, base, tuple(rows))


def _frame(lines: Sequence[Line]) -> Any:
    """A polars frame with a row for each line, its queries and scores as lists.

    "label" is the method, with what it was set to where that differs in one way of training.
    """
    settings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        settings.setdefault((line["method"], line["trained"]), []).append(line["settings"])

    def label(line: Line) -> str:
        others = settings[line["method"], line["trained"]]
        shown = [
            f"{name} {value}"
            for name, value in sorted(line["settings"].items())
            if any(other.get(name) != value for other in others)
        ]
        return ", ".join([line["method"], *shown])

    names = ("method", "trained", "size", "bits", "epoch", "seed", "test", "bytes", "parameters")
    rows = [{name: line[name] for name in names} for line in lines]
    for row, line in zip(rows, lines, strict=True):
        row |= {"fraction": float(line["fraction"]), "label": label(line)}
        row |= {"query": list(line["scores"]), "score": [*map(float, line["scores"].values())]}
    return pl.DataFrame(rows)


def _row(cell: Any, n_tests: int) -> Row:
    """The row of the lines that differ in seed and test alone."""
    score = pl.col("score").mean()
    queries = cell.explode("query", "score")
    by_query = queries.group_by("test", "query").agg(score).sort("test", "query")
    tests = by_query.group_by("test", maintain_order=True)
    scores = {test: part["score"].to_numpy() for (test,), part in tests}
    by_seed = queries.group_by("seed", "test").agg(score).group_by("seed").agg(score, pl.len())
    by_seed = by_seed.filter(pl.col("len") == len(scores)).sort("seed")
    first, whole = cell.row(0, named=True), len(scores) == n_tests
    return Row(
        **{name: first[name] for name in (*_ROW, "method", "bytes", "parameters")},
        seed_means=dict(zip(by_seed["seed"], by_seed["score"], strict=True)),
        scores=scores,
        mean=float(np.mean([s.mean() for s in scores.values()])) if whole else None,
        sd=by_seed["score"].std() if whole else None,
    )


def _order(row: Row, labels: Sequence[str]) -> tuple[Any, ...]:
    place = (labels.index(row.label), _TRAINED.index(row.trained), row.epoch)
    return not row.is_uncompressed, -row.size, -row.bits, -row.fraction, *place


def _compared(tables: Sequence[Table]) -> list[Table]:
    """The tables of one experiment with comparisons, corrected for all that it has."""
    rows = [row for table in tables for row in table.rows]
    others = [_baseline_of(row, table) for table in tables for row in table.rows]
    comparisons = iter(compare_all(rows, others))
    compared = []
    for table in tables:
        whole = [row for row in table.rows if row.method == UNCOMPRESSED and row.mean]
        rows = []
        for row in table.rows:
            plain = _nearest(row, [other for other in whole if other.bits == 32])
            kept = None
            if row.mean is not None and plain and plain.mean:
                kept = row.mean / plain.mean
            rows.append(replace(row, kept=kept, comparison=next(comparisons)))
        compared.append(replace(table, rows=tuple(rows)))
    return compared


def _cell(row: Row) -> tuple[Any, ...]:
    return row.label, row.trained, row.size, row.bits, row.fraction


def _baseline_of(row: Row, table: Table) -> Row | None:
    """What a row is compared with after its last epoch: the baseline of its size and bits."""
    last = max(other.epoch for other in table.rows if _cell(other) == _cell(row))
    if row.mean is None or row.method == table.baseline or row.epoch < last:
        return None
    place = (row.size, row.bits, row.fraction)
    alike = [o for o in table.rows if (o.size, o.bits, o.fraction) == place and o.mean is not None]
    return _nearest(row, [other for other in alike if other.method == table.baseline])


def _nearest(row: Row, rows: Sequence[Row]) -> Row | None:
    """The one of the same training and epoch, else of no training, else of the last epoch.

    A trained row has none among rows that are trained otherwise.
    """
    fit = [other for other in rows if other.trained in (row.trained, "nothing")]
    fit = fit or [other for other in rows if row.trained == "nothing"]
    order = [row.trained, *_TRAINED]
    return min(
        fit,
        key=lambda other: (order.index(other.trained), other.epoch != row.epoch, -other.epoch),
        default=None,
    )
