"""Reading lines of plain or gzipped text with errors that name the place; writing atomically."""

import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpsheads._typing import PathLike


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the non-blank lines of a UTF-8 text file, gzipped if its name ends in `.gz`.

    Yields:
        Pairs of a place for error messages, such as `qrels/test.tsv, line 3`, and the line
        without its line break.

    Raises:
        ValueError: If the file is empty, not valid gzip or not UTF-8, when that point is reached.
    """
    number = 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    yield f"{file}, line {number}", line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{file} is not a complete gzip file: {str(error).rstrip('.')}. Fetch or pack it again."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}, line {number}: not UTF-8 text ({error.reason}).") from error
    if number == 0:
        raise ValueError(f"{file} is empty.")


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to `path` when the block ends without an error.

    So a reader sees the old file or the whole new one, and several writers do no harm. The file
    gets the user's usual permissions, also from libraries that write files for the owner alone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
