"""Result lines: one JSON object a line, written as the runs end, read back after a killed one."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsheads._files import as_path, byte_lines, naming
from mpsheads._typing import PathLike

FORMAT_VERSION = 1
_KEY = ("experiment", "encoder", "train", "trained", "method", "settings", "size", "bits", "seed")
_KEY += ("fraction", "epoch", "test", "measure")
_NEEDED = (*_KEY, "features", "bytes", "parameters", "scores")

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
    file = as_path(file)
    lines = []
    for number, raw in byte_lines(file):
        place, line = f"{file}, line {number}", _parsed(raw)
        if line is not None:
            _check(line, place)
            lines.append(line)
        elif raw.strip() and raw.endswith(b"\n"):
            raise ValueError(
                f"{place}: not a JSON object. Only the last line of a killed run may be cut; "
                "remove this line, and the run that wrote it is done again."
            )
    return lines


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
    file = as_path(file)
    line = {"format_version": FORMAT_VERSION, **line}
    _check(line, "`line`")
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError("`line` holds a number that is not finite.") from error
    with naming(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        _append(file, text)


def key_of(line: Mapping[str, Any]) -> Key:
    """What tells a result from all others: two lines with one key are the same run, measured twice.

    Returns:
        (experiment, encoder, train, trained, method, settings as JSON with sorted keys, size,
        bits, seed, fraction, epoch, test, measure).
    """
    settings = json.dumps(line["settings"], sort_keys=True)
    return tuple(settings if name == "settings" else line[name] for name in _KEY)


def _append(file: Path, text: str) -> None:
    with file.open("a+b") as stream:
        stream.seek(0)
        content = stream.read()
        start = content.rfind(b"\n") + 1
        if _parsed(content[start:]):
            stream.write(b"\n")
        else:
            stream.truncate(start)
        stream.write(text.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _parsed(raw: bytes) -> Line | None:
    """The JSON object in these bytes; `None` if a piece is missing."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


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
