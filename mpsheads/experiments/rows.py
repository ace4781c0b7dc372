"""Result lines gathered into tables: a row for each method, size and way of training."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mpsheads.experiments.results import key_of
from mpsheads.experiments.statistics import Comparison, Scores, compare, correct, summarise

Line = Mapping[str, Any]
UNCOMPRESSED = "uncompressed"
_Setting = tuple[str, str, str]  # method, trained, settings as JSON
_TRAINED = ("nothing", "head", "layers")


@dataclass(frozen=True)
class Row:
    """One method at one size, over all its seeds.

    Attributes:
        method: Its name in the results.
        label: The same, with the settings by which the rows of one method differ.
        trained: "nothing", "head" or "layers".
        size: Numbers a vector.
        bits: Bits a number, `None` if the results do not say.
        fraction: Part of the training queries, `None` if the results do not say.
        epoch: The epoch after which it was measured, `None` if it differs or they do not say.
        bytes: Bytes a vector, likewise.
        parameters: Trained parameters, likewise.
        queries: Number of training queries, likewise.
        seeds: The seeds that ran on at least one test.
        tests: test -> mean over queries and seeds.
        mean: Mean over the table's tests; `None` if one is missing.
        sd: Its standard deviation over seeds; `None` with fewer than two.
        kept: `mean` by that of uncompressed vectors; `None` where either is missing.
        comparison: With the baseline of the same size, bits, fraction and training; p-values are
            corrected over the experiment. `None` where either is missing.
        scores: seed -> test -> query_id -> score.
    """

    method: str
    label: str
    trained: str
    size: int
    bits: int | None
    fraction: float | None
    epoch: int | None
    bytes: int | None
    parameters: int | None
    queries: int | None
    seeds: tuple[int, ...]
    tests: dict[str, float]
    mean: float | None
    sd: float | None
    scores: Scores = field(repr=False)
    kept: float | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Table:
    """What one experiment measured with one encoder.

    Attributes:
        experiment: Its name.
        encoder: The encoder's name.
        train: The training collection, "" if nothing was trained.
        measure: Such as "nDCG@10".
        features: Numbers of an uncompressed vector, `None` if the results do not say.
        tests: The collections and splits, sorted.
        baseline: Label of the method that the others are compared with, `None` if there is none.
        rows: Each method after its last epoch, with comparisons.
        curves: Each method after each epoch, without comparisons.
    """

    experiment: str
    encoder: str
    train: str
    measure: str
    features: int | None
    tests: tuple[str, ...]
    baseline: str | None
    rows: tuple[Row, ...]
    curves: tuple[Row, ...]

    def varying(self, name: str) -> list[Any]:
        """The values of a field that trained or compressed rows differ in, none if it is one."""
        values = {getattr(row, name) for row in self.rows if not is_uncompressed(row)} - {None}
        return sorted(values) if len(values) > 1 else []


def is_uncompressed(row: Row) -> bool:
    """Whether a row stands for the encoder's own vectors, however they are compared."""
    return row.method.startswith(UNCOMPRESSED)


def make_tables(lines: Iterable[Line], baseline: str) -> list[Table]:
    """Gather lines into tables, by experiment and then encoder as they first appear.

    A line without a training collection joins every table of its experiment and encoder. Of two
    lines with one key the later counts.

    Raises:
        ValueError: If the lines of one table hold different queries of one test.
    """
    lines = list({key_of(line): line for line in lines}.values())
    groups: dict[tuple[str, str, str], dict[str, list[Line]]] = {}
    for line in lines:
        group = groups.setdefault((line["experiment"], line["encoder"], line["measure"]), {})
        group.setdefault(line.get("train") or "", []).append(line)
    tables: list[Table] = []
    for (experiment, encoder, measure), by_train in groups.items():
        untrained = by_train.pop("", [])
        for train, members in (by_train or {"": []}).items():
            members = [*untrained, *members]
            _check_queries(members)
            tables.append(_table((experiment, encoder, train, measure), members, baseline))
    first = list(dict.fromkeys(table.experiment for table in tables))
    return _corrected(sorted(tables, key=lambda table: first.index(table.experiment)))


def _table(names: tuple[str, str, str, str], lines: Sequence[Line], baseline: str) -> Table:
    tests = tuple(sorted({line["test"] for line in lines}))
    methods = {line["method"] for line in lines}
    known = [name for name in (baseline, UNCOMPRESSED) if name in methods]
    labels = _labels(lines)
    curves = [_row(label, group, tests) for label, group in _cells(lines, labels)]
    order = sorted(dict.fromkeys(labels.values()), key=lambda label: label not in known)
    curves.sort(key=lambda row: _order(row, order))
    last: dict[tuple[Any, ...], Row] = {}
    for row in curves:
        last[_cell(row)] = row
    base = known[0] if known else None
    rows = [_compared(row, list(last.values()), curves, base) for row in last.values()]
    features = {line["features"] for line in lines if line.get("features")}
    width = features.pop() if len(features) == 1 else None
    return Table(*names, width, tests, base, tuple(rows), tuple(curves))


def _labels(lines: Sequence[Line]) -> dict[_Setting, str]:
    """The method of each setting, with what it was set to where that differs in one training."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        method, trained, text = _setting(line)
        found.setdefault((method, trained), {})[text] = line.get("settings") or {}
    labels = {}
    for (method, trained), settings in found.items():
        names = sorted({name for values in settings.values() for name in values})
        differ = [n for n in names if len({_text(v.get(n)) for v in settings.values()}) > 1]
        for text, values in settings.items():
            shown = [f"{name} {values[name]}" for name in differ if name in values]
            labels[method, trained, text] = ", ".join([method, *shown])
    return labels


def _setting(line: Line) -> _Setting:
    return line["method"], line.get("trained") or _TRAINED[0], _text(line.get("settings") or {})


def _cells(lines: Sequence[Line], labels: Mapping[_Setting, str]) -> list[tuple[str, list[Line]]]:
    """Lines that differ in seed and test alone, with their label.

    The epoch tells lines apart only where a run was measured after several: where each is measured
    once, as after its best epoch, seeds may differ in it.
    """
    runs: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        cell = (labels[_setting(line)], *map(line.get, ("trained", "size", "bits", "fraction")))
        runs.setdefault((cell, line["seed"], line["test"]), []).append(line)
    several = any(len(found) > 1 for found in runs.values())
    cells: dict[tuple[Any, ...], list[Line]] = {}
    for (cell, _, _), found in runs.items():
        for line in found:
            cells.setdefault((*cell, line.get("epoch") if several else None), []).append(line)
    return [(key[0], members) for key, members in cells.items()]


def _row(label: str, lines: Sequence[Line], tests: Sequence[str]) -> Row:
    scores: dict[int, dict[str, Mapping[str, float]]] = {}
    for line in lines:
        scores.setdefault(line["seed"], {})[line["test"]] = line["scores"]
    summary = summarise(scores)
    first, whole = lines[0], len(summary.tests) == len(tests)
    epochs = {line.get("epoch") for line in lines}
    return Row(
        method=first["method"],
        label=label,
        trained=first.get("trained") or _TRAINED[0],
        size=first["size"],
        bits=first.get("bits"),
        fraction=first.get("fraction"),
        epoch=epochs.pop() if len(epochs) == 1 else None,
        bytes=first.get("bytes"),
        parameters=first.get("parameters"),
        queries=first.get("train_queries"),
        seeds=tuple(sorted(scores)),
        tests=summary.tests,
        mean=summary.mean if whole else None,
        sd=summary.sd if whole else None,
        scores=scores,
    )


def _cell(row: Row) -> tuple[Any, ...]:
    return row.label, row.trained, row.size, row.bits, row.fraction


def _order(row: Row, methods: Sequence[str]) -> tuple[Any, ...]:
    trained = _TRAINED.index(row.trained) if row.trained in _TRAINED else len(_TRAINED)
    method = methods.index(row.label)
    share, epoch = row.fraction or 0.0, row.epoch or 0
    return not is_uncompressed(row), -row.size, row.bits or 0, -share, method, trained, epoch


def _compared(row: Row, rows: Sequence[Row], curves: Sequence[Row], base: str | None) -> Row:
    """The row with its difference from the baseline and what is kept of uncompressed vectors."""
    if row.mean is None:
        return row
    whole = [other for other in rows if other.mean is not None]
    plain = _same_training(row, [other for other in whole if other.method == UNCOMPRESSED])
    kept = row.mean / plain.mean if plain and plain.mean else None
    found = [other for other in whole if other.method == base and _alike(row, other)]
    other = _same_training(row, found) if row.method != base else None
    if other is not None and other.epoch != row.epoch:
        cells = [o for o in curves if _cell(o) == _cell(other) and o.epoch == row.epoch]
        other = next((o for o in cells if o.mean is not None), other)
    comparison = compare(row.scores, other.scores) if other is not None else None
    return replace(row, kept=kept, comparison=comparison)


def _alike(row: Row, other: Row) -> bool:
    """Whether size, bits and fraction agree; what the results do not say is 32 bits and all."""
    return (row.size, row.bits or 32, row.fraction or 1.0) == (
        other.size,
        other.bits or 32,
        other.fraction or 1.0,
    )


def _same_training(row: Row, found: Sequence[Row]) -> Row | None:
    """The one with the same `trained`; else, and for untrained rows, the one that trains least."""
    same = [other for other in found if other.trained == row.trained]
    if same or row.trained == "nothing":
        return next(iter([*same, *found]), None)
    return next((other for other in found if other.trained == "nothing"), None)


def _corrected(tables: Sequence[Table]) -> list[Table]:
    """P-values corrected for all comparisons of one experiment, whatever encoder and measure."""
    families: dict[str, list[Comparison]] = {}
    for table in tables:
        found = [row.comparison for row in table.rows if row.comparison is not None]
        families.setdefault(table.experiment, []).extend(found)
    corrected = {name: iter(correct(found)) for name, found in families.items()}
    return [
        replace(
            table,
            rows=tuple(
                replace(row, comparison=next(corrected[table.experiment]))
                if row.comparison is not None
                else row
                for row in table.rows
            ),
        )
        for table in tables
    ]


def _check_queries(lines: Sequence[Line]) -> None:
    """Raise `ValueError` unless all lines of a test hold the same queries."""
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


def _text(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True)
