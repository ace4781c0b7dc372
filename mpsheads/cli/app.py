"""The application: its commands, and how errors become one line and exit code 2."""

import inspect
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from mpsheads.cli.demo import demo
from mpsheads.cli.encode import encode
from mpsheads.cli.evaluate import evaluate
from mpsheads.cli.frontier import frontier
from mpsheads.cli.index import index
from mpsheads.cli.info import info
from mpsheads.cli.mine import mine
from mpsheads.cli.models import models
from mpsheads.cli.options import typer
from mpsheads.cli.reproduce import reproduce
from mpsheads.cli.search import search
from mpsheads.cli.serve import serve
from mpsheads.cli.train import train

_COMMANDS = (
    demo, index, search, serve, encode, mine, train, evaluate, info, models, reproduce, frontier,
)  # fmt: skip
_ALIASES = {
    "source": "dataset",
    "embedded": "dataset",
    "model": "encoder",
    "output_dir": "output",
    "measures": "measure",
    "path": "head",
    "named": "head",
}  # what a function calls it -> what the commands do
_ALONE = {"--ray": "auto"}  # flags that need no value -> what they then mean


class _OneLineGroup(typer.core.TyperGroup):
    """Commands whose errors are one line on stderr, with exit code 2 and no half-told story.

    With --debug anywhere, the traceback is shown.
    """

    def main(self, args: Any = None, **extra: Any) -> Any:
        given = [str(arg) for arg in (sys.argv[1:] if args is None else args)]
        args = _with_values([arg for arg in given if arg != "--debug"]) or ["--help"]
        code = 2
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _note
                code = super().main(args, **{**extra, "standalone_mode": False})
        except (ValueError, TypeError, OSError, ImportError) as error:
            if "--debug" in given:
                raise
            self._fail(_one_line(error), args[0])
        except Exception as error:
            if type(error).__name__ == "Abort":
                sys.exit(130)
            if not hasattr(error, "format_message"):  # not a usage error
                raise
            self._fail(_usage(error), args[0])
        sys.exit(code if isinstance(code, int) else 0)

    def _fail(self, message: str, command: str) -> None:
        options = getattr(self.commands.get(command), "params", ())
        flags = {option.name: _shown(option) for option in options}
        flags |= {name: flags[to] for name, to in _ALIASES.items() if to in flags}
        message = re.sub(
            r"(?<!package )`(\w+)(?:\.\d+|=True)?`",
            lambda m: f"`{flags[m[1]]}`" if m[1] in flags else m[0],
            message,
        )
        sys.stderr.write(f"Error: {message}\n")
        sys.exit(2)


def _note(message: Any, *_: Any, **__: Any) -> None:
    """A warning in one line, without the place in the code."""
    sys.stderr.write(f"Warning: {' '.join(str(message).split())}\n")


def _with_values(args: list[str]) -> list[str]:
    """Arguments with what flags that stand alone mean, which Typer cannot say."""
    following = [*args[1:], "--"]
    return [
        f"{arg}={_ALONE[arg]}" if arg in _ALONE and after.startswith("-") else arg
        for arg, after in zip(args, following, strict=False)
    ]


def _shown(option: Any) -> str:
    """How the help names it: `--flag`, or `PATH` for what has no flag."""
    flag = option.opts[0]
    return flag if flag.startswith("-") else option.metavar or option.name.upper()


def _one_line(error: BaseException) -> str:
    text = str(error)
    if hasattr(error, "errors"):  # of pydantic, which says too much
        from mpsheads._checks import first_fault

        text = first_fault(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split()) or type(error).__name__


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" Try '{context.command_path} --help'." if context is not None else ""
    return " ".join(str(error.format_message()).split()) + hint


def _adapted(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: options that come together one by one, `~` in paths replaced.

    Some shells leave a `~`, as in --output=~/x.
    """
    wanted = inspect.signature(command).parameters.values()
    bundles: dict[str, Any] = {e.name: e.annotation for e in wanted if is_dataclass(e.annotation)}

    def run(**given: Any) -> None:
        from mpsheads._files import as_path

        given |= {name: as_path(value) for name, value in given.items() if isinstance(value, Path)}
        for name, kind in bundles.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        command(**given)

    options = []
    for each in wanted:
        parts = fields(each.annotation) if each.name in bundles else ()
        single = each.replace(kind=each.KEYWORD_ONLY)
        options += [
            single.replace(name=part.name, default=part.default, annotation=part.type)
            for part in parts
        ] or [single]
    run.__name__, run.__signature__ = command.__name__, inspect.Signature(options)  # pyright: ignore
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


app = typer.Typer(
    cls=_OneLineGroup,
    name="mpsheads",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Compress text embeddings with a simulated quantum circuit, and measure what it costs.",
    epilog="Start with [bold]mpsheads demo[/bold]. Each command has its own --help. With --debug, "
    "an error shows its traceback.",
)
for _command in _COMMANDS:
    _text = inspect.getdoc(_command) or ""
    _paragraphs = re.sub(r"(?<!\n)\n(?!\n)", " ", _text)
    app.command(help=_paragraphs)(_adapted(_command))
