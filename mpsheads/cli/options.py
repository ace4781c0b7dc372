"""The options that several commands share, each with its help, and those that come together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mpsheads._optional import optional_import

typer = optional_import("typer", "retrieval")


def option(
    text: str, panel: str = "Run", metavar: str | None = None, flag: str | None = None
) -> Any:
    """An option with its help, under a heading of the help page."""
    flags = () if flag is None else (flag,)
    return typer.Option(*flags, metavar=metavar, help=text, rich_help_panel=panel)


_DATASET = (
    "Folder of a BEIR collection, a file of pairs, or an id of ir_datasets. After a colon which "
    "judgments: the name of a file in qrels/. After @ the documents that each query ranks: all "
    "(default; to train: judged), judged, or the path of a TREC run. Only these are encoded."
)
_VECTORS = (
    "Embeddings of the queries, .npy or .safetensors, instead of an encoder. Rows without ids are "
    "in the order of the file of queries."
)
Dataset = Annotated[str | None, option(_DATASET, "Data", "FOLDER|ID[:SPLIT][@POOL]")]
_DOCUMENT_VECTORS = "The same of the documents; rows without ids are in corpus order."
DocumentVectors = Annotated[Path | None, option(_DOCUMENT_VECTORS, "Data", "FILE")]
_ENCODER = "A name that mpsheads models lists, a folder, or a name on the hub."
EncoderName = Annotated[str, option(_ENCODER, "Encoder", "MODEL", flag="--encoder")]
_POOLING = "How tokens become one vector; by default as the model's folder says, else mean."

HEAD = (
    "Folder of a saved head, or a new one: mps, reference (the paper's), dense, pca or truncation, "
    "also with its size, as in pca:64; or codes with bytes a vector, as in codes:64. Untrained "
    "ones are drawn by the seed; mps, codes and pca are fitted on the documents."
)
Device = Annotated[
    str | None, option("cpu, cuda, cuda:1, ...; the fastest by default.", metavar="NAME")
]
Seed = Annotated[int, option("Seed of new heads, of training and of the bootstrap.")]
AsJson = Annotated[bool, option("Print JSON instead of a table.", flag="--json")]


@dataclass(frozen=True)
class Texts:
    """Which texts of a collection, or which vectors."""

    dataset: Dataset = None
    query_vectors: Annotated[Path | None, option(_VECTORS, "Data", "FILE")] = None
    document_vectors: DocumentVectors = None


@dataclass(frozen=True)
class Model:
    """What embeds texts, and where it runs."""

    encoder: EncoderName = "minilm"
    max_length: Annotated[int, option("Tokens after which a text is cut.", "Encoder")] = 256
    pooling: Annotated[str | None, option(_POOLING, "Encoder", "mean|cls")] = None
    query_prefix: Annotated[str, option("Put before every query.", "Encoder", "TEXT")] = ""
    document_prefix: Annotated[str, option("Put before every document.", "Encoder", "TEXT")] = ""
    device: Device = None
