"""Reading lines of plain or gzipped text with errors that name the place; writing atomically."""

import csv
import errno
import glob
import gzip
import hashlib
import io
import json
import os
import platform
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

import numpy as np

from mpsheads._checks import check_id, check_type
from mpsheads._typing import PathLike

LONGEST_LINE = 1 << 26
"""Bytes of a line, unpacked: what is in memory at a time."""
_LARGEST_JSON = 1 << 26
_MOST_UNPACKED = 200  # times the size of a packed file, past `LONGEST_LINE`
_OF_WRITING = ("(os error ", "inline_container")  # errors of safetensors, and of torch.save


def as_path(path: PathLike) -> Path:
    """A path as a user writes it, with `~` for the home folder, or `TypeError` or `ValueError`."""
    check_type("path", path, (str, os.PathLike), "a path")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


def byte_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line of a file, one in memory at a time. Errors name it.

    One longer than `LONGEST_LINE`, or a file that unpacks to 200 times its size, is an error.
    """
    with open_bytes(file) as stream:
        left = max(LONGEST_LINE, _MOST_UNPACKED * file.stat().st_size)
        read = lambda: stream.readline(LONGEST_LINE + 1)  # noqa: E731
        for number, raw in enumerate(iter(read, b""), start=1):
            if len(raw) > LONGEST_LINE:
                raise ValueError(f"{file}, line {number}: longer than {LONGEST_LINE:,} bytes.")
            left -= len(raw)
            if left < 0:
                times = f"{_MOST_UNPACKED} times its size"
                raise ValueError(f"{file}, line {number}: it unpacks to more than {times}.")
            yield number, raw


def raw_lines(file: Path) -> Iterator[tuple[int, str]]:
    """`byte_lines` of a UTF-8 file as text; one that is not UTF-8 raises `ValueError`, too."""
    for number, raw in byte_lines(file):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}, line {number}: not UTF-8 ({error.reason}).") from error


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Place, such as `qrels/test.tsv, line 3`, and text of each line that is not blank."""
    empty = True
    for number, line in raw_lines(file):
        if line.strip():
            empty = False
            yield f"{file}, line {number}", line.rstrip("\r\n")
    if empty:
        raise ValueError(f"{file} is empty.")


def read_json(file: Path) -> Any:
    """What a JSON file of at most 64 MiB says; one that is none raises `ValueError`."""
    if file.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{file} is larger than {_LARGEST_JSON:,} bytes.")
    return parse_json(file.read_bytes(), str(file))


def parse_json(text: str | bytes, place: str) -> Any:
    """The value of a JSON text; one that is none raises `ValueError` with the place."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{place}: the JSON is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{place}: not JSON: {error}".removesuffix(".") + ".") from error


@contextmanager
def open_bytes(file: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Open a file to read, unpacked if its name ends in `.gz`; a broken one raises `ValueError`."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{file} is not a complete gzip file: {str(error).rstrip('.')}. Fetch or pack it again."
        ) from error


def map_array(file: Path, mode: Literal["r", "c"] = "r") -> np.ndarray:
    """The array of a .npy file by memory map; `ValueError` unless it is as large as it says."""
    try:
        return np.lib.format.open_memmap(file, mode=mode)
    except Exception as error:  # of Python's parser and of its own, which reads the header
        reason = str(error)[:200]
        raise ValueError(f"{file} is not a complete .npy file of numbers: {reason}") from error


def read_table(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the fields of each line of a tab-separated file, as `read_lines` does.

    A first line with the names of the columns is passed over. A field in quotes is read as the
    `csv` of Python writes it; white space counts. All fields are ids.
    """
    empty = True
    for number, (place, line) in enumerate(read_lines(file)):
        try:
            quoted = '"' in line
            fields = (
                next(csv.reader([line], "excel-tab", strict=True)) if quoted else line.split("\t")
            )
        except csv.Error as error:
            raise ValueError(f"{place}: {error}, in {line[:80]!r}.") from error
        if number == 0 and tuple(field.strip().lower() for field in fields) == columns:
            continue
        if len(fields) != len(columns):
            raise ValueError(
                f"{place}: must have {len(columns)} tab-separated fields ({', '.join(columns)}), "
                f"got {line[:80]!r}."
            )
        for name, field in zip(columns, fields, strict=True):
            check_id(place, name, field)
        empty = False
        yield place, fields
    if empty:
        raise ValueError(f"{file} holds no line below its header.")


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to `path` when the block ends without an error.

    So a reader sees the old file or the whole new one, and several writers do no harm. The file
    gets the user's usual permissions. An `OSError`, as on a full disk, names `path`. What is no
    file, such as `/dev/null` or a pipe, is written to and never replaced; a link stays one.
    """
    path = as_path(path)
    with naming(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
            return
        path = path.resolve() if path.is_symlink() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_all(folder: PathLike) -> Iterator[Path]:
    """Give a temporary folder in `folder`, whose files replace those there when the block ends.

    An old `config.json` goes first and the new one comes last, so that no reader takes a mixture: a
    kill before the renaming leaves the old files, one within it a folder that is refused.
    """
    folder = as_path(folder)
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(folder / "files")
        temporary.mkdir()
        try:
            yield temporary
            (folder / "config.json").unlink(missing_ok=True)
            for file in sorted(temporary.iterdir(), key=lambda file: file.name == "config.json"):
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A new name beside `path`; what dead processes left there under such names is removed."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    start = f".{path.name}.{host}-"
    for stale in path.parent.glob(f"{glob.escape(start)}*.tmp"):
        process = stale.name.removeprefix(start).split("-")[0]
        if process.isdecimal() and _is_dead(int(process)):
            discard(stale)
    return path.with_name(f"{start}{os.getpid()}-{secrets.token_hex(4)}.tmp")


def discard(path: Path) -> None:
    """Remove a file or a folder that a dead process left, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


def _is_dead(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the path in errors of writing, which libraries raise without it and in many kinds."""
    try:
        yield
    except Exception as error:
        reason, is_ours = str(error), isinstance(error, OSError) and not error.filename
        if not is_ours and not any(sign in reason for sign in _OF_WRITING):
            raise
        number = getattr(error, "errno", None) or errno.EIO
        words = getattr(error, "strerror", None) or f"Writing failed, as on a full disk: {reason}"
        raise OSError(number, words, str(path)) from error


@contextmanager
def replacing_text(path: PathLike) -> Iterator[TextIO]:
    """`replacing`, for UTF-8 text that is written to a stream; gzipped if `path` ends in `.gz`.

    Equal texts give equal bytes: the packed file holds no time and no name.
    """
    with replacing(path) as file, file.open("wb") as raw:
        gz = str(path).endswith(".gz")
        packer = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if gz else raw
        with packer, io.TextIOWrapper(packer, "utf-8", newline="\n") as stream:
            yield stream


def write_array(file: Path, array: Any) -> None:
    """Write an array as `np.save` does, which on a full disk may lose the end in silence."""
    from numpy.lib import format as npy

    with file.open("wb") as stream:
        npy.write_array_header_1_0(stream, npy.header_data_from_array_1_0(array))
        stream.write(array.data)


@contextmanager
def locked(path: PathLike, *, is_file: bool = False) -> Iterator[None]:
    """Hold a folder, or a file, against other writers while the block runs; readers never wait.

    The lock ends with the process, also if it is killed. Others get a `BlockingIOError`.
    """
    import filelock

    path = as_path(path)
    place = path.with_name(f".{path.name}.lock") if is_file else path / ".lock"
    made = [folder for folder in place.parents if not folder.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(place)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        owner = ""
        with suppress(OSError, ValueError):
            owner = place.read_text(encoding="utf-8")
        raise BlockingIOError(
            f"{owner or 'Another process'} is writing to {path}. Wait for it, or take another "
            f"{'file' if is_file else 'folder'}."
        ) from error
    try:
        with suppress(OSError):  # a full disk may lock, too
            place.write_text(f"Process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # where a held file cannot be removed
            place.unlink()
        lock.release()
        with suppress(OSError):  # something was written
            for folder in made:
                folder.rmdir()
