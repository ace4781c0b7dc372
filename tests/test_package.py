"""The package as a whole: what an import costs, what it offers, and what the repository holds."""

import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

import mpsheads

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mpsheads"
HEAVY = (
    "transformers",
    "sentence_transformers",
    "safetensors",
    "huggingface_hub",
    "ir_datasets",
    "pytrec_eval",
    "matplotlib",
    "qiskit",
    "quimb",
    "typer",
    "rich",
    "quimb",
    "tensornetwork",
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def python(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if listed.returncode:
        pytest.skip("This is not a git checkout.")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_import_mpsheads_loads_no_optional_package():
    loaded = python(f"import mpsheads, sys; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_import_mpsheads_sets_no_global_default_of_torch():
    state = "torch.get_default_dtype(), torch.get_default_device(), torch.initial_seed()"
    code = (
        f"import torch; torch.manual_seed(3); a = {state}; import mpsheads; print(a == ({state}))"
    )
    assert python(code).strip() == "True"


def test_every_public_name_exists_and_is_documented():
    assert len(mpsheads.__all__) == len(set(mpsheads.__all__))
    for name in mpsheads.__all__:
        thing = getattr(mpsheads, name)
        assert name.startswith("__") or (thing.__doc__ or "").strip(), f"{name} has no docstring"


def test_the_names_that_the_readme_promises_are_public():
    promised = {"MPSProjectionHead", "ReferenceHead", "log_fidelity", "fidelity", "MPS"}
    assert promised <= set(mpsheads.__all__)


def test_the_version_is_that_of_the_installed_distribution():
    assert mpsheads.__version__ == metadata.version("mpsheads")


def test_the_package_ships_its_type_annotations():
    assert (PACKAGE / "py.typed").is_file()


def test_no_module_postpones_its_annotations():
    # Runtime shape checks read the annotations of every function.
    postponed = "from __future__ " + "import annotations"
    assert [path for path in MODULES if postponed in path.read_text()] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_stays_under_450_lines(path):
    assert len(path.read_text().splitlines()) < 450


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on():
    # Home folders, and the folder that holds this checkout unless anybody may have such a one.
    patterns = [r"/(?:home|Users)/[a-z]\w*/", r"/root/"]
    if ROOT.parent not in (Path(ROOT.anchor), Path(tempfile.gettempdir())):
        patterns.append(re.escape(f"{ROOT.parent}/"))
    pattern = re.compile("|".join(patterns))
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(lines, start=1)
            if pattern.search(line) and path != Path(__file__).resolve()
        ]
    assert found == []
