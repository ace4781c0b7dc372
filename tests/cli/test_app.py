"""What holds for every command: help, exit codes, errors, and the script itself."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from mpsheads.cli.app import app

COMMANDS = [
    "demo", "index", "search", "encode", "mine", "train", "evaluate", "info", "models",
    "reproduce", "frontier",
]  # fmt: skip
HEAVY = {"torch", "numpy", "scipy", "transformers", "pandas", "matplotlib"}
EVERYWHERE = {"--device", "--seed", "--json"}
DATA = {"--dataset", "--split", "--pool", "--encoder", "--query-vectors", "--document-vectors"}


def script(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from mpsheads.cli import main; main()", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_can_be_parsed(command, name):
    ran = command(name, "--help")
    assert ran.code == 0
    assert re.search(r"Examples?\b", ran.out)
    made = get_command(app).commands[name]
    examples = re.findall(r"\[cyan\]mpsheads (\w+) (.*?)\[/cyan\]", made.help, re.DOTALL)
    assert examples
    for called, arguments in examples:
        assert called == name
        made.make_context(name, shlex.split(arguments))


def test_flags_are_the_same_everywhere():
    commands = get_command(app).commands
    assert list(commands) == COMMANDS
    texts = {}
    own = {"reproduce": ["--encoder"], "frontier": ["--dataset"]}
    for name, made in commands.items():
        flags = {option.opts[0]: option for option in made.params}
        wanted = EVERYWHERE | (set() if name == "demo" else DATA)
        wanted |= set() if name in ("demo", "info", "mine") else {"--head"}
        wanted -= {"--seed"} if name == "mine" else set()
        if name == "info":
            wanted = {"--dataset", "--document-vectors", "--encoder", "--device", "--json"}
        if name in ("index", "search"):  # passages, without queries and judgments
            wanted = {"--json"}
        if name == "models":  # no texts, no head, nothing drawn by chance
            wanted = {"--json"}
        if name in ("reproduce", "frontier"):  # several collections, encoders, heads and seeds
            wanted = {"--encoder", "--device", "--json", "--seeds"}
        assert wanted <= set(flags)
        for flag in EVERYWHERE | DATA:
            if flag in flags and flag not in own.get(name, []):
                texts.setdefault(flag, set()).add(flags[flag].help)
    assert all(len(found) == 1 for found in texts.values())


def test_no_command_shows_the_help(command):
    ran = command()
    assert ran.code == 0
    assert all(name in ran.out for name in COMMANDS)


def test_an_unknown_command_is_one_line_that_names_the_near_one(fails):
    assert "No such command 'evalute'. Did you mean 'evaluate'?" in fails("evalute")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evalute"]])
def test_help_and_usage_import_nothing_heavy(arguments):
    code = f"""
import atexit, sys
atexit.register(lambda: print("LOADED", *sys.modules))
sys.argv = ["mpsheads", *{arguments}]
from mpsheads.cli import main
main()"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = set(ran.stdout.split("LOADED")[1].split())
    assert "mpsheads.cli.train" in loaded
    assert sorted(HEAVY & loaded) == []


def test_the_package_runs_as_a_module():
    line = [sys.executable, "-m", "mpsheads.cli", "--help"]
    assert "frontier" in subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_what_the_help_says_of_other_rooms_is_true():
    from mpsheads.experiments import FRONTIER_METHODS, experiment_names
    from mpsheads.heads import HEADS
    from mpsheads.training import TrainingConfig

    commands = get_command(app).commands
    options = {(n, o.name): o for n, made in commands.items() for o in made.params}
    for name in ("epochs", "batch_size", "loss", "hard_negatives"):
        assert options["train", name].default == getattr(TrainingConfig(), name)
    for name in experiment_names():
        assert name in options["reproduce", "name"].help
    for name in FRONTIER_METHODS:
        assert name in options["frontier", "method"].help or name == "uncompressed"
    for name in HEADS:
        assert name in options["evaluate", "head"].help


@pytest.mark.slow
def test_the_script_fails_with_one_line_and_code_2(tmp_path):
    ran = script("evaluate", "--dataset", "./nosuch")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "Error: `--dataset` './nosuch' is not a folder.\n"


def test_debug_shows_the_traceback(tmp_path):
    ran = script("evaluate", "--dataset", "./nosuch", "--debug")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "FileNotFoundError" in ran.stderr


def test_a_missing_package_is_one_line_that_says_how_to_install_it(tmp_path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No typer', name='typer')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = script("info", PYTHONPATH=paths)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert 'pip install "mpsheads[retrieval]"' in ran.stderr
