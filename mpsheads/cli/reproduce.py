"""`mpsheads reproduce`: the paper's comparisons, or your own, from TOML files to a report."""

from pathlib import Path
from typing import Annotated

from mpsheads.cli import options
from mpsheads.cli.options import option, typer
from mpsheads.cli.output import console, print_json

_NAMES = (
    "circuit, compression, data-size, epochs, few-pairs, frozen, layers, little-data, research, "
    "similarity; all; or TOML files."
)
_TRAIN = "Where heads are trained: a BEIR folder or an ir_datasets id, with a split after a colon."
_TEST = (
    "Where they are measured; repeat it. The pool is judged (default), all, or the path of a TREC "
    "run."
)
_METHOD = "Only methods with this label; repeat it."
_TRAINED = "Only methods of which this is trained, and those that train nothing."
_REPORT_ONLY = "Run nothing: make the report from this file of results, .jsonl or .jsonl.gz."
_WHAT = "What is run"


def reproduce(
    name: Annotated[
        list[str] | None, typer.Argument(help=_NAMES, metavar="[EXPERIMENT]...")
    ] = None,
    train: Annotated[str | None, option(_TRAIN, _WHAT, "COLLECTION[:SPLIT]")] = None,
    test: Annotated[list[str] | None, option(_TEST, _WHAT, "COLLECTION[:SPLIT][@POOL]")] = None,
    encoder: Annotated[
        list[str] | None, option("minilm, mpnet, bert, a folder or a hub name; repeat it.", _WHAT)
    ] = None,
    seeds: Annotated[
        int | None, option("How many seeds, from 0 on; 20 in the paper.", _WHAT)
    ] = None,
    method: Annotated[list[str] | None, option(_METHOD, _WHAT, "LABEL")] = None,
    trained: Annotated[str | None, option(_TRAINED, _WHAT, "nothing|head|layers")] = None,
    output: Annotated[Path, option("Folder of results and report.", metavar="FOLDER")] = Path(
        "reproduction"
    ),
    baseline: Annotated[
        str, option("The method that others are compared with.", metavar="LABEL")
    ] = "dense",
    report_only: Annotated[Path | None, option(_REPORT_ONLY, metavar="FILE")] = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the paper's comparisons, or those of your own TOML files, and make a report of them.

    Results go to OUTPUT/results.jsonl, a line each, as soon as they are known. What is there is not
    run again, so a run that was stopped goes on where it was; the report is made from that file.

    [bold]Examples[/bold]

    [cyan]mpsheads reproduce frozen --encoder minilm --train ./train-pairs:train
    --test ./trec-dl:dl19 --test ./trec-dl:dl20 --seeds 3[/cyan]

    [cyan]mpsheads reproduce --report-only reproduction/results.jsonl[/cyan]
    """
    from mpsheads import experiments as room
    from mpsheads.cli.data import pick_device, show_progress

    pick_device(device)
    chosen = room.select(
        room.find_experiments(name or ["all"]),
        methods=method or (),
        trained=trained,  # pyright: ignore[reportArgumentType]  # checked there
        seeds=seeds,
        train=train,
        tests=test,
        encoders=encoder,
    )
    file = report_only or output / "results.jsonl"
    if report_only is None:
        room.run_experiments(chosen, file, device=device, progress=show_progress())
    names = {experiment.name for experiment in chosen}
    lines = [line for line in room.read_results(file) if not name or line["experiment"] in names]
    if not lines:
        raise ValueError(f"{file} holds no results of {', '.join(names) if name else 'any kind'}.")
    labels = dict.fromkeys(line["method"] for line in lines)
    if baseline != "dense" and baseline not in labels:
        raise ValueError(f"`baseline` {baseline!r} has no results; there are {'; '.join(labels)}.")
    report = room.write_report(lines, output, baseline)
    if as_json:
        print_json({"results": str(file), "lines": len(lines), "report": str(report)})
        return
    out = console()
    out.print(report.read_text(encoding="utf-8"), soft_wrap=True)
    out.print(f"{len(lines):,} results in {file}; report in {report}")
