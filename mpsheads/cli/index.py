"""`mpsheads index`: passages to an index that can be searched."""

from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli import options, passages
from mpsheads.cli.options import Model, option
from mpsheads.cli.output import console, print_json

_ENGINE = (
    "How it is searched: exact reads all codes, lists the nearest of many lists; usearch, faiss, "
    "pgvector and milvus are searched by these."
)
_KEEP = "Keep the embeddings in the folder, too: four bytes a number."
_CHECK = "Measure recall@10 and queries a second with so many of the passages as queries."


def index(
    source: passages.Source,
    model: Model,
    reading: passages.Reading,
    output: Annotated[Path, option("Folder of the index.", metavar="FOLDER")] = Path("index"),
    engine: Annotated[str, option(_ENGINE, "Index", "NAME")] = "exact",
    engine_option: Annotated[
        list[str] | None, option("An option of the engine; repeat it.", "Index", "NAME=VALUE")
    ] = None,
    check: Annotated[int, option(_CHECK, "Index", "QUERIES")] = 0,
    keep_vectors: Annotated[bool, option(_KEEP, "Index", flag="--keep-vectors")] = False,
    bytes: passages.Bytes = 64,
    head: passages.Head = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Make an index of your own texts, in a few bytes a passage.

    The texts are encoded, a head is fitted to them, and their codes are searched by the engine.
    The source may also be a folder that mpsheads encode wrote. A killed run that is started again
    goes on where it was.

    [bold]Examples[/bold]

    [cyan]mpsheads index my.jsonl --bytes 64 --output idx[/cyan]

    [cyan]mpsheads index passages/ --engine lists --check 200 --output idx[/cyan]
    """
    import time

    from mpsheads._checks import check_choice
    from mpsheads._files import as_path
    from mpsheads.search import ENGINES, Index, check_index, read_manifest
    from mpsheads.search.index import PASSAGES, check_place

    check_choice("engine", engine, tuple(ENGINES))
    check_place(output)
    settings = _settings(engine_option)
    shards = as_path(source)
    if not (shards / "manifest.json").is_file():
        shards = output / PASSAGES
        kept = (shards / "manifest.json").is_file() and read_manifest(shards).keep_vectors
        how: dict[str, Any] = {"bytes": bytes, "seed": seed}
        how |= {"keep_text": True, "keep_vectors": keep_vectors or check > 0 or kept}
        passages.encode_to_shards(reading.passages(source), model, shards, head, **how)
    elif keep_vectors or head or bytes != 64 or (model, reading) != (Model(), passages.Reading()):
        raise ValueError("`source` is encoded: leave out `bytes`, `head` and what is for texts.")
    manifest = read_manifest(shards)
    if check and not manifest.keep_vectors:
        raise ValueError(f"`check` wants the embeddings, and {shards} was encoded without them.")
    began = time.perf_counter()
    made = Index.build(shards, engine=engine, **settings)
    built = time.perf_counter() - began
    made.save(output)
    report = {"output": str(output), "passages": len(made), "engine": engine, "seconds": built}
    report |= {"bytes_before": 4 * made.head.in_features, "bytes": made.codes.bytes_per_vector}
    report["bytes_in_memory"] = made.nbytes / len(made)
    files = output.glob("data-*/**/*")  # without the shards that it was built of
    report["bytes_on_disk"] = sum(file.stat().st_size for file in files if file.is_file())
    if check:
        report |= check_index(made, shards, queries=check, seed=seed)
    print_json(report) if as_json else _print(report)


def _settings(given: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` as arguments: whole numbers as such."""
    settings: dict[str, Any] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ValueError(f"`engine_option` must be NAME=VALUE, got {text!r}.")
        settings[name] = int(value) if value.isdigit() else value
    return settings


def _print(report: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"{report['passages']:,} passages in {report['bytes']} bytes each, "
        f"{report['bytes_before']:,} before; with the engine {report['bytes_in_memory']:.0f} in "
        f"memory, and {report['bytes_on_disk']:,} bytes with ids and texts on disk"
    )
    if "queries" in report:
        out.print(
            f"recall@10 of {report['queries']} passages as queries: {report['recall_exact']:.3f} "
            f"of what reading all codes finds, {report['recall_uncompressed']:.3f} of what the "
            f"uncompressed vectors find (all codes: {report['recall_of_codes']:.3f}); "
            f"{report['queries_per_second']:,.0f} queries a second, one at a time"
        )
    out.print(f'index in {report["output"]}; try: mpsheads search {report["output"]} "a question"')
