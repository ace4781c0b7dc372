"""What a run on a card found, written after each step, so that a run cut short still reports."""

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mpsheads._files import replacing_text

Row = Mapping[str, str | int | float | None]


@dataclass
class Report:
    """Tables by their titles, in a folder.

    Attributes:
        folder: Where `report.json` and `report.md` are kept up to date.
        seconds: After so many no new table is begun.
    """

    folder: Path
    seconds: float
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    def table(self, title: str, make: Callable[[], Sequence[Row]], about: str = "") -> None:
        """Make a table and write it down; a failure is written in its place."""
        if self.left <= 0:
            self.tables[title] = {"about": "Left out: no time was left.", "rows": []}
        else:
            print(f"{title} ({self.left:.0f} s left)", flush=True)
            try:
                self.tables[title] = {"about": about, "rows": list(make())}
            except Exception:  # the next table may be well
                self.tables[title] = {"about": f"```\n{traceback.format_exc()}```", "rows": []}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.write()

    def write(self) -> None:
        """Write both files."""
        texts = {"json": json.dumps(self.tables, indent=2) + "\n", "md": self.markdown()}
        for suffix, text in texts.items():
            with replacing_text(self.folder / f"report.{suffix}") as file:
                file.write(text)

    def markdown(self) -> str:
        """All tables."""
        parts = []
        for title, table in self.tables.items():
            parts += [f"## {title}", table["about"]]
            if table["rows"]:
                names = list(dict.fromkeys(name for row in table["rows"] for name in row))
                lines = [names, ["---"] * len(names)]
                lines += [[_shown(row.get(name)) for name in names] for row in table["rows"]]
                parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join(part for part in parts if part) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
