"""The page on depth, bond dimension and bits: its code and commands run, its numbers are those."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from typer.testing import CliRunner

from mpsheads import MPSProjectionHead
from mpsheads.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "choose-depth-bond-bits.md").read_text()


def scores(name):
    """(method, numbers, bits) -> mean nDCG@10 of both years, over queries and seeds."""
    found = {}
    for line in map(json.loads, (ROOT / "docs" / "results" / name).read_text().splitlines()):
        if line["test"].startswith("trec-dl-mini"):
            tests = found.setdefault((line["method"], line["size"], line["bits"]), {})
            tests.setdefault(line["test"], []).append(fmean(line["scores"].values()))
    return {key: fmean(map(fmean, tests.values())) for key, tests in found.items()}


FRONTIER, RESEARCH = scores("frontier.jsonl"), scores("research.jsonl")


def kept(*key, among=FRONTIER):
    return f"{100 * among[key] / among['uncompressed', 384, 32]:.1f}%"


def test_the_example_runs():
    example = ROOT / "examples" / "choose_bits.py"
    ran = subprocess.run([sys.executable, example], capture_output=True, text=True, check=True)
    same = [int(part) for part in re.findall(r"(\d+)% of the ten", ran.stdout)]
    assert len(same) == 4
    assert same == sorted(same, reverse=True)
    assert same[0] > 95
    assert "blocks      128 of 3 features" in ran.stdout


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    script = str(ROOT / "examples" / "docstrings.py")
    subprocess.run([sys.executable, script, "docstrings", "110", "torch", "numpy"], check=True)
    block = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0]
    for line in block.splitlines():
        command = shlex.split(line)[1:]
        if command[0] == "train":
            command[command.index("--epochs") + 1] = "1"
            command += ["--batch-size", "16"]
        ran = CliRunner().invoke(app, command)
        assert ran.exit_code == 0, ran.output
    assert "shallow" in ran.stdout
    assert "deeper" in ran.stdout


def test_the_widths_are_those_of_the_results():
    for size, features in ((192, 2), (128, 3), (64, 6)):
        assert f"| {size} | {features} | {size} | {kept('mps', size, 8)} |" in PAGE


def test_the_depths_are_those_of_the_results_and_of_the_heads():
    for size in (128, 64):
        for depth in (1, 2, 4):
            head = MPSProjectionHead(384, size, depth=depth)
            method = ("mps" if depth == 1 else f"mps, depth {depth}", size, 32)
            last = kept(*method, among=RESEARCH) if method in RESEARCH else "not measured"
            row = f"| `{size}, depth={depth}` | {384 // size} | {max(head.needed_bonds)} | "
            assert row + f"{head.num_parameters:,} | {last} |" in PAGE
            assert head.truncates == ((size, depth) == (64, 4))


def test_the_choices_are_those_of_the_results():
    assert f"| 64 | {kept('mps', 128, 4)} |" in PAGE
    assert f"| 128 | {kept('mps', 128, 8)} |" in PAGE
    assert f"| 128 | {kept('mps, untrained', 128, 8)} |" in PAGE
    assert f"| 64 | {kept('pq', 64, 8)} |" in PAGE
    assert f"| 32 | {kept('mps', 128, 2)} |" in PAGE
    assert f"| 16 | {kept('mps', 64, 2)} |" in PAGE
    others = [kept("pca", 128, 2), kept("dense", 128, 2)]
    assert "in 2 bits keeps {}, `DenseHead` {}".format(*others) in PAGE


def test_what_fit_is_worth_is_that_of_the_results():
    labels = ("mps", "mps, not fitted", "mps, no mixing")
    fitted, plain, none = (kept(label, 64, 32, among=RESEARCH) for label in labels)
    assert f"{fitted} in place of {plain} without `fit`" in PAGE
    assert f"384 angles with them: {none}." in PAGE
