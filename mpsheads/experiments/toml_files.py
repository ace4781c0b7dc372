"""Experiments from TOML files, those that come along and those of the user."""

import tomllib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mpsheads._typing import PathLike
from mpsheads.experiments.spec import Experiment, Method

_LISTS: dict[str, tuple[type, ...]] = {
    "tests": (str,),
    "encoders": (str,),
    "bits": (int,),
    "seeds": (int,),
    "fractions": (int, float),
}
_VALUES = {
    **dict.fromkeys(("name", "train", "select", "measure", "triples"), str),
    **dict.fromkeys(("label", "head", "trained", "similarity"), str),
    "training": dict,
    "each_epoch": bool,
    "max_triples": int,
}
_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_WORDS[dict] = "a table"


def read_experiment(file: PathLike) -> Experiment:
    """Read an experiment from a TOML file.

    Its keys are the fields of `Experiment`; each `[[methods]]` has those of `Method`, and all
    other keys of it are settings of the head.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not TOML, a key is unknown, or a value is out of range.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no experiment {str(file)!r}.")
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}.") from error
    known = {f.name for f in fields(Experiment)}
    unknown = next((key for key in found if key not in known), None)
    if unknown is not None:
        raise ValueError(f"{file}: unknown key {unknown!r}; there are {', '.join(sorted(known))}.")
    try:
        return _experiment({"name": file.stem.replace("-", " "), **found})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error


def _experiment(found: dict[str, Any]) -> Experiment:
    entries = found.pop("methods", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TypeError("`methods` must be tables, each under a line [[methods]].")
    methods = tuple(_method(entry) for entry in entries)
    if "sizes" in found:
        found["sizes"] = _sizes(found["sizes"])
    if _is_a(found.get("seeds"), int):
        found["seeds"] = list(range(found["seeds"]))
    for name, value in found.items():
        if name in _LISTS:
            found[name] = _list(name, value, *_LISTS[name])
        else:
            _check(name, value)
    return Experiment(methods=methods, **found)


def _method(entry: dict[str, Any]) -> Method:
    if "head" not in entry:
        raise ValueError(f"a method lacks `head`; it has {', '.join(entry) or 'nothing'}.")
    own = {f.name for f in fields(Method)} - {"settings"}
    given = {"label": entry["head"]} | {key: entry[key] for key in entry if key in own}
    for name, value in given.items():
        _check(name, value)
    return Method(**given, settings={key: entry[key] for key in entry if key not in own})


def _sizes(given: Any) -> dict[int, tuple[int, ...]] | tuple[int, ...]:
    if not isinstance(given, dict):
        return _list("sizes", given, int)
    wrong = next((width for width in given if not width.isdecimal()), None)
    if wrong is not None:
        raise ValueError(f"`sizes` are given for widths of embeddings, such as 384, got {wrong!r}.")
    return {int(width): _list(f"sizes.{width}", sizes, int) for width, sizes in given.items()}


def _list(name: str, value: Any, *kinds: type) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"`{name}` must be a list, got {value!r}.")
    wrong = next((item for item in value if not _is_a(item, *kinds)), None)
    if wrong is not None:
        raise TypeError(f"`{name}` must hold {_WORDS[kinds[-1]]} each time, got {wrong!r}.")
    return tuple(value)


def _check(name: str, value: Any) -> None:
    kind = _VALUES.get(name)
    if kind is not None and not _is_a(value, kind):
        raise TypeError(f"`{name}` must be {_WORDS[kind]}, got {value!r}.")


def _is_a(value: Any, *kinds: type) -> bool:
    """Whether a value is of one of these types; true and false are no numbers."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def experiments_folder() -> Path:
    """Where the experiments lie that come with the package."""
    here = Path(__file__).parent
    shipped = here / "specs"
    return shipped if shipped.is_dir() else here.parents[1] / "examples" / "experiments"


def experiment_names() -> list[str]:
    """The names of the experiments that come along."""
    return [file.stem for file in sorted(experiments_folder().glob("*.toml"))]


def find_experiments(names: Sequence[str]) -> list[Experiment]:
    """Experiments by their names, or by the paths of TOML files; "all" for all that come along.

    Raises:
        FileNotFoundError: If there is no such experiment.
        ValueError: If a file is wrong, or two have one name.
    """
    known = experiment_names()
    files: dict[Path, None] = {}
    for name in names:
        if name == "all":
            files |= {experiments_folder() / f"{stem}.toml": None for stem in known}
        elif name in known:
            files[experiments_folder() / f"{name}.toml"] = None
        elif name.endswith(".toml"):
            files[Path(name).expanduser().resolve()] = None
        else:
            raise FileNotFoundError(
                f"There is no experiment {name!r}; there are {', '.join(known)}, and files that "
                f"end in .toml."
            )
    found: dict[str, Path] = {}
    experiments = []
    for file in files:
        experiment = read_experiment(file)
        if experiment.name in found:
            raise ValueError(
                f"{found[experiment.name]} and {file} are both named {experiment.name!r}. Give "
                f"one of them another `name`."
            )
        found[experiment.name] = file
        experiments.append(experiment)
    return experiments
