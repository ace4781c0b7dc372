"""The options of commands that read passages, and how these are encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli.options import Model, option, typer

if TYPE_CHECKING:
    from mpsheads.retrieval import Passages
    from mpsheads.search import Manifest

SOURCE = (
    "A .jsonl, .csv, .tsv or .parquet file, a .txt file with a passage a line, a folder of texts, "
    "of a BEIR collection or of a saved dataset, or an id of ir_datasets or of the hub."
)
_BYTES = "Bytes a passage of a head that is fitted to the first 16,384 passages."
_HEAD = "Folder of a saved head, in place of one that is fitted."
_TITLE = "Column of titles, put before the texts; found by name."
_WHOLE = "A text file is one passage, not one a paragraph."
_SKIP = "Leave out rows that cannot be read."
_PANEL = "Passages"

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)]
Bytes = Annotated[int, option(_BYTES, "Head", flag="--bytes")]
Head = Annotated[str | None, option(_HEAD, "Head", "FOLDER")]


@dataclass(frozen=True)
class Reading:
    """How passages are read."""

    text_column: Annotated[str | None, option("Column of the texts; found by name.", _PANEL)] = None
    id_column: Annotated[str | None, option("Column of the ids; found by name.", _PANEL)] = None
    title_column: Annotated[str | None, option(_TITLE, _PANEL)] = None
    whole_files: Annotated[bool, option(_WHOLE, _PANEL, flag="--whole-files")] = False
    skip_bad_rows: Annotated[bool, option(_SKIP, _PANEL, flag="--skip-bad-rows")] = False

    def passages(self, source: str) -> "Passages":
        """The passages of a source."""
        from mpsheads.retrieval import Columns, Passages

        columns = Columns(self.text_column, self.id_column, self.title_column)
        how = {"whole_files": self.whole_files, "skip_bad_rows": self.skip_bad_rows}
        return Passages(source, columns, **how)


def encode_to_shards(
    read: "Passages", model: Model, output: Path, head: str | None, **how: Any
) -> "tuple[Manifest, int]":
    """Encode passages to a folder with a bar, and tell on stderr what was left out.

    Returns:
        What the folder holds, and how many numbers an embedding has.
    """
    import sys

    from mpsheads.cli.data import make_encoder, pick_device, show_progress
    from mpsheads.heads import load_head
    from mpsheads.search import encode_passages

    device: Any = pick_device(model.device)
    encoder: Any = make_encoder(model)
    assert encoder is not None  # there are no vectors in place of it
    if (ray := how.pop("ray", None)) is not None:
        from mpsheads.search.cluster import on_ray

        how["over"] = on_ray(ray, gpu=encoder.device.type == "cuda")
    loaded = None if head is None else load_head(head, device=device)
    watched = show_progress()
    manifest = encode_passages(read, encoder, output, head=loaded, progress=watched, **how)
    if read.skipped:
        sys.stderr.write(f"{read.skipped:,} bad rows were left out\n")
    return manifest, encoder.features
