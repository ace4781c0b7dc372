"""Result lines: one JSON object a line, written as the runs end, read back after a killed one."""

import gzip
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsheads._typing import PathLike

FORMAT_VERSION = 1
_NEEDED = ("experiment", "encoder", "method", "size", "seed", "test", "measure", "scores")
_KEY = ("experiment", "encoder", "train", "trained", "method", "settings", "size", "bits", "seed")
_KEY += ("fraction", "epoch", "test", "measure")

Line = dict[str, Any]
Key = tuple[Any, ...]


def read_results(file: PathLike) -> list[Line]:
    """Read the result lines of a file, in its order.

    A last line that a killed run cut is left out; `append_result` removes it.

    Args:
        file: A JSONL file that `append_result` wrote, or such a file after gzip (.gz).

    Returns:
        One dictionary a line; none if the file is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is broken, lacks a field, holds a score that is no finite number, or
            was written in another format; the message names the line.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no file of results {str(file)!r}.")
    content = file.read_bytes()
    *whole, last = (gzip.decompress(content) if file.suffix == ".gz" else content).split(b"\n")
    rows = [*whole, last] if _is_whole(last) else whole
    return [
        _parse(raw, f"{file}, line {number}")
        for number, raw in enumerate(rows, start=1)
        if raw.strip()
    ]


def append_result(file: PathLike, line: Mapping[str, Any]) -> None:
    """Add one result to the end of a file, safe on the disk when this returns.

    If a killed run cut the file's last line, that piece is removed first; a last line that lacks
    its line break alone is kept.

    Args:
        file: Made, with its folder, if it is missing.
        line: The result. `"format_version"` may be missing.

    Raises:
        ValueError: If the line lacks a field, holds a score that is no finite number, or another
            format version. Nothing is written then.
    """
    file = Path(file)
    line = {"format_version": FORMAT_VERSION, **line}
    _check(line, "`line`")
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError("`line` holds a number that is not finite.") from error
    file.parent.mkdir(parents=True, exist_ok=True)
    _mend(file)
    with file.open("ab") as stream:
        stream.write(text.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def key_of(line: Mapping[str, Any]) -> Key:
    """What tells a result from all others: two lines with one key are the same run, measured twice.

    Args:
        line: A result line. Fields that it lacks count as `None`, missing settings as none.

    Returns:
        (experiment, encoder, train, trained, method, settings as JSON with sorted keys, size,
        bits, seed, fraction, epoch, test, measure).
    """
    values = {name: line.get(name) for name in _KEY}
    values["settings"] = json.dumps(values["settings"] or {}, sort_keys=True)
    return tuple(values.values())


def _mend(file: Path) -> None:
    """End the last line of a file with a line break, or remove it if it was cut."""
    if not file.exists():
        return
    with file.open("r+b") as stream:
        content = stream.read()
        start = content.rfind(b"\n") + 1
        if _is_whole(content[start:]):
            stream.write(b"\n")
        else:
            stream.truncate(start)


def _is_whole(raw: bytes) -> bool:
    """Whether the bytes after the last line break are a JSON object: no piece is missing."""
    try:
        return isinstance(json.loads(raw), dict)
    except ValueError:
        return False


def _parse(raw: bytes, place: str) -> Line:
    if not _is_whole(raw):
        raise ValueError(
            f"{place}: not a JSON object. Only the last line of a killed run may be cut; remove "
            "this line, and the run that wrote it is done again."
        )
    line = json.loads(raw)
    _check(line, place)
    return line


def _check(line: Line, place: str) -> None:
    version = line.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{place}: was written by another version; its format_version is {version!r}, and this "
            f"mpsheads reads {FORMAT_VERSION}. Start a new file, or read this one with the "
            "mpsheads that wrote it."
        )
    missing = [name for name in _NEEDED if name not in line]
    if missing:
        raise ValueError(f"{place}: a result must hold {', '.join(missing)}.")
    scores = line["scores"]
    if not isinstance(scores, dict) or not scores:
        raise ValueError(f"{place}: `scores` must hold a number for each query.")
    for query_id, score in scores.items():
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(f"{place}: the score of query {query_id!r} is {score!r}, no number.")
