"""Writers and locks: what a kill leaves, what full disks say, and who is told of whom."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpsheads._files import locked, replacing, replacing_all, write_array


def test_several_files_replace_the_old_ones_and_no_mixture_can_be_read(tmp_path, monkeypatch):
    def write(content: str) -> None:
        with replacing_all(tmp_path) as folder:
            assert folder.parent == tmp_path  # which may be a disk of its own
            for name in ("config.json", "weights"):
                (folder / name).write_text(content)

    def content() -> dict[str, str]:
        return {f.name: f.read_text() for f in tmp_path.iterdir() if f.is_file()}

    write("old")
    whole, rename, seen = content(), Path.replace, []

    def rename_or_stop(file: Path, target: Path) -> Path:
        seen.append(content())
        if stop_at and len(seen) == stop_at:
            raise KeyboardInterrupt
        return rename(file, target)

    monkeypatch.setattr(Path, "replace", rename_or_stop)
    for stop in (1, 2):
        stop_at = stop
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            write("new")
        assert all("config.json" not in state for state in seen)
        assert [f for f in tmp_path.iterdir() if f.is_dir()] == []
    stop_at = 0
    write("new")
    assert content() == dict.fromkeys(whole, "new")


@pytest.mark.parametrize("replace", [replacing, replacing_all])
def test_the_next_writer_removes_what_dead_processes_left(tmp_path: Path, replace) -> None:
    file = tmp_path / "x"
    with replace(file) as temporary:
        name, parent = temporary.name, temporary.parent
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    start, other = name.split(str(os.getpid()))
    left = [f"{start}{dead}{other}", f"{start}1{other}", f".x.0{start[-9:]}{dead}{other}"]
    for each in left:
        (parent / each).write_text("half")
    with replace(file):
        pass
    assert [each for each in left if (parent / each).exists()] == left[1:]  # not those of others


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_link_or_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with replacing(tmp_path / "link") as file:
        file.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "x"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with replacing(tmp_path / "pipe") as file:
        file.write_text("x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.uint8)])
def test_an_array_is_written_as_numpy_writes_it(tmp_path: Path, array: np.ndarray) -> None:
    write_array(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


HOLD = """
import sys
from mpsheads._files import locked
with locked(sys.argv[1]), locked(sys.argv[2], is_file=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_lock_names_its_process_and_ends_with_it(tmp_path: Path) -> None:
    places = [(tmp_path / "folder", False), (tmp_path / "file", True)]
    command = [sys.executable, "-c", HOLD, *(str(place) for place, _ in places)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:  # pyright: ignore
        assert holder.stdout.readline() == "held\n"  # pyright: ignore
        for place, is_file in places:
            words = f"Process {holder.pid} on {platform.node()} is writing to {place}"
            with pytest.raises(BlockingIOError, match=words), locked(place, is_file=is_file):
                pass
        holder.kill()
    for place, is_file in places:
        with locked(place, is_file=is_file):
            pass
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
