"""The state of a training run on disk: written after each epoch, read to continue."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mpsheads._files import as_path, replacing
from mpsheads._typing import PathLike

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
FORMAT_VERSION = 2


def check_folder(folder: Path, *, resume: bool) -> None:
    """Raise if `folder` is a file, or holds a run that is not to be continued."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"`output_dir` {str(folder)!r} is a file; it must be a folder.")
    if (folder / CHECKPOINT).exists() and not resume:
        raise ValueError(
            f"`output_dir` {str(folder)!r} holds a run already. Continue it with `resume=True`, "
            f"or give another folder."
        )


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state`, and its `history` as the lines of `metrics.jsonl`; a kill harms neither."""
    with replacing(folder / METRICS) as file:
        file.write_text("".join(json.dumps(line) + "\n" for line in state["history"]))
    with replacing(folder / CHECKPOINT) as file, file.open("wb") as stream:
        torch.save({"format_version": FORMAT_VERSION, **state}, stream)


def read_checkpoint(folder: PathLike) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote. Only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is broken or of another format.
    """
    file = as_path(folder) / CHECKPOINT
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no training run: it has no {CHECKPOINT}.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        version = state["format_version"]
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{file} is not a readable checkpoint. Delete it.") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format_version {version}; this mpsheads reads "
            f"{FORMAT_VERSION}. Start anew in another folder."
        )
    return state


def check_same_run(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ValueError` naming the first setting, or part of model and data, that differs."""
    for part in now:
        for name in {**now[part], **saved[part]}:
            before, after = saved[part].get(name), now[part].get(name)
            if before != after:
                came = "" if part == "data" else f": {before!r} then, {after!r} now"
                raise ValueError(
                    f"`resume`: the run in {folder} began with another {part} `{name}`{came}. "
                    f"Give what it began with, or another `output_dir` for a new run."
                )
