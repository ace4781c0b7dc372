"""Small changes of the code, one at a time, and whether the nearest tests notice them.

A mutant is one module with one change: `<` for `<=`, `+` for `-`, a number one larger, a condition
turned round, a `.conj()`, a sign, a keyword argument or a statement left out. Docstrings,
annotations, raised errors and type checks are left alone. Statements of the rooms are drawn by a
seed, and one change of each is tried: a forked process imports the mutant and runs the three test
files that say most about its module, without those tests marked `slow`. If none notices, the other
files of the room follow, then the slow tests of the three, and those of wrong arguments of all
rooms. A failure, an error or an endless loop kills the mutant. The type checks of the tests are
off: they would double the time, and notice something more. No file is changed.

Results go to a file of JSON lines. Started again, a run goes on where it was stopped, and tries
those that survived once more.

Example:
    python benchmarks/mutants.py --count 300 --rooms mps similarity
"""

import argparse
import ast
import importlib
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings
from timing import print_table

ROOMS = ["mps", "heads", "similarity", "retrieval/evaluation", "training"]
PLUGINS = ["_hypothesis_pytestplugin"]  # others cost seconds, and nothing here needs them
LOADED = [
    "beartype",
    "jaxtyping",
    "opt_einsum",
    "pdb",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
]
SWAPPED = [
    *[(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)],
    *[(ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)],
    *[(ast.Pow, ast.Mult), (ast.LShift, ast.RShift), (ast.BitAnd, ast.BitOr)],
]
SWAP = dict(SWAPPED) | {b: a for a, b in SWAPPED if a is not ast.Pow}
SWAP |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult}
LEFT_OUT = {"conj", "abs", "sqrt", "square", "log", "clamp", "clamp_min", "detach", "mH", "mT"}
UNTOUCHED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)
UNTOUCHED_FIELDS = {"annotation", "returns", "decorator_list", "bases"}
KEPT = {"strict", "device"}  # arguments: an invariant of `zip`; nothing where there is one device
NEAR = 3  # test files
ACROSS = "tests/integrations/test_wrong_arguments.py"  # of all rooms
LIMITS = {"not slow": 90, "slow": 600}  # seconds of processor time for the tests of one mutant


@dataclass(frozen=True)
class Mutant:
    """One change: in the syntax tree of `file`, the fields or list `holder` has `new` at `key`."""

    file: Path
    line: int
    code: str
    tree: ast.Module
    holder: Any
    key: str | int
    new: ast.AST

    def describe(self) -> str:
        """Place and change, which also name it in the results."""
        nodes = (self.holder[self.key], self.new)
        before, after = (ast.unparse(node).replace("\n", " ")[:150] for node in nodes)
        return f"{self.file}:{self.line}: {before}  ->  {after}   in: {self.code}"

    def text(self) -> str:
        """The source of the whole module with the change."""
        old, self.holder[self.key] = self.holder[self.key], self.new
        text = ast.unparse(self.tree)
        self.holder[self.key] = old
        return text


def changes(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in the place of a node that is the `field` of another."""
    if isinstance(node, ast.expr):
        if "isinstance(" in ast.unparse(node):
            return
        if field == "test":
            yield ast.UnaryOp(ast.Not(), node)
    match node:
        case ast.Compare(left, [operator, *others], right):
            yield ast.Compare(left, [SWAP[type(operator)](), *others], right)
        case ast.BinOp(left, operator, right) if type(operator) in SWAP:
            yield ast.BinOp(left, SWAP[type(operator)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(SWAP[type(operator)](), values)
        case ast.AugAssign(target, operator, value) if type(operator) in SWAP:
            yield from (ast.AugAssign(target, SWAP[type(operator)](), value), ast.Pass())
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.UnaryOp(ast.USub() | ast.Not() | ast.Invert(), operand):
            yield operand
        case ast.Attribute(value, name) if name in LEFT_OUT & {"mH", "mT"}:
            yield value
        case ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.Call(function, positional, keywords):
            if isinstance(function, ast.Attribute) and function.attr in LEFT_OUT:
                yield function.value
            for keyword in keywords:
                if keyword.arg not in KEPT:
                    others = [other for other in keywords if other is not keyword]
                    yield ast.Call(function, positional, others)


def mutants(file: Path, root: Path) -> list[list[Mutant]]:
    """The mutants of a file, one list for each statement that has some."""
    lines = (root / file).read_text().splitlines()
    tree = ast.parse("\n".join(lines))
    statements: list[list[Mutant]] = []

    def visit(node: ast.AST, found: list[Mutant], line: int) -> None:
        for field, value in ast.iter_fields(node):
            children = enumerate(value) if isinstance(value, list) else [(field, value)]
            for key, child in children:
                if not isinstance(child, ast.AST) or isinstance(child, UNTOUCHED):
                    continue
                if field in UNTOUCHED_FIELDS or getattr(child, "arg", "") in KEPT:
                    continue
                own = found
                if isinstance(child, ast.stmt):
                    own = []
                    statements.append(own)
                here = getattr(child, "lineno", line)
                holder = value if isinstance(value, list) else vars(node)
                at = (file, here, lines[here - 1].strip(), tree, holder, key)
                own += [Mutant(*at, new) for new in changes(child, field)]
                visit(child, own, here)

    visit(tree, [], 0)
    return [found for found in statements if found]


def tests_of_room(file: Path, root: Path) -> list[str]:
    """The test files of a module's room, the nearest first.

    These are those named after the module, then those of modules that import it, then such as say
    its names most often.
    """
    room = file.parent.relative_to("mpsheads")
    module = ".".join(file.with_suffix("").parts)
    body = ast.parse((root / file).read_text()).body
    names = [node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    words = re.compile(rf"\b({'|'.join([re.escape(module), *names])})\b")
    importers = [
        other.stem
        for other in (root / file.parent).glob("[!_]*.py")
        if re.search(rf"\b{re.escape(module)}\b", other.read_text())
    ]
    scores = {}
    for test in (root / "tests" / room).glob("test_*.py"):
        scores[test] = min(len(words.findall(test.read_text())), 99)
        scores[test] += 1000 * test.stem.startswith(f"test_{file.stem}")
        scores[test] += 100 * test.stem.endswith(tuple(f"test_{name}" for name in importers))
    ordered = sorted(scores, key=lambda test: (-scores[test], test))
    return [str(test.relative_to(root)) for test in ordered]


def survives(texts: Mapping[Path, str], tests: Sequence[str], root: Path, scratch: str) -> bool:
    """Whether the tests, given from the nearest on, pass where these files read so."""
    near, far = tests[:NEAR], tests[NEAR:]
    stages = [("not slow", near), ("not slow", far), ("slow", near)]
    stages += [("slow", [ACROSS])] if (root / ACROSS).exists() else []
    return all(_passes(mark, texts, files, root, scratch) for mark, files in stages if files)


def _passes(
    mark: str, texts: Mapping[Path, str], tests: Sequence[str], root: Path, scratch: str
) -> bool:
    """Whether the tests with that mark pass in a process of their own, or there are none."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    failed = True
    try:
        os.chdir(root)
        sink = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(sink, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMITS[mark], LIMITS[mark]))
        signal.alarm(20 * LIMITS[mark])  # for those that wait
        _read_instead({str(root / file): text for file, text in texts.items()})
        options = [
            f"--rootdir={root}",
            f"--basetemp={scratch}/tests",
            "-oaddopts=",
            "-pno:cacheprovider",
        ]
        options += [f"-p{plugin}" for plugin in PLUGINS]
        status = pytest.main([*tests, *options, "-xqm", mark, "--hypothesis-profile=mutants"])
        failed = status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    finally:
        os._exit(failed)


def _read_instead(texts: Mapping[str, str]) -> None:
    """Let imports of these paths compile the texts."""
    usual = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        if self.path in texts:
            return self.source_to_code(texts[self.path].encode(), self.path)
        return usual(self, fullname)

    SourceFileLoader.get_code = get_code


def draw(root: Path, rooms: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """As many mutants, each of another statement, of all files in the rooms."""
    package = root / "mpsheads"
    files = [
        file.relative_to(root)
        for room in rooms
        for file in sorted([*package.glob(f"{room}/*.py"), *package.glob(f"{room}.py")])
    ]
    chance = random.Random(seed)
    statements = [found for file in files for found in mutants(file, root)]
    drawn = chance.sample(statements, min(count, len(statements)))
    return [chance.choice(found) for found in drawn]


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the mutants, print those that survive as they come, and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300, help="mutants (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default 0)")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, help="folders or modules of mpsheads")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"), help="where")
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--root", type=Path, default=root, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    drawn = draw(root, options.rooms, options.count, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        _get_ready(root, scratch)
        _check_tests(drawn, root, scratch)
        killed = _try_each(drawn, options.results, root, scratch)
    rooms: dict[str, list[bool]] = {}
    for mutant in drawn:
        for room in (str(mutant.file.parent), "all"):
            rooms.setdefault(room, []).append(killed[mutant.describe()])
    rows = [
        [room, str(sum(of)), str(len(of)), f"{sum(of) / len(of):.1%}"] for room, of in rooms.items()
    ]
    print_table(["room", "killed", "of", ""], rows)


def _check_tests(drawn: Sequence[Mutant], root: Path, scratch: str) -> None:
    """Stop where tests fail without a change."""
    unchanged = {mutant.file: ast.unparse(mutant.tree) for mutant in drawn}
    tests = [tests_of_room(file, root) for file in unchanged]
    quick = sorted({test for files in tests for test in files})
    slow = sorted({test for files in tests for test in files[:NEAR]})
    for mark, files in [("not slow", quick), ("slow", slow)]:
        for test in files:
            if not _passes(mark, unchanged, [test], root, scratch):
                raise SystemExit(f"Without a change these fail: pytest {test} -m '{mark}'")


def _try_each(drawn: Sequence[Mutant], results: Path, root: Path, scratch: str) -> dict[str, bool]:
    """Whether each mutant is killed; read from the file of results if it is there."""
    lines = results.read_text().splitlines() if results.exists() else []
    killed = {line["mutant"]: line["killed"] for line in map(json.loads, lines)}
    for mutant in drawn:
        name, began = mutant.describe(), time.perf_counter()
        if killed.get(name):
            continue
        tests = tests_of_room(mutant.file, root)
        killed[name] = not survives({mutant.file: mutant.text()}, tests, root, scratch)
        line = {"mutant": name, "killed": killed[name], "seconds": time.perf_counter() - began}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if not killed[name]:
            print(f"{name}  [{' '.join(tests[:NEAR])}]", flush=True)
    return killed


def _get_ready(root: Path, scratch: str) -> None:
    """Import once what all tests import, but not the package itself, whose bytecode is kept."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(root))
    torch.set_num_threads(1)
    for name in [*PLUGINS, *LOADED]:
        importlib.import_module(name)
    sys.pycache_prefix, sys.dont_write_bytecode = f"{scratch}/bytecode", False
    quick = {"max_examples": 15, "phases": (Phase.explicit, Phase.generate)}  # no shrinking
    settings.register_profile("mutants", deadline=None, derandomize=True, **quick)


if __name__ == "__main__":
    main()
