"""What the commands print: tables on a terminal, JSON on request."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mpsheads._optional import optional_import

_WIDTH = 110  # of a page that is not a terminal
_NAME = 12  # columns that the first of a table has at least, if its texts need them


def console(*, stderr: bool = False) -> Any:
    """Where tables go: stdout, as wide as the terminal or `COLUMNS`, or 110 in a file or a pipe."""
    rich = optional_import("rich.console", "retrieval")
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    plain = {"highlight": False, "markup": False, "emoji": False}  # for ids as [old] and :book:
    return rich.Console(width=width, stderr=stderr, **plain)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout."""
    sys.stdout.write(to_json(value))


def to_json(value: Mapping[str, Any]) -> str:
    """One JSON object, as `--json` and the files of results have it."""
    return json.dumps(value, indent=2) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Any:
    """A table whose first `left` columns are text and whose others are numbers.

    A row whose first cell is empty draws a line instead.
    """
    rich = optional_import("rich.table", "retrieval")
    boxes = optional_import("rich.box", "retrieval")
    made = rich.Table(box=boxes.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    longest = max((len(row[0]) for row in rows if row), default=0)
    for place, name in enumerate(columns):
        made.add_column(
            name,
            justify="left" if place < left else "right",
            no_wrap=place >= left,
            overflow="fold",
            min_width=None if place else min(_NAME, longest),
        )
    for row in rows:
        made.add_row(*row) if row and row[0] else made.add_section()
    return made


def with_interval(measure: Mapping[str, Any], separator: str = " ") -> str:
    """A mean with its interval: `0.691 [0.630, 0.749]`."""
    low, high = measure["interval"]
    return f"{measure['mean']:.3f}{separator}[{low:.3f}, {high:.3f}]"


def probability(p: float | None) -> str:
    """A p-value to two digits, or a dash."""
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else f"{math.ceil(p * 1e4) / 1e4:.4f}"
