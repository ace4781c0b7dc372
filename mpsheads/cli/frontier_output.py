"""What `mpsheads frontier` prints: the Pareto front and the recommendation, or JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpsheads.cli.output import console, table
from mpsheads.experiments.frontier import Point, Recommendation, label_of
from mpsheads.experiments.frontier_page import front_points, table_cells, table_columns
from mpsheads.experiments.frontier_use import Usage
from mpsheads.experiments.rows import Row, Table


def _row(row: Row) -> dict[str, Any]:
    names = ("method", "size", "bits", "bytes", "parameters", "tests", "mean", "sd", "kept")
    return {"label": label_of(row), **{name: getattr(row, name) for name in names}}


def report_of(
    found: Table,
    points: Sequence[Point],
    chosen: Recommendation,
    how: Usage,
    notes: Sequence[str],
    files: Sequence[Path],
) -> dict[str, Any]:
    """What `--json` prints."""
    front = {id(point) for point in front_points(points)}
    return {
        "encoder": found.encoder,
        "train": found.train,
        "tests": list(found.tests),
        "measure": found.measure,
        "recommendation": {
            "budget": chosen.budget,
            **_row(chosen.row),
            "kept_interval": chosen.interval,
            "best": label_of(chosen.best),
            "tied": [label_of(row) for row in chosen.tied],
            "sentence": chosen.sentence,
            "command": how.command,
            "code": how.code,
        },
        "rows": [
            {
                **_row(point.row),
                "interval": point.interval,
                "p_uncompressed": point.p_uncompressed,
                "p_pca": point.p_pca,
                "on_front": id(point) in front,
            }
            for point in points
        ],
        "notes": list(notes),
        "files": [str(path) for path in files],
    }


def print_report(
    found: Table,
    points: Sequence[Point],
    chosen: Recommendation,
    how: Usage,
    notes: Sequence[str],
    files: Sequence[Path],
) -> None:
    """Print the Pareto front, the recommendation, how to follow it, and what to know of it."""
    out = console()
    columns = table_columns(found)
    kept = [place for place, name in enumerate(columns) if name not in found.tests]
    rows = [
        [cells[i] for i in kept]
        for cells in (table_cells(found, point) for point in front_points(points))
    ]
    out.print(
        f"Pareto front of {len(points)} settings: {found.encoder}, {', '.join(found.tests)}; "
        f"trained and fitted on {found.train}",
        markup=False,
    )
    out.print(table([columns[i] for i in kept], rows))
    for text in (chosen.sentence, *notes):
        out.print(f"{text}\n", markup=False)
    for text in filter(None, [how.command, how.code]):
        out.print(f"{text}\n", markup=False, soft_wrap=True)
    out.print(f"results, report and figures: {', '.join(map(str, files))}", markup=False)
