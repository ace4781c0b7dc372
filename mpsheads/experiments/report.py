"""A report of experiments, made from their result lines alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsheads._files import replacing
from mpsheads._typing import PathLike
from mpsheads.experiments.figures import draw, styles, to_svg
from mpsheads.experiments.pages import Section, file_names, html_page, markdown_page
from mpsheads.experiments.results import key_of
from mpsheads.experiments.rows import Line, Table, make_tables
from mpsheads.experiments.sentences import TRAINED, sentences

Key = tuple[Any, ...]

_READING = (
    "size: numbers a vector; bytes: what one vector takes in an index; parameters: trained ones.",
    "A test's column holds the mean over its queries and over seeds; mean ± sd is the mean over "
    "tests, each counting the same, and its standard deviation over seeds.",
    "Δ is the difference of that mean from the baseline's of the same size, bits and training "
    "(for untrained methods the baseline with the head trained), with its 95% bootstrap interval "
    "over queries. Bold: the corrected p over queries is below 0.05.",
    "p (queries) is that of a paired randomisation test over queries, on scores averaged over "
    "seeds; p (seeds) that of a paired t-test over the seeds that both have run. Both are "
    "two-sided and corrected by Holm's method for all comparisons of the experiment.",
    "d is Cohen's: the difference by the standard deviation of the queries' differences.",
    "kept is the mean as a part of that of uncompressed vectors. – stands where there is no value.",
)


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        facts: What was run: name -> text.
        reading: How to read the columns, one text for each.
        tables: One for each experiment, encoder, training collection and measure.
        notes: What the reader must know of the results as a whole.
        missing: What was expected and is not there, one text for each method and size.
    """

    facts: dict[str, str]
    reading: tuple[str, ...]
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
        ImportError: If SciPy is missing.
        ValueError: If lines of one experiment hold different queries of one test.
    """
    lines = list(lines)
    there = {key_of(line) for line in lines}
    notes = []
    if not lines:
        notes.append("There are no results yet.")
    if len(lines) > len(there):
        twice = len(lines) - len(there)
        notes.append(
            f"{twice} {'result was' if twice == 1 else 'results were'} measured more than once; "
            "the last line of each counts."
        )
    wanted = dict.fromkeys(expected or ())
    missing = [key for key in wanted if key not in there]
    if missing:
        notes.append(
            f"The results are not complete: {len(missing):,} of the {len(wanted):,} expected ones "
            "are missing, see below."
        )
    return Report(
        facts=_facts(lines),
        reading=_READING,
        tables=tuple(make_tables(lines, baseline)),
        notes=tuple(notes),
        missing=tuple(_missing(missing)),
    )


def write_report(report: Report, folder: PathLike) -> tuple[Path, Path]:
    """Write `report.md`, `report.html`, and beside them the figures of the Markdown as SVG.

    The HTML holds its figures itself and needs no network. Files that are there are replaced.

    Args:
        report: From `make_report`.
        folder: Made if it is missing.

    Returns:
        The paths of the Markdown and of the HTML.

    Raises:
        ImportError: If matplotlib is missing.
    """
    folder = Path(folder)
    labels = dict.fromkeys(row.label for table in report.tables for row in table.curves)
    style = styles(list(labels))
    names = file_names(report.tables)
    sections = []
    for table, name in zip(report.tables, names, strict=True):
        found = {f"{name}-{kind}.svg": to_svg(f) for kind, f in draw(table, style).items()}
        sections.append(Section(table, tuple(sentences(table)), found))
    for section in sections:
        for name, svg in section.figures.items():
            _write(folder / name, svg)
    parts = (report.facts, report.reading, report.notes, report.missing, sections)
    _write(folder / "report.md", markdown_page(*parts))
    _write(folder / "report.html", html_page(*parts))
    return folder / "report.md", folder / "report.html"


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")


def _facts(lines: Sequence[Line]) -> dict[str, str]:
    """What was run, in words."""
    queries = {line["test"]: len(line["scores"]) for line in lines}
    versions: dict[str, set[str]] = {}
    for line in lines:
        for name, version in (line.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(version))
    facts = {
        "Experiments": _distinct(lines, "experiment"),
        "Encoders": _distinct(lines, "encoder"),
        "Trained on": _distinct(lines, "train"),
        "Tests": ", ".join(f"{test} ({n} queries)" for test, n in sorted(queries.items())),
        "Measures": _distinct(lines, "measure"),
        "Methods": _distinct(lines, "method", separator="; "),
        "Seeds": ranges({line["seed"] for line in lines}),
        "Versions": ", ".join(
            f"{name} {' and '.join(sorted(found))}" for name, found in sorted(versions.items())
        ),
        "Results": f"{len({key_of(line) for line in lines}):,}",
    }
    return {name: text for name, text in facts.items() if text}


def _distinct(lines: Sequence[Line], name: str, separator: str = ", ") -> str:
    return separator.join(dict.fromkeys(str(line[name]) for line in lines if line.get(name)))


def ranges(seeds: Iterable[int]) -> str:
    """Whole numbers in words: 0, 1, 2, 5 as "0 to 2, 5"."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    words = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs]
    return ", ".join(words)


def _missing(keys: Sequence[Key]) -> list[str]:
    """The missing keys, those that differ in seed, fraction, epoch and test together."""
    groups: dict[tuple[Any, ...], list[Key]] = {}
    for key in keys:
        experiment, encoder, _, trained, method, _, size, bits, *_ = key
        groups.setdefault((experiment, encoder, method, trained, size, bits), []).append(key)
    found = []
    for (experiment, encoder, method, trained, size, bits), members in groups.items():
        seeds = ranges({key[8] for key in members})
        tests = ", ".join(sorted({key[11] for key in members}))
        bit = "" if bits is None else f", {bits} bit"
        what = "results" if len(members) > 1 else "result"
        seed = "seed" if len({key[8] for key in members}) == 1 else "seeds"
        found.append(
            f"{experiment}, {encoder}: {method} at {size} numbers{bit}, "
            f"{TRAINED.get(trained, trained)}: {len(members)} {what} ({seed} {seeds}; {tests})"
        )
    return found
