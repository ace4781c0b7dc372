"""The options of commands that read passages, and how these are encoded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli.options import option, typer

if TYPE_CHECKING:
    from mpsheads.search import Manifest

SOURCE = (
    "A .jsonl, .csv, .tsv or .parquet file, a .txt file with a passage a line, a folder of texts, "
    "of a BEIR collection or of a saved dataset, or an id of ir_datasets or of the hub."
)
_BYTES = "Bytes a passage of a head that is fitted to the first 16,384 passages."
_HEAD = "Folder of a saved head, in place of one that is fitted."

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)]
TextColumn = Annotated[str | None, option("Column of the texts; found by name.", "Passages")]
IdColumn = Annotated[str | None, option("Column of the ids; found by name.", "Passages")]
TitleColumn = Annotated[
    str | None, option("Column of titles, put before the texts; found by name.", "Passages")
]
WholeFiles = Annotated[
    bool,
    option("A text file is one passage, not one a paragraph.", "Passages", flag="--whole-files"),
]
SkipBadRows = Annotated[
    bool, option("Leave out rows that cannot be read.", "Passages", flag="--skip-bad-rows")
]
Bytes = Annotated[int, option(_BYTES, "Head", flag="--bytes")]
Head = Annotated[str | None, option(_HEAD, "Head", "FOLDER")]


def read_passages(
    source: str,
    text_column: str | None,
    id_column: str | None,
    title_column: str | None,
    whole_files: bool,
    skip_bad_rows: bool,
) -> Any:
    """The passages that the options describe."""
    from mpsheads.retrieval import Columns, Passages

    columns = Columns(text_column, id_column, title_column)
    return Passages(source, columns, whole_files=whole_files, skip_bad_rows=skip_bad_rows)


def encode_to_shards(
    read: Any, encoder: Any, output: Path, head: str | None, device: Any, **how: Any
) -> "Manifest":
    """Encode passages to a folder with a bar, and tell on stderr what was left out."""
    import sys

    from mpsheads.cli.data import show_progress
    from mpsheads.heads import load_head
    from mpsheads.search import encode_passages

    if (ray := how.pop("ray", None)) is not None:
        from mpsheads.search.cluster import on_ray

        how["over"] = on_ray(ray, gpu=encoder.device.type == "cuda")
    loaded = None if head is None else load_head(head, device=device)
    watched = show_progress()
    manifest = encode_passages(read, encoder, output, head=loaded, progress=watched, **how)
    if read.skipped:
        sys.stderr.write(f"{read.skipped:,} bad rows were left out\n")
    return manifest
