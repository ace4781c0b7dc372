"""A real collection from what is installed: docstrings, searched by their summary lines.

The sources of the standard library and of the installed packages are parsed, never imported.
"""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mpsheads._typing import Positive
from mpsheads.retrieval.collections import Collection

_SPLIT_ENDS = {"train": 0.6, "dev": 0.7, "test": 1.0}
_SKIPPED = re.compile(  # mpsheads, since its docstrings change too often to measure with
    r"(?!__init__$)_.*|test_.*|.*_test|tests?|testing|conftest|idlelib|lib2to3|turtledemo"
    r"|(site|dist)-packages|vendor(ed)?|extern(als)?|third_?party|mpsheads"
)
_CHARACTERS_A_DOCSTRING = 2_500  # a file with fewer docstrings is not worth its parsing
_LARGEST_FILE = 300_000
_MOST_OF_A_PACKAGE = 400  # so that none dominates
_QUERY_WORDS = range(4, 31)
_DOCUMENT_WORDS = 25
_FEWEST_PAIRS = 100

_ROLE = re.compile(r":[a-z:]+:`[~!]?([^`]*)`")
_NO_PROSE = re.compile(  # doctests, rules under headings, directives
    r"^[ \t]*(?:>>>.*(?:\n[ \t]*\S.*)*|([-=~^*#+_.])\1{2,}[ \t]*|\.\. [\w-]+::.*)$", re.MULTILINE
)
_SIGNATURE = re.compile(r">>>|->|^\S+\(.*\)$|^[.:@]")


class _Pair(NamedTuple):
    """A summary line and the rest of the docstring that it comes from."""

    name: str
    query: str
    document: str


def docstring_collection(
    packages: Sequence[str] | None = None, *, limit: Positive = 6_000, seed: int = 0
) -> dict[str, Collection]:
    """Build a collection of docstrings, split for training, development and test.

    A query is the summary of a docstring; its one relevant document is the rest, with the
    object's name, the dotted parts of that name and the summary taken out, and without doctests.
    Left out are private objects, tests, vendored copies, files that are nearly all code, short or
    mostly non-English texts, and texts whose summary or body came before. A package gives 400
    pairs at most. Order, choice and split are decided by a hash of each text, so the same
    environment gives the same collection, and a new package moves no text from one split to
    another.

    Args:
        packages: Import names of top-level packages or modules, of the standard library or
            installed; `None` means every one of them.
        limit: The most pairs, over all splits.
        seed: Changes which pairs are chosen and how they are split.

    Returns:
        The splits `"train"` (60%), `"dev"` (10%) and `"test"` (30%). Each holds its own documents
        only. A document's id is the dotted name of its object, a query's id the same after "q:".

    Raises:
        ValueError: If a package is unknown, `limit` is less than 1, or fewer than 100 pairs are
            found, as in a Python that is installed without the sources of its library.

    Cost: about 10 seconds on one core for an environment of 100 packages.
    """
    pairs: dict[str, _Pair] = {}
    seen: set[str] = set()
    for modules in _sources(packages):
        for pair in islice(_new_pairs(modules, seed, seen), _MOST_OF_A_PACKAGE):
            pairs.setdefault(pair.name, pair)
    if len(pairs) < _FEWEST_PAIRS:
        raise ValueError(
            f"Only {len(pairs)} usable docstrings were found, and {_FEWEST_PAIRS} are needed. "
            f"`packages` may name more packages, or this Python lacks the sources of its library."
        )
    parts: dict[str, list[_Pair]] = {split: [] for split in _SPLIT_ENDS}
    for pair in sorted(pairs.values(), key=lambda pair: _share(pair, seed, "choice"))[:limit]:
        share = _share(pair, seed, "split")
        parts[next(split for split, end in _SPLIT_ENDS.items() if share < end)].append(pair)
    return {
        split: Collection(
            name=f"docstrings/{split}",
            documents={pair.name: pair.document for pair in part},
            queries={f"q:{pair.name}": pair.query for pair in part},
            qrels={f"q:{pair.name}": {pair.name: 1} for pair in part},
        )
        for split, part in parts.items()
    }


def _share(pair: _Pair, seed: int, purpose: str) -> float:
    """A number in [0, 1) that depends on the text, the seed and the purpose alone."""
    text = "\0".join([purpose, str(seed), pair.query, pair.document])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56


def _sources(packages: Sequence[str] | None) -> list[dict[str, Path]]:
    """Name and file of the modules of each top-level package, the standard library first."""
    sources: dict[str, dict[str, Path]] = {}
    paths = sysconfig.get_paths()
    for root in dict.fromkeys(Path(paths[key]) for key in ("stdlib", "purelib", "platlib")):
        for entry in sorted(root.iterdir()) if root.is_dir() else []:
            if entry.stem.isidentifier() and (packages is None or entry.stem in packages):
                files = entry.rglob("*.py") if entry.is_dir() else [entry]
                parts = {file: file.relative_to(root).with_suffix("").parts for file in files}
                modules = {
                    ".".join(names).removesuffix(".__init__"): file
                    for file, names in parts.items()
                    if file.suffix == ".py" and not any(map(_SKIPPED.fullmatch, names))
                }
                sources.setdefault(entry.stem, modules)
    if missing := sorted(set(packages or ()) - {name for name in sources if sources[name]}):
        raise ValueError(f"`packages` names {', '.join(missing)}, whose source is not installed.")
    return list(sources.values())


def _new_pairs(modules: Mapping[str, Path], seed: int, seen: set[str]) -> Iterator[_Pair]:
    """Pairs of one package, its modules in an order set by a hash.

    `seen` holds the summaries and bodies so far; it grows.
    """
    for module in sorted(modules, key=lambda m: hashlib.sha256(f"{seed} {m}".encode()).digest()):
        for name, docstring in _docstrings(_parse(modules[module]), module):
            if pair := _pair(name, docstring):
                letters = {re.sub(r"[^a-z]+", "", text.lower()) for text in pair[1:]}
                if not letters & seen:
                    seen |= letters
                    yield pair


def _parse(file: Path) -> ast.Module:
    """The file's syntax; an empty module where there is nothing to take from it."""
    try:
        source = file.read_text(encoding="utf-8") if file.stat().st_size <= _LARGEST_FILE else ""
        if source.count('"""') * _CHARACTERS_A_DOCSTRING < 2 * len(source):
            source = ""
        with warnings.catch_warnings(action="ignore"):  # escapes in other people's strings
            return ast.parse(source)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ast.Module([], [])  # not a readable Python file of this version


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of a module, its public classes and functions, and theirs."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        if docstring := ast.get_docstring(node):
            yield name, docstring
        for child in node.body if isinstance(node, ast.Module | ast.ClassDef) else []:
            inner = getattr(child, "name", "_")
            if isinstance(inner, str) and not inner.startswith("_"):
                yield from _docstrings(child, f"{name}.{inner}")


def _pair(name: str, docstring: str) -> _Pair | None:
    """The pair of a docstring, or `None` where it is of no use."""
    summary, _, rest = docstring.partition("\n\n")
    query = _plain(summary)
    if len(query.split()) not in _QUERY_WORDS or _SIGNATURE.search(query):
        return None
    words = set(name.lower().split("."))
    document = re.sub(
        r"\w+\.?",
        lambda match: "" if match[0].rstrip(".").lower() in words else match[0],
        _plain(_NO_PROSE.sub("", rest)).replace(query, " "),
    )
    document = " ".join(document.split())
    if len(document.split()) < _DOCUMENT_WORDS:
        return None
    readable = _letters(query) >= 0.85 * len(query) and _letters(document) >= 0.75 * len(document)
    return _Pair(name, query, document) if readable else None


def _plain(text: str) -> str:
    """The text without the markup of Sphinx, on one line."""
    return " ".join(_ROLE.sub(r"\1", text).replace("`", "").split())


def _letters(text: str) -> int:
    """How many ASCII letters and spaces there are."""
    return len(re.sub(r"[^A-Za-z ]", "", text))
