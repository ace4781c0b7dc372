"""What a table shows, in plain sentences that claim no more than its p-values do."""

from mpsheads.experiments.rows import UNCOMPRESSED, Row, Table

LEVEL = 0.05
"""Differences are called shown below this corrected p-value over queries."""
TRAINED = {"nothing": "untrained", "head": "head trained", "layers": "last layers trained"}
"""How ways of training are called."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with its sign dropped at zero; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-").replace("-", "−") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign; a dash where there is none."""
    text = number(value, digits)
    return text if value is None or value < 0 or float(f"{value:.{digits}f}") == 0 else f"+{text}"


def probability(value: float | None) -> str:
    """A p-value that never rounds across the level at which differences are shown."""
    if value is None:
        return "–"
    if value < 0.001:
        return "<0.001"
    if value < 0.1:
        text = f"{value:.3f}"
        return text if (float(text) < LEVEL) == (value < LEVEL) else f"{value:.4f}"
    return f"{value:.2f}"


def percent(fraction: float, digits: int = 3) -> str:
    """A fraction in percent, as short as its digits allow."""
    return f"{100 * fraction:.{digits}g}%"


def part(fraction: float) -> str:
    """A part of the training queries in percent, or how many they are if it is above 1."""
    return percent(fraction) if fraction <= 1 else f"{fraction:,.0f}"


def is_shown(row: Row) -> bool:
    """Whether the corrected p-value over queries shows the row's difference."""
    p = None if row.comparison is None else row.comparison.p_queries
    return p is not None and p < LEVEL


def sentences(table: Table) -> list[str]:
    """One sentence for each method and way of training that was compared with the baseline.

    Returns:
        What is above, what below, and where no difference is shown; a sentence that says why
        nothing is compared, if so.
    """
    compared: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if row.comparison is not None:
            compared.setdefault((row.label, row.trained), []).append(row)
    if not compared:
        return [_nothing_compared(table), *_incomplete(table)]
    labels = [label for label, _ in compared]
    found = []
    for (label, trained), rows in compared.items():
        name = label if labels.count(label) == 1 else f"{label} ({TRAINED.get(trained, trained)})"
        found.append(_one(table, name, rows[0]) if len(rows) == 1 else _many(table, name, rows))
    return [*found, *_incomplete(table)]


def _nothing_compared(table: Table) -> str:
    if table.baseline is None:
        return "Nothing is compared: there are no results of the baseline."
    return f"Nothing is compared: no method has all tests at the same size as {table.baseline}."


def _incomplete(table: Table) -> list[str]:
    lacking = dict.fromkeys(row.label for row in table.rows if row.mean is None)
    return [f"Not compared, as tests are missing: {'; '.join(lacking)}."] if lacking else []


def _size(table: Table, row: Row) -> str:
    """Such as "128 of 384 numbers"; empty where only uncompressed vectors are compared."""
    if table.baseline == UNCOMPRESSED:
        return ""
    return f"{row.size} of {table.features} numbers" if table.features else f"{row.size} numbers"


def _place(table: Table, row: Row) -> str:
    """Where in the table a row stands, such as "128 of 384 numbers and 8 bit"."""
    parts = [_size(table, row)]
    if table.varying("bits") and row.bits is not None:
        parts.append(f"{row.bits} bit")
    if table.varying("fraction") and row.fraction is not None:
        parts.append(f"{part(row.fraction)} of the training queries")
    return " and ".join(filter(None, parts))


def _odds(row: Row) -> str:
    """The p-values of a row, and where they disagree."""
    comparison = row.comparison
    assert comparison is not None
    if comparison.p_queries is None:
        return "a single query, no test"
    p = probability(comparison.p_queries)
    text = f"p {p}" if p.startswith("<") else f"p = {p}"
    seeds = comparison.p_seeds
    if is_shown(row) and seeds is not None and seeds >= LEVEL:
        text += f"; over seeds {probability(seeds)}, not shown"
    return text.replace("p <", "p < ")


def _one(table: Table, name: str, row: Row) -> str:
    comparison = row.comparison
    assert comparison is not None
    verdict = "a difference is shown" if is_shown(row) else "no difference is shown"
    size = number(abs(comparison.difference))
    size = "less than 0.001" if size == "0.000" else size
    side = "below" if comparison.difference < 0 else "above"
    is_at = f"{size} {side}" if comparison.difference else "equal to"
    place = _place(table, row)
    start = f"At {place} " if place else ""
    return f"{start}{name} is {is_at} {table.baseline} ({_odds(row)}): {verdict}."


def _many(table: Table, name: str, rows: list[Row]) -> str:
    """Above, below and neither, each with its places."""
    groups: dict[str, list[Row]] = {"above": [], "below": [], "no difference is shown": []}
    for row in rows:
        assert row.comparison is not None
        side = "below" if row.comparison.difference < 0 else "above"
        groups[side if is_shown(row) else "no difference is shown"].append(row)
    varying = [n for n in ("size", "bits", "fraction") if len({getattr(r, n) for r in rows}) > 1]
    parts = [f"{verdict} {_places(table, m, varying)}" for verdict, m in groups.items() if m]
    size = "" if "size" in varying else _size(table, rows[0])
    where = f" at {size}" if size else ""
    return f"{name} against {table.baseline}{where}: {'; '.join(parts)}."


def _places(table: Table, rows: list[Row], varying: list[str]) -> str:
    """Places with differences, such as "at 128 (+0.01, p = 0.02) and 64 (...) of 384 numbers"."""
    items = []
    for row in rows:
        assert row.comparison is not None
        text = str(getattr(row, varying[0])) if len(varying) == 1 else _place(table, row)
        if varying == ["fraction"]:
            text = part(row.fraction or 1.0)
        items.append(f"{text} ({signed(row.comparison.difference)}, {_odds(row)})")
    listed = items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
    units = {
        "size": f"of {table.features} numbers" if table.features else "numbers",
        "bits": "bit",
        "fraction": "of the training queries",
    }
    unit = f" {units[varying[0]]}" if len(varying) == 1 else ""
    return f"{'with' if varying == ['fraction'] else 'at'} {listed}{unit}"
