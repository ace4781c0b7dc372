"""A report of experiments, made from their result lines alone."""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mpsheads._files import replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.experiments.figures import draw
from mpsheads.experiments.results import Key, Line, key_of
from mpsheads.experiments.tables import TRAINED, Row, Table, make_tables
from mpsheads.experiments.wording import (
    number,
    part,
    percentage,
    probability,
    signed,
    template,
)


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        facts: What was run: name -> text.
        tables: One for each experiment, encoder, training collection and measure.
        notes: What the reader must know of the results as a whole.
        missing: What was expected and is not there, one text for each method and size.
    """

    facts: dict[str, str]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def make_report(
    lines: Iterable[Line], baseline: str = "dense", expected: Iterable[Key] | None = None
) -> Report:
    """Make a report from result lines.

    Args:
        lines: As `read_results` returns them, complete or not.
        baseline: The method that the others of its size are compared with. Where an experiment
            lacks it, "uncompressed" takes its place.
        expected: The keys, from `key_of`, of all results that the experiments are to have; those
            without a line are listed as missing.

    Returns:
        The report; `write_report` makes the files of it.

    Raises:
        ImportError: If SciPy or polars is missing.
        ValueError: If lines of one experiment hold different queries of one test.
    """
    lines = list(lines)
    keys = {key_of(line) for line in lines}
    wanted = dict.fromkeys(expected or ())
    missing = [key for key in wanted if key not in keys]
    notes = [] if lines else ["There are no results yet."]
    if len(lines) > len(keys):
        notes.append(
            f"Results measured more than once: {len(lines) - len(keys)}. The last line counts."
        )
    if missing:
        notes.append(
            f"The results are not complete: {len(missing):,} of the {len(wanted):,} expected ones "
            "are missing, see below."
        )
    tables = tuple(make_tables(lines, baseline))
    return Report(_facts(lines, len(keys)), tables, tuple(notes), tuple(_missing(missing)))


def write_report(report: Report, folder: PathLike) -> tuple[Path, Path]:
    """Write `report.md`, `report.html`, and beside them the figures of the Markdown as SVG.

    The HTML holds its figures itself and needs no network. Files that are there are replaced.

    Args:
        report: From `make_report`.
        folder: Made if it is missing.

    Returns:
        The paths of the Markdown and of the HTML.

    Raises:
        ImportError: If matplotlib or Jinja2 is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sections: list[_Section] = []
    for table in report.tables:
        heading = _heading(table, report.tables)
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "table"
        same = sum(re.sub(r"--\d+$", "", other.name) == name for other in sections)
        name = f"{name}--{same + 1}" if same else name
        sections.append(_Section(table, heading, name, draw(table, report.tables, folder, name)))
    paths = folder / "report.md", folder / "report.html"
    for path in paths:
        page = template(f"{path.name}.jinja", inline=_inline)
        page = page.render(report=report, sections=sections)
        with replacing(path) as file:
            file.write_text(page, encoding="utf-8")
    return paths


@dataclass(frozen=True)
class _Section:
    """A table with what is said and drawn of it."""

    table: Table
    heading: str
    name: str
    figures: dict[str, str]  # file name -> SVG

    @property
    def alt(self) -> str:
        table, count = self.table, len({row.label for row in self.table.rows})
        what = f"{table.measure} of {count} methods; the table holds the numbers"
        return f"{table.experiment}, {table.encoder}: {what}"

    @property
    def caption(self) -> str:
        """What all rows have in common."""
        table = self.table
        parts = [table.measure]
        parts += [f"{table.features} features"] if table.features else []
        parts += [f"trained on {table.train}"] if table.train else []
        parts += [f"compared with {table.baseline}"] if table.baseline else []
        return f"{'; '.join(parts)}."

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Heading -> text of each row; columns that say the same or nothing are left out."""
        rows = [_cells(self.table, row) for row in self.table.rows]
        fields = {"bits": "bits", "trained": "trained", "queries": "fraction", "epoch": "epoch"}
        left_out = {name for name, value in fields.items() if not self.table.varying(value)}
        left_out |= {name for name in rows[0] if all(row[name] == "–" for row in rows)}
        return [{n: text for n, text in row.items() if n not in left_out} for row in rows]

    @property
    def pairs(self) -> list[tuple[Row, dict[str, str]]]:
        """The table's rows with their cells."""
        return list(zip(self.table.rows, self.rows, strict=True))


def _cells(table: Table, row: Row) -> dict[str, str]:
    """Every column of a table: heading -> text."""
    comparison = row.comparison
    cells = {
        "method": row.label,
        "size": str(row.size),
        "bits": str(row.bits),
        "trained": row.trained,
        "queries": "–" if row.trained == "nothing" else part(row.fraction),
        "epoch": _count(row.epoch),
        "bytes": _count(row.bytes),
        "parameters": _count(row.parameters),
        "seeds": str(len(row.seeds)),
    }
    names = _short_names(list(table.tests))
    cells |= {name: number(row.tests.get(test)) for test, name in names.items()}
    sd = "" if row.sd is None else "<0.001" if 0 < row.sd < 0.0005 else number(row.sd)
    cells["mean ± sd"] = " ± ".join(filter(None, [number(row.mean), sd]))
    low, high = comparison.interval if comparison else (None, None)
    difference = comparison and f"{signed(comparison.difference)} [{signed(low)}, {signed(high)}]"
    cells[f"Δ {table.baseline} [95%]"] = difference or "–"
    cells["p (queries)"] = probability(comparison and comparison.p_queries)
    cells["p (seeds)"] = probability(comparison and comparison.p_seeds)
    cells["d"] = signed(comparison and comparison.effect_size, 2)
    return {**cells, "kept": percentage(row.kept)}


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _heading(table: Table, tables: Sequence[Table]) -> str:
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


def _inline(svg: str, prefix: str, alt: str) -> Any:
    """An SVG for a page: its colours and font follow the page, and no id is that of another."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg[svg.index("<svg") :])
    svg = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", svg)
    svg = re.sub(r"font: ([^'\";]*?)([\d.]+px) [^;\"]*", r"font: \1\2 system-ui, sans-serif", svg)
    light = template("page.css.jinja").render().partition("@media")[0]  # figures have its colours
    names = {colour: name for name, colour in re.findall(r"--(\w+): (#\w+);", light)}
    svg = re.sub("|".join(names), lambda hit: f"var(--{names[hit[0].lower()]})", svg, flags=re.I)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)
    return optional_import("markupsafe", "retrieval").Markup(svg)


def _facts(lines: Sequence[Line], n_results: int) -> dict[str, str]:
    """What was run, in words."""

    def distinct(name: str, separator: str = ", ") -> str:
        return separator.join(dict.fromkeys(str(line[name]) for line in lines if line.get(name)))

    pairs = {pair for line in lines for pair in (line.get("versions") or {}).items()}
    versions = [f"{name} {version}" for name, version in sorted(pairs)]
    queries = {line["test"]: len(line["scores"]) for line in lines}
    facts = {
        "Experiments": distinct("experiment"),
        "Encoders": distinct("encoder"),
        "Trained on": distinct("train"),
        "Tests": ", ".join(f"{test} ({n} queries)" for test, n in sorted(queries.items())),
        "Measures": distinct("measure"),
        "Methods": distinct("method", "; "),
        "Seeds": ranges({line["seed"] for line in lines}),
        "Versions": ", ".join(versions),
        "Results": f"{n_results:,}",
    }
    return {name: text for name, text in facts.items() if text}


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in words: 0, 1, 2 as "0 to 2", 0, 2 as "0, 2"."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))


def _missing(keys: Sequence[Key]) -> list[str]:
    """The missing keys, those that differ in seed, fraction, epoch and test together."""
    groups: dict[Key, list[Key]] = {}
    for key in keys:
        experiment, encoder, _, trained, method, _, size, bits, *_ = key
        groups.setdefault((experiment, encoder, method, trained, size, bits), []).append(key)
    return [
        f"{experiment}, {encoder}: {method} at {size} numbers, {bits or 32} bit, "
        f"{TRAINED.get(trained, trained)}: results missing: {len(members)} "
        f"(seeds {ranges({key[8] for key in members})}; "
        f"{', '.join(sorted({key[11] for key in members}))})"
        for (experiment, encoder, method, trained, size, bits), members in groups.items()
    ]
