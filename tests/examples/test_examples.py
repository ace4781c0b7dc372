"""Every example answers `--help`; those that take seconds do what they say.

The pages on export and on training run the code of the two others.
"""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run an example in an empty folder with an empty cache; returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))

    def run(name, *arguments):
        script = EXAMPLES[0].parent / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", [file.stem for file in EXAMPLES])
def test_an_example_answers_help(name, run, capsys):
    with pytest.raises(SystemExit) as left:
        run(name, "--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "It needs `pip install" in " ".join(printed.split())


def test_the_quickstart(run):
    assert run("quickstart") == "Cats purr when content.\n"
    assert {file.name for file in Path("my-head").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


def test_a_head_in_a_sentence_transformer(run):
    assert run("sentence_transformer").splitlines() == ["Cats purr when content.", "True"]


def test_a_folder_of_docstrings_is_compressed(run):
    printed = run(
        "docstrings", "docstrings", "--limit", "24", "--package", "pydantic", "--package", "rich"
    )
    assert printed.endswith("docstrings in docstrings\n")
    before, after = run("compress_a_search", "docstrings").splitlines()
    assert re.fullmatch(r"1536 bytes a vector: nDCG@10 [01]\.\d{3}", before)
    assert re.fullmatch(r"512 bytes a vector: nDCG@10 [01]\.\d{3}", after)
    assert (Path("trained-head") / "model.safetensors").is_file()
