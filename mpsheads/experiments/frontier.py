"""Quality against bytes: what was measured, its Pareto front, and what to take for a budget."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpsheads._checks import check_positive
from mpsheads._files import replacing
from mpsheads._typing import PathLike
from mpsheads.experiments.grid import FRONTIER_METHODS, TRAINING, quantiser_notes
from mpsheads.experiments.results import Line
from mpsheads.experiments.spec import UNCOMPRESSED
from mpsheads.experiments.tables import Comparison, Row, Table, compare, compare_all, make_tables
from mpsheads.experiments.wording import LEVEL, label_of, number, percentage, probability, template
from mpsheads.plotting import QualityPoint, pareto_front, quality_vs_bytes
from mpsheads.retrieval import parse_dataset
from mpsheads.training import TrainingConfig

MARGIN = 0.01
"""A row counts as tied with the best only if its measure is at most this below."""


@dataclass(frozen=True)
class Recommendation:
    """What to take for a budget.

    Attributes:
        budget: Bytes a vector.
        row: What to take.
        best: The row of the highest mean within the budget.
        tied: The other rows that are not told apart from `best`; `row` may be one.
        kept: The mean of `row` as a part of that of uncompressed vectors; `None` without these.
        interval: 95% bootstrap interval over queries of `kept`, by that of the paired difference.
        comparison: `row` with `best`, corrected for all rows within the budget; `None` if it is it.
        sentence: All of this in words.
    """

    budget: int
    row: Row
    best: Row
    tied: tuple[Row, ...]
    kept: float | None
    interval: tuple[float, float] | None
    comparison: Comparison | None
    sentence: str = ""


@dataclass(frozen=True)
class Frontier:
    """What a report of a frontier says.

    Attributes:
        table: From `frontier_table`; each row is compared with uncompressed float32 vectors.
        p_pca: For each row the p-value against PCA of as many bytes, corrected for the number of
            rows: of its own size and bits if it was measured, else of the most numbers; `None`
            where there is none.
        recommendation: What to take for the budget, with its sentence.
        command: The command that trains the recommended head; `None` where nothing is trained.
        code: Lines of Python that load or fit it and compress `x`, embeddings of documents; those
            of queries stay float32.
        notes: What was left out, and what to know.
    """

    table: Table
    p_pca: Mapping[Row, float | None]
    recommendation: Recommendation
    command: str | None
    code: str
    notes: tuple[str, ...] = ()

    @property
    def front(self) -> list[Row]:
        """The rows of the Pareto front, by their bytes."""
        return pareto_front(self.table.rows)

    @property
    def columns(self) -> list[str]:
        """The headings of `cells`."""
        tests = self.table.tests if len(self.table.tests) > 1 else ()
        names = ("method", "numbers", "bits", "bytes", "parameters", *tests, self.table.measure)
        return [*names, "95% interval", "kept", "p", "p, PCA"]

    def cells(self, row: Row) -> list[str]:
        """A row as text, a cell for each of `columns`."""
        sizes = (row.size, row.bits, row.bytes, row.parameters or 0)
        tests = map(number, row.tests.values()) if len(self.table.tests) > 1 else ()
        mean = number(row.mean) + ("" if row.sd is None else f" ± {number(row.sd)}")
        interval = " to ".join(map(number, row.interval))
        p = row.comparison.p_queries if row.comparison else None
        texts = (row.label, *(f"{size:,}" for size in sizes), *tests, mean, interval)
        return [*texts, percentage(row.kept), probability(p), probability(self.p_pca[row])]

    def as_dict(self) -> dict[str, Any]:
        """All of this in plain values: what `mpsheads frontier --json` prints, without files."""
        chosen, front = self.recommendation, self.front
        names = ("method", "size", "bits", "bytes", "parameters", "tests", "mean", "sd", "kept")

        def values(row: Row) -> dict[str, Any]:
            return {"label": label_of(row), **{name: getattr(row, name) for name in names}}

        rows = [
            {
                **values(row),
                "interval": row.interval,
                "p_uncompressed": row.comparison.p_queries if row.comparison else None,
                "p_pca": self.p_pca[row],
                "on_front": row in front,
            }
            for row in self.table.rows
        ]
        recommendation = {
            "budget": chosen.budget,
            **values(chosen.row),
            "kept_interval": chosen.interval,
            "best": label_of(chosen.best),
            "tied": [label_of(row) for row in chosen.tied],
            "sentence": chosen.sentence,
            "command": self.command,
            "code": self.code,
        }
        names = ("encoder", "train", "measure")
        table = {name: getattr(self.table, name) for name in names}
        table["tests"] = list(self.table.tests)
        return {**table, "recommendation": recommendation, "rows": rows, "notes": list(self.notes)}


def frontier_table(lines: Iterable[Line]) -> Table:
    """The table of result lines of one encoder and one training collection.

    Rows without all tests or without a number of bytes are left out, and `kept` is the part of
    uncompressed float32 vectors' mean.

    Raises:
        ValueError: If there are no lines, or those of several encoders or training collections.
    """
    tables = make_tables(lines, UNCOMPRESSED)
    if len(tables) != 1:
        held = ", ".join(f"{table.encoder} on {table.train or 'nothing'}" for table in tables)
        raise ValueError(
            f"`lines` must hold the results of one encoder and one training collection, got "
            f"{held or 'none'}."
        )
    whole = [row for row in tables[0].rows if row.mean is not None and row.bytes is not None]
    plain = _uncompressed(whole)
    mean = plain.mean if plain else None
    compared = compare_all(whole, [None if row is plain else plain for row in whole])
    rows = (
        replace(row, kept=row.mean / mean if mean else None, comparison=comparison)
        for row, comparison in zip(whole, compared, strict=True)
    )
    return replace(tables[0], rows=tuple(rows), curves=())


def recommend(rows: Sequence[Row], budget: int, *, margin: float = MARGIN) -> Recommendation:
    """The row to take for a budget of bytes.

    The best is that of the highest mean within the budget. A row is tied with it if a paired
    randomisation test over queries does not tell the two apart (Holm's method corrects for all rows
    within the budget) and its mean is at most `margin` below: with few queries a test alone tells
    nothing apart. Of the best and the tied, the one of fewest parameters is taken, then of fewest
    bytes, then of the highest mean.

    Args:
        rows: As in the table of `frontier_table`.
        budget: Most bytes a vector.
        margin: See above, in units of the measure.

    Raises:
        ValueError: If no row fits the budget.
    """
    check_positive(budget=budget)
    within = [row for row in rows if row.bytes <= budget]
    if not within:
        least = min((row.bytes for row in rows), default=None)
        way_out = f"the smallest vector measured has {least:,}" if least else "nothing was measured"
        raise ValueError(
            f"Nothing fits `budget` {budget}, in bytes a vector: {way_out}. Give a larger one, or "
            f"measure fewer numbers or bits."
        )
    best = min(within, key=lambda row: (-row.mean, *_cost(row)))
    others = [row for row in within if row is not best]
    compared = zip(others, compare_all(others, [best] * len(others)), strict=True)
    comparisons = {row: found for row, found in compared if _is_tied(found, margin)}
    row = min([best, *comparisons], key=lambda row: (*_cost(row), -row.mean))
    tied = tuple(sorted(comparisons, key=lambda row: -row.mean))
    plain = _uncompressed(rows)
    kept, interval = None, None
    if plain is not None and plain.mean:
        kept = row.mean / plain.mean
        low, high = compare(row, plain).interval
        interval = 1 + low / plain.mean, 1 + high / plain.mean
    chosen = Recommendation(budget, row, best, tied, kept, interval, comparisons.get(row))
    others = [each for each in tied if each is not row]
    sentence = template("recommendation.jinja").render(**vars(chosen), others=others)
    return replace(chosen, sentence=sentence.strip())


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
        lines: From `run_frontier` or `written_lines`.
        budget: Most bytes a vector that is recommended.
        encoder: The encoder, as `mpsheads train` takes it, for the command.
        train: Where heads are trained, likewise: `plan.train`; as the results call it if "".
        notes: What was left out: `plan.notes`.
        device: The device asked for, for the command.

    Raises:
        ValueError: If nothing fits the budget, or the lines are of several encoders.
    """
    lines = list(lines)
    table = frontier_table(lines)
    chosen = recommend(table.rows, budget)
    pairs = min((line["pairs"] for line in lines if "pairs" in line), default=None)
    command, code = usage(
        chosen.row, table.features or 0, train or table.train, encoder, pairs, device
    )
    notes = (*notes, *quantiser_notes(lines))
    pca = compare_all(table.rows, [_pca_of(row, table.rows) for row in table.rows])
    p_values = [comparison.p_queries if comparison else None for comparison in pca]
    p_pca = dict(zip(table.rows, p_values, strict=True))
    return Frontier(table, p_pca, chosen, command, code, notes)


def usage(
    row: Row,
    features: int,
    train: str,
    encoder: str,
    pairs: int | None = None,
    device: str | None = None,
) -> tuple[str | None, str]:
    """The command and the lines of Python that make vectors of a row; see `Frontier`.

    Arguments are those of `make_frontier`, the number of features, and how many pairs the head was
    trained on: `mpsheads train` may hold others out, and takes no batch of more.
    """
    method = FRONTIER_METHODS[row.method]
    values = {"row": row, "method": method, "features": features, "training": TRAINING}
    values |= zip(("source", "split", "pool"), parse_dataset(train), strict=True)
    few = pairs is not None and pairs < TrainingConfig.batch_size / 0.9
    values["batch_size"] = max(2, 2 ** int(math.log2(0.9 * pairs))) if few and pairs else None
    texts = (
        template(name).render(values, encoder=encoder, device=device).strip()
        for name in ("train-command.jinja", "usage.py.jinja")
    )
    command, code = texts
    return command if method.is_trained else None, code


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
        ImportError: If matplotlib or Jinja2 is missing.
    """
    table, chosen = frontier.table, frontier.recommendation
    budget = f"bold: recommended for {chosen.budget:,} bytes"
    tests = " and ".join(table.tests) if len(table.tests) < 4 else f"{len(table.tests)} tests"
    mean = "mean of " if len(table.tests) > 1 else ""
    points = [
        QualityPoint(
            method=row.label,
            bytes=row.bytes,
            mean=row.mean,
            interval=row.interval,
            parameters=row.parameters or 0,
            bits=row.bits,
            label=label_of(row),
            emphasis=row is chosen.row,
        )
        for row in table.rows
    ]
    seeds = len({seed for row in table.rows for seed in row.seeds})
    page = template("frontier.md.jinja").render(frontier=frontier, seeds=seeds)
    paths = [Path(folder) / name for name in ("report.md", "frontier.svg", "frontier.png")]
    with replacing(paths[0]) as file:
        file.write_text(page, encoding="utf-8")
    paths += [] if plot is None else [Path(plot)]
    for path in paths[1:]:
        quality_vs_bytes(
            points,
            path,
            measure=table.measure,
            title=f"{table.measure} against bytes a vector",
            subtitle=f"{table.encoder}, {mean}{tests}; {budget}",
            budget=chosen.budget,
            front=True,
        )
    return paths


def _uncompressed(rows: Sequence[Row]) -> Row | None:
    """The row of uncompressed float32 vectors, `None` if it is not there."""
    return next((row for row in rows if row.method == UNCOMPRESSED and row.bits == 32), None)


def _is_tied(comparison: Comparison | None, margin: float) -> bool:
    assert comparison is not None
    p = comparison.p_queries
    return (p is None or p >= LEVEL) and comparison.difference >= -margin - 1e-12


def _cost(row: Row) -> tuple[int, int]:
    return row.parameters or 0, row.bytes or 0


def _pca_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """PCA of as many bytes, of the same size if there is one."""
    equal = [other for other in rows if other.method == "pca" and other.bytes == row.bytes]
    if row.method in ("pca", UNCOMPRESSED) or not equal:
        return None
    same = [other for other in equal if (other.size, other.bits) == (row.size, row.bits)]
    return max(same or equal, key=lambda other: other.size)
