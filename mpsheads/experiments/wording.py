"""What a table shows, in plain sentences that claim no more than its p-values do."""

import re
from collections.abc import Sequence
from typing import Any

from mpsheads._optional import optional_import
from mpsheads.experiments.tables import TRAINED, Row, Table

LEVEL = 0.05
"""Differences are called shown below this corrected p-value over queries."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with its sign dropped at zero; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign; a dash where there is none."""
    text = number(value, digits)
    return text if value is None or value < 0 or float(text) == 0 else f"+{text}"


def probability(value: float | None) -> str:
    """A p-value that never rounds across the level at which differences are shown."""
    if value is None:
        return "–"
    if value < 0.001:
        return "<0.001"
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return text if (float(text) < LEVEL) == (value < LEVEL) else f"{value:.4f}"


def part(fraction: float) -> str:
    """A part of the training queries in percent, or how many they are if it is above 1."""
    return f"{100 * fraction:.3g}%" if fraction <= 1 else f"{fraction:,.0f}"


def percentage(value: float | None) -> str:
    """A part in percent with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}%"


def joined(texts: Sequence[str]) -> str:
    """Texts as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def plain(text: str) -> str:
    """Text for Markdown, its marks taken literally."""
    return re.sub(r"([|*`\\]|<(?=[a-zA-Z/!?])|\](?=\())", r"\\\1", text)


def template(name: str) -> Any:
    """A template of this package, for Jinja2.

    Raises:
        ImportError: If Jinja2 is missing.
    """
    jinja2 = optional_import("jinja2", "retrieval")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mpsheads.experiments"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"plain": plain, "is_shown": is_shown}
    return environment.get_template(name)


def is_shown(row: Row) -> bool:
    """Whether the corrected p-value over queries shows the row's difference."""
    p = row.comparison.p_queries if row.comparison else None
    return p is not None and p < LEVEL


def sentences(table: Table) -> list[str]:
    """One sentence for each method and way of training that was compared with the baseline.

    Returns:
        What is above, what below, and where no difference is shown; a sentence that says why
        nothing is compared, if so.
    """
    compared: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if row.comparison:
            compared.setdefault((row.label, row.trained), []).append(row)
    labels = [label for label, _ in compared]
    texts = []
    for (label, trained), rows in compared.items():
        name = label if labels.count(label) == 1 else f"{label} ({TRAINED[trained]})"
        texts.append(f"{name} against {table.baseline}: {_verdicts(table, rows)}.")
    if not texts:
        texts.append("Nothing is compared: no method has all tests at the size of a baseline.")
    lacking = dict.fromkeys(row.label for row in table.rows if row.mean is None)
    if lacking:
        texts.append(f"Not compared, as tests are missing: {'; '.join(lacking)}.")
    return texts


def _verdicts(table: Table, rows: Sequence[Row]) -> str:
    """Above, below and neither, each with its places, differences and p-values."""
    groups: dict[str, list[str]] = {"above": [], "below": [], "no difference is shown": []}
    for row in rows:
        assert row.comparison is not None
        side = "below" if row.comparison.difference < 0 else "above"
        place = [f"{row.size} numbers"]
        place += [f"{row.bits} bit"] * bool(table.varying("bits"))
        place += [f"{part(row.fraction)} of the queries"] * bool(table.varying("fraction"))
        place += [f"epoch {row.epoch}"] * bool(table.varying("epoch"))
        text = f"at {', '.join(place)} ({signed(row.comparison.difference)}, {_odds(row)})"
        groups[side if is_shown(row) else "no difference is shown"].append(text)
    return "; ".join(f"{verdict} {joined(texts)}" for verdict, texts in groups.items() if texts)


def _odds(row: Row) -> str:
    """The p-values of a row, and where they disagree."""
    comparison = row.comparison
    assert comparison is not None
    if comparison.p_queries is None:
        return "a single query, no test"
    p = probability(comparison.p_queries)
    text = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
    if is_shown(row) and comparison.p_seeds is not None and comparison.p_seeds >= LEVEL:
        text += f"; over seeds {probability(comparison.p_seeds)}, not shown"
    return text
