"""The package as a whole: what an import costs, what it offers, and how its modules are built."""

import ast
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import grimp
import pytest

import mpsheads

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mpsheads"
OPTIONAL = (
    *("transformers", "sentence_transformers", "safetensors", "huggingface_hub", "ir_datasets"),
    *("ir_measures", "pytrec_eval", "scipy", "polars", "pydantic", "jinja2", "matplotlib"),
    *("qiskit", "quimb", "tensornetwork", "typer", "rich", "torch._dynamo"),
)
MODULES = sorted(PACKAGE.rglob("*.py"))
PUBLIC_MEMBERS = 11
MODULE_LINES, BODY_LINES = 399, 39


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


@pytest.mark.slow
def test_an_import_loads_no_package_before_it_is_needed_and_sets_no_default():
    defaults = "torch.get_default_dtype(), torch.get_default_device(), torch.initial_seed()"
    loaded = "print([name for name in {} if name in sys.modules])"
    code = f"""
import sys, mpsheads, mpsheads.cli
{loaded.format(("torch", "numpy", *OPTIONAL))}
import torch
torch.manual_seed(3)
before = {defaults}
import mpsheads.mps, mpsheads.ansatz, mpsheads.similarity
mpsheads.load, mpsheads.MPSProjectionHead(12, 4)
{loaded.format(OPTIONAL)}
print(before == ({defaults}))
"""
    assert python(code).split("\n")[:3] == ["[]", "[]", "True"]


def test_every_public_name_exists_and_is_documented():
    assert len(mpsheads.__all__) == len(set(mpsheads.__all__))
    assert set(mpsheads.__all__) <= set(dir(mpsheads))
    for name in mpsheads.__all__:
        thing = getattr(mpsheads, name)
        assert thing.__module__.startswith("mpsheads.")
        assert (thing.__doc__ or "").strip(), f"{name} has no docstring"
    with pytest.raises(AttributeError, match="has no attribute 'fit_grouping'"):
        _ = mpsheads.fit_grouping


def test_the_version_is_that_of_the_installed_distribution():
    assert mpsheads.__version__ == metadata.version("mpsheads")


def test_the_package_ships_its_type_annotations():
    assert (PACKAGE / "py.typed").is_file()


def test_no_module_postpones_its_annotations():
    # Runtime shape checks read the annotations of every function.
    postponed = "from __future__ " + "import annotations"
    assert [path for path in MODULES if postponed in path.read_text()] == []


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            start = stack.index(module)
            components.append(sorted(stack[start:]))
            del stack[start:]

    for module in sorted(edges):
        if module not in index:
            visit(module)
    return [component for component in components if len(component) > 1]


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions count; those that only a type checker sees do not."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    graph = grimp.build_graph("mpsheads", cache_dir=None, exclude_type_checking_imports=True)
    edges = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    assert circles(edges) == []


@pytest.mark.slow
def test_modules_and_functions_stay_short():
    long = []
    for path in MODULES:
        text, name = path.read_text(), path.relative_to(ROOT)
        if (lines := len(text.splitlines())) > MODULE_LINES:
            long.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body and (lines := (node.end_lineno or 0) - body[0].lineno + 1) > BODY_LINES:
                long.append(f"{name}: {node.name} has {lines} lines after its docstring")
    assert long == []


def test_a_head_has_few_public_members():
    own = [name for name in vars(mpsheads.MPSProjectionHead) if not name.startswith("_")]
    assert len(own) <= PUBLIC_MEMBERS, own


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
