"""A real collection from what is installed: docstrings, searched by their summary lines.

The sources of the standard library and of the installed packages are parsed, never imported.
"""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mpsheads.retrieval.collections import Collection

_SPLIT_ENDS = {"train": 0.6, "dev": 0.7, "test": 1.0}
_SKIPPED = re.compile(  # mpsheads, since its docstrings change too often to measure with
    r"_.*|test_.*|.*_test|tests?|testing|conftest|idlelib|lib2to3|turtledemo|(site|dist)-packages"
    r"|vendor(ed)?|extern(als)?|third_?party|mpsheads"
)
_CHARACTERS_A_DOCSTRING = 5_000  # a file with fewer docstrings is not worth its parsing
_LARGEST_FILE = 300_000
_TRIPLE_QUOTED = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)
_QUERY_WORDS = (4, 30)
_DOCUMENT_WORDS = 25
_FEWEST_PAIRS = 100


@dataclass(frozen=True)
class _Pair:
    """A summary line and the rest of the docstring that it comes from."""

    name: str
    query: str
    document: str


def docstring_collection(
    packages: Sequence[str] | None = None,
    *,
    limit: int | None = 6_000,
    per_package: int | None = 400,
    seed: int = 0,
) -> dict[str, Collection]:
    """Build a collection of docstrings, split for training, development and test.

    A query is the summary of a docstring; its one relevant document is the rest, with the
    object's name, the dotted parts of that name and the summary taken out, and without doctests.
    Left out are private objects, tests, vendored copies, files that are nearly all code, short or
    mostly non-English texts, and texts whose summary or body came before. Order, choice and split
    are decided by a hash of each text, so the same environment gives the same collection, and a
    new package moves no text from one split to another.

    Args:
        packages: Import names of top-level packages or modules, of the standard library or
            installed; `None` means every one of them.
        limit: The most pairs, over all splits; `None` for no limit.
        per_package: The most pairs of one top-level package, so that no large package
            dominates; `None` for no limit. It also bounds the time.
        seed: Changes which pairs are chosen and how they are split.

    Returns:
        The splits `"train"` (60%), `"dev"` (10%) and `"test"` (30%). Each holds its own documents
        only. A document's id is the dotted name of its object, a query's id the same after "q:".

    Raises:
        ValueError: If a package is unknown, a limit is less than 1, or fewer than 100 pairs are
            found, as in a Python that is installed without the sources of its library.

    Cost: about 10 seconds on one core for an environment of 100 packages.
    """
    for name, value in {"limit": limit, "per_package": per_package}.items():
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1 or None, got {value}.")
    pairs: dict[str, _Pair] = {}
    seen: set[str] = set()
    for modules in _sources(packages).values():
        for pair in _package_pairs(modules, per_package, seed, seen):
            pairs.setdefault(pair.name, pair)
    if len(pairs) < _FEWEST_PAIRS:
        raise ValueError(
            f"Only {len(pairs)} usable docstrings were found, and {_FEWEST_PAIRS} are needed. "
            f"`packages` may name more packages, or this Python lacks the sources of its library."
        )
    ordered = sorted(pairs.values(), key=lambda pair: _share(pair, seed, "choice"))[:limit]
    return _split(ordered, seed)


def _split(pairs: Sequence[_Pair], seed: int) -> dict[str, Collection]:
    members: dict[str, list[_Pair]] = {split: [] for split in _SPLIT_ENDS}
    for pair in pairs:
        share = _share(pair, seed, "split")
        members[next(name for name, end in _SPLIT_ENDS.items() if share < end)].append(pair)
    return {
        split: Collection(
            name=f"docstrings/{split}",
            documents={pair.name: pair.document for pair in chosen},
            queries={f"q:{pair.name}": pair.query for pair in chosen},
            qrels={f"q:{pair.name}": {pair.name: 1} for pair in chosen},
        )
        for split, chosen in members.items()
    }


def _share(pair: _Pair, seed: int, purpose: str) -> float:
    """A number in [0, 1) that depends on the text, the seed and the purpose alone."""
    text = "\0".join([purpose, str(seed), pair.query, pair.document])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56


# --- files ---------------------------------------------------------------------------------


def _sources(packages: Sequence[str] | None) -> dict[str, dict[str, Path]]:
    """Source file of each module of each top-level package, the standard library first."""
    sources: dict[str, dict[str, Path]] = {}
    paths = sysconfig.get_paths()
    for root in dict.fromkeys(Path(paths[key]) for key in ("stdlib", "purelib", "platlib")):
        for entry in sorted(root.iterdir()) if root.is_dir() else []:
            name = entry.stem if entry.suffix == ".py" else entry.name
            wanted = packages is None or name in packages
            if not wanted or name in sources or not name.isidentifier() or _skipped(name):
                continue
            if modules := _modules(entry, name):
                sources[name] = modules
    missing = sorted(set(packages or ()) - set(sources))
    if missing:
        raise ValueError(
            f"`packages` names {', '.join(missing)}, of which no source is installed here."
        )
    return sources


def _modules(entry: Path, package: str) -> dict[str, Path]:
    """Dotted name and file of every module in a package's folder, or of a single file."""
    if not entry.is_dir():
        return {package: entry} if entry.suffix == ".py" else {}
    modules: dict[str, Path] = {}
    for file in entry.rglob("*.py"):
        parts = file.relative_to(entry).with_suffix("").parts
        if not any(map(_skipped, parts)):
            inner = parts[:-1] if parts[-1] == "__init__" else parts
            modules[".".join((package, *inner))] = file
    return modules


def _skipped(part: str) -> bool:
    return part != "__init__" and _SKIPPED.fullmatch(part) is not None


def _package_pairs(
    modules: Mapping[str, Path], limit: int | None, seed: int, seen: set[str]
) -> Iterator[_Pair]:
    """Pairs of one package, its modules in an order set by a hash, until `limit`.

    `seen` holds the summaries and bodies so far; it grows.
    """
    ordered = sorted(modules, key=lambda m: hashlib.sha256(f"{seed} {m}".encode()).digest())
    return islice(_new_pairs(modules, ordered, seen), limit)


def _new_pairs(
    modules: Mapping[str, Path], ordered: Sequence[str], seen: set[str]
) -> Iterator[_Pair]:
    for module in ordered:
        for name, docstring in _docstrings(_parse(modules[module]), module):
            pair = _pair(name, docstring)
            if pair is None:
                continue
            letters = {re.sub(r"[^a-z]+", "", t.lower()) for t in (pair.query, pair.document)}
            if not letters & seen:
                seen |= letters
                yield pair


def _parse(file: Path) -> ast.Module:
    """The file's syntax; an empty module where there is nothing to take from it."""
    try:
        source = file.read_text(encoding="utf-8") if file.stat().st_size <= _LARGEST_FILE else ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            return ast.parse(source if _worth_parsing(source) else "")
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ast.Module([], [])  # not a readable Python file of this version


def _worth_parsing(source: str) -> bool:
    """Whether long strings in triple quotes are dense: finding out costs a tenth of parsing."""
    bodies = (match[2].partition("\n\n")[2] for match in _TRIPLE_QUOTED.finditer(source))
    long = sum(body.count(" ") >= _DOCUMENT_WORDS for body in bodies)
    return long * _CHARACTERS_A_DOCSTRING >= max(len(source), 1)


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of a module, its public classes and functions, and theirs."""
    assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    docstring = ast.get_docstring(node)
    if docstring:
        yield name, docstring
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in _definitions(node.body):
            if not child.name.startswith("_"):
                yield from _docstrings(child, f"{name}.{child.name}")


def _definitions(
    body: Iterable[ast.stmt],
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Definitions in a body, also those under `if` and `try`."""
    for child in body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        elif isinstance(child, ast.If | ast.Try):
            yield from _definitions(child.body)
            yield from _definitions(child.orelse)


# --- texts ---------------------------------------------------------------------------------

_ROLE = re.compile(r":[a-z:]+:`[~!]?([^`]*)`")
_DOCTEST = re.compile(r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*([-=~^*#+_.])\1{2,}[ \t]*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^[ \t]*\.\. [\w-]+::.*$", re.MULTILINE)
_SIGNATURE = re.compile(r">>>|->|^\S+\(.*\)$|^[.:@]")
_DOTTED = re.compile(r"\w+(?:\.\w+)*")
_LETTER = re.compile(r"[A-Za-z ]")


def _pair(name: str, docstring: str) -> _Pair | None:
    """The pair of a docstring, or `None` where it is of no use."""
    summary, _, rest = docstring.partition("\n\n")
    query = _plain(summary)
    if not _QUERY_WORDS[0] <= len(query.split()) <= _QUERY_WORDS[1]:
        return None
    if len(rest.split()) < _DOCUMENT_WORDS or _SIGNATURE.search(query):
        return None
    for pattern in (_DOCTEST, _RULE, _DIRECTIVE):
        rest = pattern.sub("", rest)
    document = _without_name(name, _plain(rest).replace(query, " "))
    if len(document.split()) < _DOCUMENT_WORDS:
        return None
    readable = _letters(query) >= 0.85 * len(query) and _letters(document) >= 0.75 * len(document)
    return _Pair(name, query, document) if readable else None


def _plain(text: str) -> str:
    """The text without the markup of Sphinx, on one line."""
    return " ".join(_ROLE.sub(r"\1", text).replace("`", "").split())


def _without_name(name: str, text: str) -> str:
    """The text, on one line, without the words of the dotted name, in any case."""
    words = set(name.lower().split("."))

    def others(match: re.Match[str]) -> str:
        return ".".join(part for part in match[0].split(".") if part.lower() not in words)

    return " ".join(_DOTTED.sub(others, text).split())


def _letters(text: str) -> int:
    """How many ASCII letters and spaces there are."""
    return len(_LETTER.findall(text))
