"""How numbers are written in reports, and where a difference counts as shown."""

import re
from collections.abc import Sequence
from typing import Any

from mpsheads._optional import optional_import
from mpsheads.experiments.tables import Row

LEVEL = 0.05
"""Differences are called shown below this corrected p-value over queries."""


def number(value: float | None) -> str:
    """A number with its sign dropped at zero; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.3f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None) -> str:
    """A difference with its sign; a dash where there is none."""
    text = number(value)
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
    """A template of this package, for Jinja2."""
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
