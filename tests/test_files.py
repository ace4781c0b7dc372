"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from mpsheads._files import read_lines, replacing


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.txt"
    with replacing(file) as temporary:
        temporary.write_text("old")
    with replacing(file) as temporary:
        temporary.write_text("half")
        assert file.read_text() == "old"
        temporary.write_text("new")
        inode = temporary.stat().st_ino
    assert file.read_text() == "new"
    assert file.stat().st_ino == inode  # renamed, not copied


def write_number(file: Path) -> None:
    """Write half of something, and fail."""
    with file.open("w") as stream:
        stream.write("half")
        stream.write(3)  # pyright: ignore[reportArgumentType]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")
    with pytest.raises(TypeError, match="must be str"), replacing(file) as temporary:
        write_number(temporary)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"x.txt": "old"}


def test_a_file_gets_the_usual_permissions_whoever_writes_it(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
        temporary.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_lines_carry_their_place_and_blank_ones_still_count(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("a\n\n b \n")
    assert list(read_lines(file)) == [(f"{file}, line 1", "a"), (f"{file}, line 3", " b ")]
