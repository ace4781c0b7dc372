"""A command that is killed at any moment and started again ends as if it had not been.

`MPSHEADS_TEST_MORE=20` makes 200 kills, of which each prints its seed when it fails.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from mpsheads._threads import torch_threads
from tests.cli.test_full_disk import MORE, commands, content, own, texts  # noqa: F401  # fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Forks a process that has imported torch."),
]
ROUNDS, KILLS = MORE, 2  # so many kills on top of each other in a round


def run_and_kill(command, arguments, seconds: float) -> None:
    """Run a command in a copy of this process, which is killed after so many seconds."""
    process = os.fork()
    if not process:
        try:
            command(*arguments)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


@pytest.mark.parametrize("name", ["encode", "index", "train", "reproduce", "frontier"])
def test_kills_at_random_moments_change_nothing(command, commands, name, tmp_path):  # noqa: F811
    arguments, output = commands[name]
    arguments, out = [*arguments, "--output", output], Path("out")
    if name == "encode":
        arguments += ["--rows", 2]  # three shards

    def restart() -> None:
        for folder in (out, tmp_path / "cache"):
            shutil.rmtree(folder, ignore_errors=True)

    with torch_threads(1):
        assert command(*arguments).code == 0
        whole = content(out)
        restart()
        began = time.perf_counter()
        assert command(*arguments).code == 0
        duration = time.perf_counter() - began
        assert content(out) == whole
        for seed in range(ROUNDS):
            restart()
            generator = random.Random(seed)
            for _ in range(KILLS):
                run_and_kill(command, arguments, generator.uniform(0, duration))
            ran = command(*arguments)
            assert ran.code == 0, (seed, ran.err)
            assert content(out) == whole, seed
            assert not [file for file in Path().rglob(".*.tmp") if file.exists()], seed
