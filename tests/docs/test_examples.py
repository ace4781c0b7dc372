"""The code that README and docs show runs, and does what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def run_code(tmp_path):
    """Run source code in an empty folder with an empty cache; returns what it prints."""

    def run(source: str) -> str:
        script = tmp_path / "example.py"
        script.write_text(source)
        result = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env={**os.environ, "MPSHEADS_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_the_quickstart_finds_the_right_document_and_saves_its_head(run_code, tmp_path):
    printed = run_code((EXAMPLES / "quickstart.py").read_text())
    assert printed == "Cats purr when they are content.\n"
    assert {file.name for file in (tmp_path / "my-head").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


def test_the_training_example_trains_and_measures_a_head(run_code, tmp_path):
    source = (EXAMPLES / "train.py").read_text()
    assert "limit=600" in source
    printed = run_code(source.replace("limit=600", "limit=110"))
    found = re.fullmatch(r"\{'nDCG@10': (0\.\d+)\}\n", printed)
    assert found
    assert float(found[1]) > 0.5
    assert (tmp_path / "trained-head" / "model.safetensors").is_file()


def test_the_example_of_export_agrees_in_every_runtime(run_code, tmp_path):
    pytest.importorskip("onnxruntime")
    printed = run_code((EXAMPLES / "export.py").read_text())
    difference = float(re.search(r"ONNX differs by (\S+)", printed)[1])
    assert difference < 1e-5
    assert printed.endswith("codes agree\n")
    assert {"head.onnx", "head.pt2"} <= {file.name for file in tmp_path.iterdir()}


def test_an_encoder_and_its_head_are_one_onnx_file(run_code, tmp_path):
    pytest.importorskip("onnxruntime")
    printed = run_code((EXAMPLES / "export_model.py").read_text())
    difference = float(re.search(r"ONNX differs by (\S+)", printed)[1])
    assert difference < 1e-5
    assert (tmp_path / "model.onnx").is_file()


def test_the_states_example_has_exact_states_and_gradients(run_code):
    first, second = run_code((EXAMPLES / "states.py").read_text()).splitlines()
    assert "max_bond=4" in first
    assert second == "True"


def test_the_readme_shows_the_quickstart_as_it_is():
    source = (EXAMPLES / "quickstart.py").read_text()
    shown = source.split("[start:quickstart]\n")[1].split("# --8<-- [end:quickstart]")[0]
    assert f"```python\n{shown}```" in (ROOT / "README.md").read_text()


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    readme, makefile = ((ROOT / name).read_text() for name in ("README.md", "Makefile"))
    commands = set(re.findall(r"^make (\w+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= commands
    assert all(re.search(rf"^{command}:", makefile, re.MULTILINE) for command in commands)
