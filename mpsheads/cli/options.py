"""How commands take their options: groups that they share, and the help of `options.toml`."""

import inspect
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from mpsheads._optional import optional_import

typer = optional_import("typer", "retrieval")
_TEXTS = tomllib.loads((Path(__file__).parent / "options.toml").read_text(encoding="utf-8"))
_FLAGS = {"as_json": "--json", "file_format": "--format"}  # where it is not the parameter's name
_ARGUMENTS = {("info", "path"), ("models", "action"), ("models", "name"), ("reproduce", "name")}


@dataclass(frozen=True)
class DataOptions:
    """Which texts or vectors, and how texts become vectors."""

    dataset: str | None = None
    split: str | None = None
    pool: str | None = None
    query_vectors: Path | None = None
    document_vectors: Path | None = None
    encoder: str = "minilm"
    max_length: int = 256
    pooling: str = "mean"
    dtype: str = "auto"
    query_prefix: str = ""
    document_prefix: str = ""


@dataclass(frozen=True)
class ShapeOptions:
    """The shape of a head that is made new; `None` is the head's own default."""

    out_features: int | None = None
    bond_dim: int | None = None
    depth: int | None = None
    ansatz: str | None = None
    readout: str | None = None
    mixing: int | None = None


@dataclass(frozen=True)
class PrintOptions:
    """How to print."""

    as_json: bool = False
    debug: bool = False


@dataclass(frozen=True)
class RunOptions(PrintOptions):
    """Where and how to run."""

    device: str | None = None
    seed: int = 0


def in_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it.

    Each parameter that is annotated with a dataclass becomes one option a field, and the command
    gets an instance: so a flag that several commands share is the same everywhere. What the help
    says of an option stands in `options.toml`.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation
            parameters += [
                _parameter(command.__name__, field.name, field.type, field.default)
                for field in fields(parameter.annotation)
            ]
        else:
            kind, default = parameter.annotation, parameter.default
            parameters.append(_parameter(command.__name__, name, kind, default))

    def run(**values: Any) -> None:
        built = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**built, **values)

    run.__name__ = command.__name__
    run.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _parameter(command: str, name: str, kind: Any, default: Any) -> inspect.Parameter:
    """An option, or an argument, with its panel and its help."""
    panel, text = next(
        (panel, options[name])
        for section in (command, "all")
        for panel, options in _TEXTS.get(section, {}).items()
        if name in options
    )
    metavar, words = (None, text) if isinstance(text, str) else text
    words = re.sub(r"\[(default: .*)\]$", r" [dim]\\[\1][/dim]", words)
    if (command, name) in _ARGUMENTS:
        about = typer.Argument(help=words, metavar=metavar)
    else:
        flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
        about = typer.Option(flag, help=words, metavar=metavar, rich_help_panel=panel)
    place = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, place, default=default, annotation=Annotated[kind, about])
