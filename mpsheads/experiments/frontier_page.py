"""The frontier as a page of Markdown, and the files of its report."""

from collections.abc import Sequence
from pathlib import Path

from mpsheads._files import replacing
from mpsheads._typing import PathLike
from mpsheads.experiments.figures import to_svg
from mpsheads.experiments.frontier import Point, Recommendation, label_of, pareto_front, percentage
from mpsheads.experiments.frontier_figure import draw_frontier
from mpsheads.experiments.frontier_use import Usage
from mpsheads.experiments.rows import Row, Table
from mpsheads.experiments.sentences import number, probability
from mpsheads.plotting.style import save_figure

_READING = (
    "numbers: of a vector, for pq and opq codes; bits: of each; bytes: of a vector in an index. "
    "Queries stay float32.",
    "A test's column holds the mean over its queries and over seeds; mean is the mean over tests, "
    "with its standard deviation over seeds where there are several, and its 95% bootstrap "
    "interval over queries. kept: as a part of that of uncompressed float32 vectors.",
    "p: paired randomisation test over queries against the uncompressed float32 vectors; p, PCA: "
    "against PCA of as many bytes, of the same numbers and bits if there is such a row. Both are "
    "two-sided and corrected by Holm's method for the number of rows.",
    "The numbers of PCA, truncation, dense and uncompressed vectors are brought to norm 1 and "
    "coded in equal cells between two quantiles of each number over the training documents, on "
    "which PCA, the quantisers and the start of mps heads are fitted too. Angles of mps and "
    "reference heads need no calibration.",
    "The Pareto front holds the rows that no other beats in both mean and bytes. It is chosen on "
    "the queries that measure it, so its means are a little too high.",
)


def table_columns(table: Table) -> list[str]:
    """The headings of `table_cells`."""
    tests = [_plain(test) for test in table.tests] if len(table.tests) > 1 else []
    names = ["method", "numbers", "bits", "bytes", "parameters", *tests, table.measure]
    return [*names, "95% interval", "kept", "p", "p, PCA"]


def table_cells(table: Table, point: Point) -> list[str]:
    """A point as text, a cell for each heading."""
    row, (low, high) = point.row, point.interval
    tests = [number(row.tests.get(t)) for t in table.tests] if len(table.tests) > 1 else []
    return [
        _plain(row.label),
        f"{row.size:,}",
        str(row.bits or 32),
        f"{row.bytes:,}",
        f"{row.parameters or 0:,}",
        *tests,
        number(row.mean) + ("" if row.sd is None else f" ± {number(row.sd)}"),
        f"{number(low)} to {number(high)}",
        "–" if row.kept is None else percentage(row.kept),
        probability(point.p_uncompressed),
        probability(point.p_pca),
    ]


def markdown(
    table: Table,
    points: Sequence[Point],
    chosen: Recommendation,
    how: Usage,
    notes: Sequence[str],
) -> str:
    """The report; its figure is a file beside it."""
    front = front_points(points)
    tests = ", ".join(
        f"{_plain(test)} ({len(next(iter(row.scores.values()))[test])} queries)"
        for row in [points[0].row]
        for test in table.tests
    )
    facts = [f"Encoder: {_plain(table.encoder)}", f"Tests: {tests}"]
    facts.append(f"Trained and fitted on: {_plain(table.train)}")
    facts.append(f"Seeds: {len({seed for p in points for seed in p.row.seeds})}")
    parts = [f"# {table.measure} against bytes a vector", chosen.sentence]
    parts += [_list(notes)] if notes else []
    if how.command:
        parts.append(f"```bash\n{how.command}\n```")
    parts += [f"```python\n{how.code}\n```", _list(facts)]
    parts += [f"![{table.measure} against bytes a vector, with the Pareto front](frontier.svg)"]
    parts += ["## The Pareto front", _table(table, front)]
    if len(chosen.tied) > 1:
        tied = ", ".join(map(label_of, chosen.tied))
        parts.append(
            f"Within {chosen.budget:,} bytes not told apart from the best, "
            f"{label_of(chosen.best)}: {_plain(tied)}."
        )
    parts += ["## All rows", _table(table, sorted(points, key=_order))]
    parts += ["## How to read the columns", _list(_READING)]
    return "\n\n".join(parts) + "\n"


def write_frontier(
    folder: PathLike,
    table: Table,
    points: Sequence[Point],
    chosen: Recommendation,
    how: Usage,
    notes: Sequence[str] = (),
    plot: PathLike | None = None,
) -> list[Path]:
    """Write `report.md`, `frontier.svg` and `frontier.png`; what is there is replaced.

    Args:
        folder: Made if it is missing.
        table: From `frontier_table`.
        points: From `measure_points`, of all its rows.
        chosen: From `recommend`.
        how: From `usage`.
        notes: What was left out, and what to know.
        plot: One more file of the figure, in the format that its ending names.

    Returns:
        The paths.

    Raises:
        ImportError: If matplotlib is missing.
    """
    folder = Path(folder)
    figure = draw_frontier(table, points, chosen)
    found = [folder / "report.md", folder / "frontier.svg", folder / "frontier.png"]
    texts = {found[0]: markdown(table, points, chosen, how, notes), found[1]: to_svg(figure)}
    for path, text in texts.items():
        with replacing(path) as file:
            file.write_text(text, encoding="utf-8")
    save_figure(figure, found[2])
    return [*found, save_figure(figure, plot)] if plot is not None else found


def front_points(points: Sequence[Point]) -> list[Point]:
    """The points of the Pareto front, by their bytes."""
    by_row = {id(point.row): point for point in points}
    return [by_row[id(row)] for row in pareto_front([point.row for point in points])]


def _order(point: Point) -> tuple[float, float]:
    row: Row = point.row
    return -(row.bytes or 0), -(row.mean or 0.0)


def _table(table: Table, points: Sequence[Point]) -> str:
    columns = table_columns(table)
    lines = [columns, [":--"] + ["--:"] * (len(columns) - 1)]
    lines += [table_cells(table, point) for point in points]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")
