"""The options of the commands, each defined once, and how commands take them in groups."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from mpsheads._optional import optional_import

typer = optional_import("typer", "retrieval")
DATA, ENCODER, HEAD, RUN = "Data", "Encoder", "Head", "Run"  # panels of the help
HEADS = "mps, reference (the paper's), dense, pca or truncation"


def argument(help: str, metavar: str) -> Any:
    """What stands in its place, without a flag."""
    return typer.Argument(help=help, metavar=metavar)


def option(
    panel: str,
    help: str,
    metavar: str | None = None,
    *,
    default: str | None = None,
    flag: str | None = None,
) -> Any:
    """An option in a panel of the help.

    Args:
        panel: Its heading.
        help: What the option says.
        metavar: What stands for the value.
        default: What happens without the option, if the help does not see that from its value.
        flag: Its flag, where that is not the parameter's name with dashes.
    """
    words = help if default is None else rf"{help}  [dim]\[default: {default}][/dim]"
    names = [flag] if flag else []
    return typer.Option(*names, help=words, metavar=metavar, rich_help_panel=panel)


Dataset = Annotated[
    str | None,
    option(
        DATA,
        "Folder of a BEIR collection, or an id of ir_datasets such as "
        "msmarco-passage/trec-dl-2019/judged.",
        "FOLDER|ID",
    ),
]
EncoderName = Annotated[
    str,
    option(ENCODER, "A name that mpsheads models lists, a folder, or a name on the hub.", "MODEL"),
]


@dataclass(frozen=True)
class DataOptions:
    """Which texts or vectors, and how texts become vectors."""

    dataset: Dataset = None
    split: Annotated[
        str | None, option(DATA, "Which judgments: the name of a file in qrels/.", "NAME")
    ] = None
    pool: Annotated[
        str | None,
        option(
            DATA,
            "Documents that each query ranks: all, judged, or the path of a TREC run. Only these "
            "are encoded.",
            "all|judged|FILE",
            default="all; to train: judged",
        ),
    ] = None
    query_vectors: Annotated[
        Path | None,
        option(
            DATA,
            "Embeddings of the queries, .npy or .safetensors, instead of an encoder. Rows without "
            "ids are in the order of the judgments.",
            "FILE",
        ),
    ] = None
    document_vectors: Annotated[
        Path | None,
        option(DATA, "The same of the documents; rows without ids are in corpus order.", "FILE"),
    ] = None
    encoder: EncoderName = "minilm"
    max_length: Annotated[int, option(ENCODER, "Tokens after which a text is cut.")] = 256
    pooling: Annotated[str, option(ENCODER, "How tokens become one vector.", "mean|cls")] = "mean"
    dtype: Annotated[
        str, option(ENCODER, "Precision of the encoder.", "auto|float32|bfloat16|float16")
    ] = "auto"
    query_prefix: Annotated[str, option(ENCODER, "Put before every query.", "TEXT")] = ""
    document_prefix: Annotated[str, option(ENCODER, "Put before every document.", "TEXT")] = ""


@dataclass(frozen=True)
class ShapeOptions:
    """The shape of a head that is made new."""

    out_features: Annotated[
        int | None, option(HEAD, "Numbers in a vector of a new head.", default="a third")
    ] = None
    bond_dim: Annotated[int | None, option(HEAD, "Largest bond dimension of a new mps head.")] = (
        None
    )
    depth: Annotated[int | None, option(HEAD, "Layers of a new mps head.")] = None
    ansatz: Annotated[
        str | None, option(HEAD, "Circuit of a new mps head.", "staircase|brickwork")
    ] = None
    readout: Annotated[
        str | None, option(HEAD, "What a new mps head returns.", "direction|probability|state")
    ] = None
    mixing: Annotated[
        int | None,
        option(HEAD, "Layers of rotations that mix the features of a new mps head; 0 for none."),
    ] = None


@dataclass(frozen=True)
class PrintOptions:
    """How to print."""

    as_json: Annotated[bool, option(RUN, "Print JSON instead of a table.", flag="--json")] = False
    debug: Annotated[bool, option(RUN, "Show the traceback of an error.", flag="--debug")] = False


@dataclass(frozen=True)
class RunOptions(PrintOptions):
    """Where and how to run."""

    device: Annotated[
        str | None, option(RUN, "cpu, cuda, cuda:1, ...", "NAME", default="the fastest")
    ] = None
    seed: Annotated[int, option(RUN, "Seed of new heads, of training and of the bootstrap.")] = 0


_NEW_HEAD = (
    f"Folder of a saved head, or a new one: {HEADS}, also with its size, as in pca:64. Untrained "
    "ones are drawn by the seed; mps and pca are fitted on the documents."
)
Head = Annotated[str | None, option(HEAD, _NEW_HEAD, "FOLDER|KIND", default="no head")]
Heads = Annotated[list[str] | None, option(HEAD, f"{_NEW_HEAD} Repeat it for each.", "FOLDER|KIND")]
HeadToTrain = Annotated[
    str, option(HEAD, "mps, reference or dense, or the folder of a saved head.", "KIND|FOLDER")
]


def in_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: each parameter annotated with a dataclass.

    Typer sees one option per field; the command gets instances of the dataclasses. So a flag that
    several commands share is the same everywhere.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation  # pyright: ignore[reportArgumentType]
            parameters += [_parameter(field) for field in fields(parameter.annotation)]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

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


def _parameter(field: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type
    )
