"""A report as a page: Markdown, and HTML that holds everything itself."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mpsheads.experiments.rows import Row, Table
from mpsheads.experiments.sentences import (
    TRAINED,
    is_shown,
    number,
    part,
    probability,
    signed,
)

_TITLE = "Report of experiments"
_LIGHT = {
    "paper": "#ffffff",
    "ink": "#222222",
    "quiet": "#6b6b6b",
    "grid": "#e6e6e6",
    "edge": "#b0b0b0",
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "purple": "#b5488b",
    "grey": "#7a7a7a",
    "amber": "#a67700",
    "violet": "#5d3a9b",
    "teal": "#1b93a8",
    "wine": "#882255",
    "slate": "#2f4f4f",
}
_DARK = {
    **_LIGHT,
    "paper": "#16191d",
    "ink": "#e8e8e6",
    "quiet": "#a3a8ad",
    "grid": "#2d3238",
    "edge": "#5a616a",
    "blue": "#4aa8e0",
    "orange": "#f0823a",
    "green": "#2fc095",
    "purple": "#d97bb6",
    "grey": "#a0a0a0",
    "amber": "#d9a52e",
    "violet": "#a98be0",
    "teal": "#4cc3d9",
    "wine": "#d0648f",
    "slate": "#8fb3b3",
}
_STYLE = """
:root { color-scheme: light dark; %(light)s }
@media (prefers-color-scheme: dark) { :root { %(dark)s } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper);
  color: var(--ink); font: 1.0625rem/1.6 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1.5rem; }
h2 { font-size: 1.4rem; line-height: 1.3; margin: 3.5rem 0 0.4rem; }
p, ul, dl, details { max-width: 50rem; }
li { margin: 0.25rem 0; }
a { color: var(--blue); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; margin-top: 1.5rem; }
.note { border-left: 0.25rem solid var(--amber); padding-left: 0.9rem; }
.quiet { color: var(--quiet); margin-top: 0; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums;
  line-height: 1.4; }
th, td { padding: 0.35rem 0.45rem; text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; white-space: normal; vertical-align: bottom;
  border-bottom: 1px solid var(--edge); }
td { border-bottom: 1px solid var(--grid); }
th.left, td.left { text-align: left; }
th:first-child, td:first-child { padding-left: 0; position: sticky; left: 0;
  background: var(--paper); }
tr.new td { border-top: 2px solid var(--edge); }
figure { margin: 1.5rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%%; min-width: 40rem; max-width: 66rem; height: auto; }
"""


@dataclass(frozen=True)
class Section:
    """A table with what is said and drawn of it.

    Attributes:
        table: The table.
        sentences: What it shows.
        figures: File name -> SVG.
    """

    table: Table
    sentences: tuple[str, ...]
    figures: dict[str, str]


_PLAIN_SPLITS = ("test", "dev", "validation", "train", "all")
_Column = tuple[str, bool, Callable[[Row], str]]  # heading, whether text, what a row shows


def file_names(tables: Sequence[Table]) -> list[str]:
    """A name for each table that files can have, all different."""
    names: list[str] = []
    for table in tables:
        name = re.sub(r"[^a-z0-9]+", "-", _heading(table, tables).lower()).strip("-") or "table"
        same = sum(other == name or other.startswith(f"{name}--") for other in names)
        names.append(f"{name}--{same + 1}" if same else name)
    return names


def markdown_page(
    facts: Mapping[str, str],
    reading: Sequence[str],
    notes: Sequence[str],
    missing: Sequence[str],
    sections: Sequence[Section],
) -> str:
    """The report as Markdown; figures are files beside it."""
    tables = [section.table for section in sections]
    parts = [f"# {_TITLE}", *(f"**{_plain(note)}**" for note in notes)]
    parts.append("\n".join(f"- {name}: {_plain(text)}" for name, text in facts.items()))
    for section in sections:
        table = section.table
        parts += [f"## {_plain(_heading(table, tables))}", _plain(_caption(table))]
        parts.append("\n".join(f"- {_plain(text)}" for text in section.sentences))
        parts += [f"![{_alt(table)}]({name})" for name in section.figures]
        columns = _columns(table)
        lines = [[_plain(heading) for heading, _, _ in columns]]
        lines.append([":--" if is_text else "--:" for _, is_text, _ in columns])
        for row in table.rows:
            lines.append(
                [f"**{text}**" if bold else _plain(text) for text, bold in _cells(columns, row)]
            )
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts += ["## How to read the columns", "\n".join(f"- {text}" for text in reading)]
    if missing:
        parts += ["## Missing", "\n".join(f"- {_plain(text)}" for text in missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def html_page(
    facts: Mapping[str, str],
    reading: Sequence[str],
    notes: Sequence[str],
    missing: Sequence[str],
    sections: Sequence[Section],
) -> str:
    """The report as one file of HTML, for light and dark screens."""
    tables = [section.table for section in sections]
    names = file_names(tables)
    style = _STYLE % {"light": _variables(_LIGHT), "dark": _variables(_DARK)}
    body = [f"<h1>{_TITLE}</h1>", *(f'<p class="note">{_escape(note)}</p>' for note in notes)]
    items = (f"<dt>{_escape(name)}</dt><dd>{_escape(text)}</dd>" for name, text in facts.items())
    body.append(f"<dl>{''.join(items)}</dl>")
    body.append(f"<details><summary>How to read the columns</summary>{_list(reading)}</details>")
    if len(sections) > 2:
        links = (
            f'<li><a href="#{name}">{_escape(_heading(table, tables))}</a></li>'
            for name, table in zip(names, tables, strict=True)
        )
        body.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for place, (section, name) in enumerate(zip(sections, names, strict=True)):
        table = section.table
        body.append(f'<h2 id="{name}">{_escape(_heading(table, tables))}</h2>')
        body.append(f'<p class="quiet">{_escape(_caption(table))}</p>')
        body.append(_list(section.sentences))
        for number_, svg in enumerate(section.figures.values()):
            inline = _inline(svg, f"f{place}-{number_}-", _alt(table))
            body.append(f"<figure>{inline}</figure>")
        body.append(f'<div class="wide">{_table(table)}</div>')
    if missing:
        body += ["<h2>Missing</h2>", _list(missing)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_TITLE}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _heading(table: Table, tables: Sequence[Table]) -> str:
    """Experiment and encoder, and what else tells the table from the others."""
    parts = [table.experiment, table.encoder]
    alike = [t for t in tables if (t.experiment, t.encoder) == (table.experiment, table.encoder)]
    if len({other.train for other in alike}) > 1:
        parts.append(f"trained on {table.train}")
    if len({other.measure for other in alike}) > 1:
        parts.append(table.measure)
    return ", ".join(parts)


def _caption(table: Table) -> str:
    """What all rows have in common."""
    parts = [table.measure]
    if table.features:
        parts.append(f"{table.features} features")
    if table.train:
        parts.append(f"trained on {table.train}")
    trained = {row.trained for row in table.rows} - {"nothing"}
    if len(trained) == 1 and not _is_trained_both_ways(table.rows):
        value = trained.pop()
        parts.append(TRAINED.get(value, value))
    if table.baseline:
        parts.append(f"compared with {table.baseline}")
    return f"{'; '.join(parts)}."


def _alt(table: Table) -> str:
    what = f"{table.measure} of {len({row.label for row in table.rows})} methods"
    return f"{table.experiment}, {table.encoder}: {what}; the table holds the numbers"


def _columns(table: Table) -> list[_Column]:
    """The columns of a table; those that would say the same in every row are left out."""
    rows = table.rows
    columns: list[_Column] = [("method", True, lambda row: row.label)]
    columns.append(("size", False, lambda row: str(row.size)))
    if table.varying("bits"):
        columns.append(("bits", False, lambda row: _count(row.bits)))
    if len({row.trained for row in rows} - {"nothing"}) > 1 or _is_trained_both_ways(rows):
        columns.append(("trained", True, lambda row: row.trained))
    if table.varying("fraction"):
        columns.append(("queries", False, _share))
    if table.varying("epoch"):
        columns.append(("epoch", False, lambda row: _count(row.epoch)))
    columns.append(("bytes", False, lambda row: _count(row.bytes)))
    columns.append(("parameters", False, lambda row: _count(row.parameters)))
    columns.append(("seeds", False, lambda row: str(len(row.seeds))))
    for test, name in _test_names(table.tests).items():
        columns.append((name, False, lambda row, test=test: number(row.tests.get(test))))
    columns.append(("mean ± sd", False, _mean))
    if any(row.comparison for row in rows):
        columns.append((f"Δ {table.baseline} [95%]", False, _difference))
        columns.append(("p (queries)", False, lambda row: probability(_of(row, "p_queries"))))
        columns.append(("p (seeds)", False, lambda row: probability(_of(row, "p_seeds"))))
        columns.append(("d", False, lambda row: signed(_of(row, "effect_size"), 2)))
    if any(row.kept is not None for row in rows):
        kept = "–"
        columns.append(
            ("kept", False, lambda row: kept if row.kept is None else f"{100 * row.kept:.1f}%")
        )
    return columns


def _is_trained_both_ways(rows: Sequence[Row]) -> bool:
    """Whether a method stands in the table both untrained and trained."""
    return len({(row.label, row.trained) for row in rows}) > len({row.label for row in rows})


def _cells(columns: Sequence[_Column], row: Row) -> list[tuple[str, bool]]:
    """The texts of a row, and whether each is bold."""
    return [(show(row), heading[0] == "Δ" and is_shown(row)) for heading, _, show in columns]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(row: Row) -> str:
    share = "" if row.fraction is None else part(row.fraction)
    if row.trained == "nothing":
        return "–"
    return f"{row.queries:,} ({share})" if row.queries and share else share or "–"


def _mean(row: Row) -> str:
    if row.mean is None or row.sd is None:
        return number(row.mean)
    return f"{number(row.mean)} ± {'<0.001' if 0 < row.sd < 0.0005 else number(row.sd)}"


def _difference(row: Row) -> str:
    if row.comparison is None:
        return "–"
    low, high = row.comparison.interval
    return f"{signed(row.comparison.difference)} [{signed(low)}, {signed(high)}]"


def _of(row: Row, name: str) -> float | None:
    return None if row.comparison is None else getattr(row.comparison, name)


def _test_names(tests: Sequence[str]) -> dict[str, str]:
    """The short name of each test: its split, or its collection if the split says little."""
    parts = {test: test.rpartition("/") for test in tests}
    folders = [folder for folder, _, _ in parts.values()]
    found = {}
    for test, (folder, _, split) in parts.items():
        is_plain = split in _PLAIN_SPLITS and folder and folders.count(folder) == 1
        found[test] = folder if is_plain else split
    return found if len(set(found.values())) == len(tests) else {test: test for test in tests}


def _table(table: Table) -> str:
    columns = _columns(table)
    head = "".join(f"<th{_side(left)}>{_escape(text)}</th>" for text, left, _ in columns)
    lines, size = [], None
    for row in table.rows:
        cells = []
        for (_, left, _), (text, bold) in zip(columns, _cells(columns, row), strict=True):
            shown = f"<strong>{_escape(text)}</strong>" if bold else _escape(text)
            cells.append(f"<td{_side(left)}>{shown}</td>")
        new = ' class="new"' if size not in (None, row.size) else ""
        lines.append(f"<tr{new}>{''.join(cells)}</tr>")
        size = row.size
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _side(left: bool) -> str:
    return ' class="left"' if left else ""


def _inline(svg: str, prefix: str, alt: str) -> str:
    """An SVG for the page: its colours and font follow the page, and no id is that of another."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1{prefix}", svg)
    svg = re.sub(r"font: ([^'\";]*?)([\d.]+px) [^;\"]*", r"font: \1\2 system-ui, sans-serif", svg)
    names = {colour: name for name, colour in _LIGHT.items()}
    known = "|".join(names)
    svg = re.sub(known, lambda found: f"var(--{names[found[0].lower()]})", svg, flags=re.I)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_escape(alt)}" ', 1)


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _list(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return f"<p>{_escape(texts[0])}</p>"
    return f"<ul>{''.join(f'<li>{_escape(text)}</li>' for text in texts)}</ul>"


def _escape(text: str) -> str:
    return re.sub(r"\bp (=|&lt;) ", r"p&nbsp;\1&nbsp;", html.escape(text))


def _plain(text: str) -> str:
    """Text for Markdown, its marks taken literally."""
    return re.sub(r"([|*`\\]|<(?=[a-zA-Z/!?])|\](?=\())", r"\\\1", text)
