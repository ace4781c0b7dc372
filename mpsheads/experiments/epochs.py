"""The epochs of a training that may be stopped and go on: their number, and what they measured."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from mpsheads._files import replacing
from mpsheads.experiments.results import Line
from mpsheads.training.checkpoint import CHECKPOINT, read_checkpoint

_FILE = "scored.json"


class Epochs:
    """What is done of a training, also before this process began.

    Args:
        folder: Where its checkpoint lies, if there is one.
        scored: Whether each epoch is measured. What was measured lies beside the checkpoint; if
            that of an epoch is lost, the training begins anew.

    Attributes:
        done: How many epochs.
        lines: Results of these.

    Raises:
        ValueError: If the checkpoint is broken.
    """

    def __init__(self, folder: Path, *, scored: bool) -> None:
        self._file, self.done, self.lines = folder / _FILE, 0, list[Line]()
        if not (folder / CHECKPOINT).exists():
            return
        done = len(read_checkpoint(folder)["history"])
        lines = json.loads(self._file.read_text("utf-8")) if self._file.exists() else []
        if scored and not set(range(1, done + 1)) <= {line["epoch"] for line in lines}:
            shutil.rmtree(folder)
            return
        self.done = done
        self.lines = [line for line in lines if line["epoch"] <= done]

    def begin(self) -> int:
        """Count one more, and return its number."""
        self.done += 1
        return self.done

    def add(self, lines: Iterable[Line]) -> None:
        """Keep results of the epoch that was counted last, before its checkpoint is written."""
        self.lines.extend(lines)
        with replacing(self._file) as file:
            file.write_text(json.dumps(self.lines), encoding="utf-8")
