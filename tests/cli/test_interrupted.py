"""Ctrl-C ends a command quietly, whatever it does; of two writers the second is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpsheads._files import locked
from tests.cli.test_full_disk import commands, own, texts  # noqa: F401  # fixtures

pytestmark = pytest.mark.slow
START = "from mpsheads.cli import main; print('ready', flush=True); main()"


def started(*arguments: object) -> subprocess.Popen[str]:
    """A command in its own process, which has begun."""
    line = [sys.executable, "-c", START, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, env=environment, **pipes)  # pyright: ignore
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_an_interrupted_command_ends_quietly_with_code_130(commands):  # noqa: F811
    arguments, output = commands["index"]
    codes = []
    for delay in (0, 0.3, 0.8, 1.5, 2.5):
        process = started(*arguments, "--output", output)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        codes.append(process.returncode)
        assert err.count("\n") <= 1, err
        assert "Trace" not in err, err
        assert not [file for file in Path().rglob(".*.tmp") if file.is_file()]
    assert {*codes} <= {130, 0}
    assert codes.count(130) > 1


LOCKED = ("encode a file", "encode", "index", "train", "mine", "reproduce", "frontier")


@pytest.mark.parametrize("name", LOCKED)
def test_the_second_of_two_writers_is_told_in_one_line(fails, command, commands, name):  # noqa: F811
    arguments, output = commands[name]
    place = {"index": "out/passages", "reproduce": "out/results.jsonl"}.get(name, output)
    place = "out/results.jsonl" if name == "frontier" else place
    with locked(place, is_file=bool(Path(place).suffix)):
        message = fails(*arguments, "--output", output)
        assert f"Process {os.getpid()} on " in message
        assert f" is writing to {place}" in message
    assert not [file for file in Path("out").rglob("*") if file.is_file()]  # nothing was begun
    assert command(*arguments, "--output", output).code == 0
