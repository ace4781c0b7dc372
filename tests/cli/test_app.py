"""What holds for every command: help, exit codes, errors, and the script itself."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from mpsheads.cli import main
from mpsheads.cli.app import _with_values, app

COMMANDS = [
    "demo", "index", "search", "serve", "encode", "mine", "train", "evaluate", "info", "models",
    "reproduce", "frontier",
]  # fmt: skip
HEAVY = {"torch", "numpy", "scipy", "transformers", "pandas", "matplotlib"}
EVERYWHERE = {"--device", "--seed", "--json"}
DATA = {"--dataset", "--encoder", "--query-vectors", "--document-vectors"}


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
        if name == "serve":
            wanted = {"--port", "--host", "--token"}
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


def test_help_and_usage_import_nothing_heavy_and_the_package_runs_as_a_module():
    code = """
import contextlib, runpy, sys
for arguments in (["evalute"], ["train", "--help"], ["--help"]):
    sys.argv = ["mpsheads", *arguments]
    with contextlib.suppress(SystemExit):
        runpy.run_module("mpsheads.cli", run_name="__main__")
print("LOADED", *sys.modules)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, loaded = ran.stdout.split("LOADED")
    assert "frontier" in shown
    assert "mpsheads.cli.train" in loaded.split()
    assert sorted(HEAVY & set(loaded.split())) == []


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


def test_the_script_fails_with_one_line_and_code_2_and_debug_lets_the_error_out(
    monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["mpsheads", "evaluate", "--dataset", "./nosuch"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr() == ("", "Error: `--dataset` './nosuch' is not a folder.\n")
    sys.argv.append("--debug")
    with pytest.raises(FileNotFoundError):
        main()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(tmp_path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No typer', name='typer')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-m", "mpsheads.cli", "info"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert 'pip install "mpsheads[retrieval]"' in ran.stderr


def test_ray_may_stand_alone():
    seen = []
    for given in ("a --ray", "a --ray --json", "a --ray host:1", "--ray=x"):
        seen.append(" ".join(_with_values(given.split())))
    assert seen == ["a --ray=auto", "a --ray=auto --json", "a --ray host:1", "--ray=x"]


@pytest.mark.slow
def test_a_missing_package_is_not_taken_for_an_option(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "my.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    ran = command("encode", tmp_path / "my.jsonl", "--output", tmp_path / "out", "--ray", "local")
    assert ran.code == 2
    assert "This needs the package `ray`. Install it with" in ran.err
