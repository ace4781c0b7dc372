"""The page on the figures: its commands run on the real encoder, its figures are small."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from mpsheads.cli.app import app
from mpsheads.plotting import __all__ as FIGURES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "read-the-plots.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
SHOWN = re.findall(r"!\[[^\]]*\]\(\.\./(figures/[^)]+)\)", PAGE)


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_commands_of_the_page_run(empty):
    assert [line.split()[1] for line in LINES] == [
        "examples/docstrings.py",
        "train",
        "info",
        "plot",
        "compare",
    ]
    script = shlex.split(LINES[0])[1:]
    arguments = [str(ROOT / script[0]), *script[1:], "110", "torch", "numpy"]
    subprocess.run([sys.executable, *arguments], check=True, env={**os.environ})
    printed = {}
    for line in LINES[1:]:
        command = shlex.split(line)[1:]
        if command[0] == "train":
            command[command.index("--epochs") + 1] = "1"
            command += ["--batch-size", "16"]
        if command[0] == "compare":  # too few documents for 128 axes
            command[command.index("pca:128")] = "pca:64"
        ran = CliRunner().invoke(app, command)
        assert ran.exit_code == 0, ran.stderr
        printed[command[0]] = ran.stdout
    assert "384 -> 128" in printed["info"]
    assert "mps, 4 bits" in printed["plot"]
    drawn = {file.stem for file in (empty / "figures").glob("*.png")}
    shown = {Path(path).stem.removeprefix("head-") for path in SHOWN}
    assert drawn == shown
    assert (empty / "figures" / "numbers.json").is_file()


def test_the_example_draws_its_files(empty):
    example = ROOT / "examples" / "plot_a_head.py"
    subprocess.run([sys.executable, str(example)], check=True)
    written = {file.name for file in empty.iterdir()}
    assert written == {"entanglement.pdf", "angles.pdf", "mine.pdf"}
    used = set(re.findall(r"\w+_on|entanglement_entropy|angle_histogram", example.read_text()))
    assert used <= set(FIGURES)


@pytest.mark.parametrize("path", SHOWN)
def test_the_figures_of_the_page_are_small_and_readable(path):
    file = ROOT / "docs" / path
    assert file.stat().st_size < 100_000
    assert imread(file).shape[1] >= 1000
