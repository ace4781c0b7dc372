"""Result lines gathered into tables: a row for each method and size, and how sure it is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.results import Line, key_of
from mpsheads.experiments.spec import UNCOMPRESSED
from mpsheads.retrieval import bootstrap_interval, holm, paired_test

pl = optional_import("polars", "retrieval")

TRAINED = {"nothing": "untrained", "head": "head trained", "layers": "last layers trained"}
"""How ways of training are called, in the order of a table."""
_CELL = ("label", "trained", "size", "bits", "fraction")


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
        effect_size: Cohen's d, the difference by the standard deviation of the queries'
            differences; `None` where they are all equal.
    """

    difference: float
    interval: tuple[float, float]
    p_queries: float | None
    p_seeds: float | None
    effect_size: float | None


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
        epoch: The epoch after which it was measured, `None` if seeds differ in it.
        bytes: Bytes a vector.
        parameters: Trained parameters, `None` if the results do not say.
        seeds: The seeds that ran on at least one test.
        seed_means: seed -> mean over tests, for seeds that ran on each of them.
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
    epoch: int | None
    bytes: int
    parameters: int | None
    seeds: tuple[int, ...]
    seed_means: Mapping[int, float] = field(repr=False)
    scores: Mapping[str, Any] = field(repr=False)  # arrays of numpy
    mean: float | None
    sd: float | None = None
    kept: float | None = None
    comparison: Comparison | None = None

    @property
    def tests(self) -> dict[str, float]:
        """Test -> mean over queries and seeds."""
        return {test: float(scores.mean()) for test, scores in self.scores.items()}

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
        train: The training collection, "" if nothing was trained.
        measure: Such as "nDCG@10".
        features: Numbers of an uncompressed vector, `None` if the results do not say.
        tests: test -> number of its queries, sorted by name.
        baseline: The method that the others are compared with, `None` if there is none.
        rows: Each method after its last epoch, with comparisons.
        curves: Each method after each epoch, without comparisons.
    """

    experiment: str
    encoder: str
    train: str
    measure: str
    features: int | None
    tests: Mapping[str, int]
    baseline: str | None
    rows: tuple[Row, ...]
    curves: tuple[Row, ...]

    def varying(self, name: str) -> list[Any]:
        """The values of a field that compressed rows differ in, none if it is one."""
        values = {getattr(row, name) for row in self.rows if not row.is_uncompressed} - {None}
        return sorted(values) if len(values) > 1 else []


def make_tables(lines: Iterable[Line], baseline: str) -> list[Table]:
    """Gather lines into tables, by experiment and then encoder as they first appear.

    A line without a training collection joins every table of its experiment and encoder. Of two
    lines with one key the later counts.

    Raises:
        ValueError: If the lines of one table hold different queries of one test.
        ImportError: If polars or SciPy is missing.
    """
    groups: dict[tuple[str, str, str], dict[str, list[Line]]] = {}
    for line in {key_of(line): line for line in lines}.values():
        group = groups.setdefault((line["experiment"], line["encoder"], line["measure"]), {})
        group.setdefault(line.get("train") or "", []).append(line)
    tables: list[Table] = []
    for (experiment, encoder, measure), by_train in groups.items():
        untrained = by_train.pop("", [])
        for train, members in (by_train or {"": []}).items():
            names = (experiment, encoder, train, measure)
            tables.append(_table(names, [*untrained, *members], baseline))
    first = list(dict.fromkeys(table.experiment for table in tables))
    tables.sort(key=lambda table: first.index(table.experiment))
    return [
        table for name in first for table in _compared([t for t in tables if t.experiment == name])
    ]


def compare(row: Row, other: Row) -> Comparison:
    """Compare two rows of the same tests and queries; p-values are uncorrected, see `correct`.

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
    mean, p_queries, effect_size = float(weighted.mean()), None, None
    if count > 1:
        p_queries = paired_test(weighted, [0.0] * count).p_value
        spread = float(np.sqrt((weight * (difference - mean) ** 2).sum() / (count - 1)))
        effect_size = None if spread < 1e-12 else mean / spread
    seeds = sorted(row.seed_means.keys() & other.seed_means.keys())
    by_seed = [row.seed_means[seed] - other.seed_means[seed] for seed in seeds]
    p_seeds = None
    if len(seeds) > 1 and float(np.std(by_seed)) >= 1e-12:
        p_seeds = paired_test(by_seed, [0.0] * len(seeds)).t_p_value
    return Comparison(mean, bootstrap_interval(*by_test), p_queries, p_seeds, effect_size)


def compare_all(rows: Sequence[Row], others: Sequence[Row | None]) -> list[Comparison | None]:
    """Compare each row with its other one, `None` where there is none.

    P-values are corrected for the number of comparisons by Holm's method: those over queries are
    one family, those over seeds another.
    """
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


def _table(names: tuple[str, str, str, str], lines: Sequence[Line], baseline: str) -> Table:
    tests = _count_queries(lines)
    methods = {line["method"] for line in lines}
    base = next((name for name in (baseline, UNCOMPRESSED) if name in methods), None)
    frame = _frame(lines)
    runs = frame.group_by(*_CELL, "seed", "test").len()
    several = runs["len"].max() > 1  # else each was measured once, perhaps after its best epoch
    cells = frame.group_by(*_CELL, *["epoch"] * several, maintain_order=True)
    curves = [_row(cell, len(tests)) for _, cell in cells]
    labels = list(dict.fromkeys(frame["label"]))
    labels.sort(key=lambda label: label not in (base, UNCOMPRESSED))
    curves.sort(key=lambda row: _order(row, labels))
    last = {_cell(row): row for row in curves}
    widths = {line["features"] for line in lines if line.get("features")}
    features = widths.pop() if len(widths) == 1 else None
    return Table(*names, features, tests, base, tuple(last.values()), tuple(curves))


def _count_queries(lines: Sequence[Line]) -> dict[str, int]:
    """The number of queries of each test; raise unless all lines of it hold the same ones."""
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
    return {test: len(first[test]["scores"]) for test in sorted(first)}


def _frame(lines: Sequence[Line]) -> Any:
    """A polars frame with a row for each line, its queries and scores as lists."""
    labels = _labels(lines)
    columns = {
        "label": [labels[_setting(line)] for line in lines],
        "trained": [line.get("trained") or "nothing" for line in lines],
        "bits": [line.get("bits") or 32 for line in lines],
        "fraction": [float(line.get("fraction") or 1.0) for line in lines],
        "query": [list(line["scores"]) for line in lines],
        "score": [[float(score) for score in line["scores"].values()] for line in lines],
    }
    columns["bytes"] = [
        line.get("bytes") or -(-line["size"] * bits // 8)
        for line, bits in zip(lines, columns["bits"], strict=True)
    ]
    for name in ("method", "size", "seed", "test", "epoch", "parameters"):
        columns[name] = [line.get(name) for line in lines]
    return pl.DataFrame(columns)


def _setting(line: Line) -> tuple[str, str, str]:
    settings = json.dumps(line.get("settings") or {}, sort_keys=True)
    return line["method"], line.get("trained") or "nothing", settings


def _labels(lines: Sequence[Line]) -> dict[tuple[str, str, str], str]:
    """The method of each setting, with what it was set to where that differs in one training."""
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for line in lines:
        method, trained, text = _setting(line)
        groups.setdefault((method, trained), {})[text] = json.loads(text)
    labels = {}
    for (method, trained), settings in groups.items():
        names = sorted({name for values in settings.values() for name in values})
        differ = [n for n in names if len({str(v.get(n)) for v in settings.values()}) > 1]
        for text, values in settings.items():
            shown = [f"{name} {values[name]}" for name in differ if name in values]
            labels[method, trained, text] = ", ".join([method, *shown])
    return labels


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
    names = (*_CELL, "method", "bytes", "parameters")
    return Row(
        **{name: first[name] for name in names},
        epoch=first["epoch"] if cell["epoch"].n_unique() == 1 else None,
        seeds=tuple(sorted(cell["seed"].unique())),
        seed_means=dict(zip(by_seed["seed"], by_seed["score"], strict=True)),
        scores=scores,
        mean=float(np.mean([s.mean() for s in scores.values()])) if whole else None,
        sd=by_seed["score"].std() if whole else None,
    )


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _CELL)


def _order(row: Row, labels: Sequence[str]) -> tuple[Any, ...]:
    place = (labels.index(row.label), list(TRAINED).index(row.trained), row.epoch or 0)
    return not row.is_uncompressed, -row.size, row.bits, -row.fraction, *place


def _compared(tables: Sequence[Table]) -> list[Table]:
    """The tables of one experiment with comparisons, corrected for all that it has."""
    rows = [row for table in tables for row in table.rows]
    others = [_baseline_of(row, table) for table in tables for row in table.rows]
    comparisons = iter(compare_all(rows, others))
    return [
        replace(
            table,
            rows=tuple(
                replace(row, kept=_kept(row, table.rows), comparison=next(comparisons))
                for row in table.rows
            ),
        )
        for table in tables
    ]


def _kept(row: Row, rows: Sequence[Row]) -> float | None:
    """The mean as a part of that of uncompressed vectors."""
    plain = _same_training(row, [o for o in rows if o.method == UNCOMPRESSED and o.mean])
    return row.mean / plain.mean if row.mean is not None and plain and plain.mean else None


def _baseline_of(row: Row, table: Table) -> Row | None:
    """What a row is compared with: the baseline at its size, bits and fraction, and its epoch."""
    if row.mean is None or row.method == table.baseline:
        return None
    place = (row.size, row.bits, row.fraction)
    alike = [o for o in table.rows if (o.size, o.bits, o.fraction) == place and o.mean is not None]
    other = _same_training(row, [each for each in alike if each.method == table.baseline])
    if other is None or other.epoch == row.epoch:
        return other
    same = (o for o in table.curves if _cell(o) == _cell(other) and o.epoch == row.epoch)
    return next((o for o in same if o.mean is not None), other)


def _same_training(row: Row, rows: Sequence[Row]) -> Row | None:
    """The one with the same `trained`; else, and for untrained rows, the one that trains least."""
    same = [other for other in rows if other.trained == row.trained]
    if same or row.trained == "nothing":
        return next(iter([*same, *rows]), None)
    return next((other for other in rows if other.trained == "nothing"), None)
