"""A report of experiments, made from their result lines alone."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mpsheads._files import as_path, replacing
from mpsheads._typing import PathLike
from mpsheads.experiments.results import Line
from mpsheads.experiments.tables import Row, Table, make_tables
from mpsheads.experiments.wording import number, part, percentage, probability, signed, template


def write_report(lines: Iterable[Line], folder: PathLike, baseline: str = "dense") -> Path:
    """Write `report.md`; a file that is there is replaced.

    Args:
        lines: As `read_results` returns them, complete or not.
        folder: Made if it is missing.
        baseline: As `make_tables` takes it.

    Returns:
        The path of the report.

    Raises:
        ImportError: If Jinja2, SciPy or polars is missing.
        ValueError: If lines of one experiment hold different queries of one test.
    """
    lines = list(lines)
    tables, path = make_tables(lines, baseline), as_path(folder) / "report.md"
    return write_page(path, "Report of experiments", lines, tables)


def write_page(
    path: Path,
    title: str,
    lines: Sequence[Line],
    tables: Sequence[Table],
    figure: str = "",
    first: Sequence[str] = (),
) -> Path:
    """Write tables as Markdown, after some paragraphs and a figure."""
    sections = [
        {"table": table, "heading": heading(table, tables), "rows": cells(table)}
        for table in tables
    ]
    page, facts = template("report.md.jinja"), _facts(lines)
    with replacing(path) as file:
        text = page.render(title=title, first=first, facts=facts, figure=figure, sections=sections)
        file.write_text(text, encoding="utf-8")
    return path


def cells(table: Table) -> list[dict[str, str]]:
    """Heading -> text of each row of a table; columns that say the same or nothing are left out."""
    rows = [_cells(table, row) for row in table.rows]
    fields = {"bits": "bits", "trained": "trained", "queries": "fraction", "epoch": "epoch"}
    left_out = {name for name, value in fields.items() if not table.varying(value)}
    left_out |= {name for name in rows[0] if all(row[name] == "–" for row in rows)}
    return [{n: text for n, text in row.items() if n not in left_out} for row in rows]


def _cells(table: Table, row: Row) -> dict[str, str]:
    """Every column of a table: heading -> text."""
    comparison, trained = row.comparison, row.trained != "nothing"
    texts = {
        "method": row.label,
        "size": str(row.size),
        "bits": str(row.bits),
        "trained": row.trained,
        "queries": part(row.fraction) if trained or row.fraction != 1 else "–",
        "epoch": str(row.epoch) if trained else "–",
        "bytes": f"{row.bytes:,}",
        "parameters": f"{row.parameters:,}",
        "seeds": str(len(row.seed_means)),
    }
    if len(table.tests) > 1:
        for test, name in _short_names(list(table.tests)).items():
            texts[name] = number(row.scores[test].mean() if test in row.scores else None)
    texts["mean"] = number(row.mean) + ("" if row.sd is None else f" ± {number(row.sd)}")
    low, high = comparison.interval if comparison else (None, None)
    difference = comparison and f"{signed(comparison.difference)} [{signed(low)}, {signed(high)}]"
    texts[f"Δ {table.baseline} [95%]"] = difference or "–"
    texts["p"] = probability(comparison and comparison.p_queries)
    texts["p (seeds)"] = probability(comparison and comparison.p_seeds)
    return {**texts, "kept": percentage(row.kept)}


def heading(table: Table, tables: Sequence[Table]) -> str:
    """Experiment and encoder, and what else tells the table from the others."""
    parts = [table.experiment, table.encoder]
    alike = [t for t in tables if (t.experiment, t.encoder) == (table.experiment, table.encoder)]
    if len({other.train for other in alike}) > 1:
        parts.append(f"trained on {table.train}")
    if len({other.measure for other in alike}) > 1:
        parts.append(table.measure)
    return ", ".join(parts)


def _short_names(tests: Sequence[str]) -> dict[str, str]:
    """The short name of each test: its split, with its collection where the split says little."""
    short = {test: re.sub(r".*/(?!(test|dev|train)\b)", "", test) for test in tests}
    return short if len(set(short.values())) == len(tests) else {test: test for test in tests}


def _facts(lines: Sequence[Line]) -> dict[str, str]:
    """What was run, in words."""
    queries = {line["test"]: len(line["scores"]) for line in lines}
    versions = {pair for line in lines for pair in line.get("versions", {}).items()}
    return {
        "Encoders": ", ".join(dict.fromkeys(line["encoder"] for line in lines)),
        "Trained on": ", ".join(dict.fromkeys(line["train"] for line in lines)),
        "Tests": ", ".join(f"{test} ({n} queries)" for test, n in sorted(queries.items())),
        "Versions": ", ".join(f"{name} {version}" for name, version in sorted(versions)),
        "Results": f"{len(lines):,}",
    }
