"""`mpsheads frontier`: quality against bytes a vector, and what to take for a budget."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpsheads.cli.options import RunOptions
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.experiments import Frontier


@dataclass(frozen=True)
class FrontierOptions:
    """What is measured, and on what."""

    dataset: list[str] | None = None
    train: str | None = None
    untrained: bool = False
    encoder: str = "minilm"
    method: list[str] | None = None
    size: list[int] | None = None
    bits: list[int] | None = None
    seeds: int = 1


def frontier(
    options: FrontierOptions,
    run: RunOptions,
    budget: int = 64,
    output: Path = Path("frontier"),
    plot: Path | None = None,
    report_only: bool = False,
) -> None:
    """Measure nDCG@10 against bytes a vector, and recommend a setting for a budget.

    Every head and quantiser at several sizes and bits, from 8 to 3,072 bytes a vector, with
    intervals and the Pareto front. Each query ranks all documents; with DATASET@judged those judged
    for it, with DATASET@FILE those of a TREC run. Several datasets give their mean.

    Results go to OUTPUT/results.jsonl as soon as they are known: a run that was stopped goes on
    where it was.

    [bold]Examples[/bold]

    [cyan]mpsheads frontier --dataset ./nfcorpus --budget 64 --output frontier[/cyan]

    [cyan]mpsheads frontier --dataset ./cranfield --train ./train-pairs:train --size 128 --size 64
    --plot frontier.png[/cyan]

    [cyan]mpsheads frontier --dataset ./cranfield --untrained --budget 32[/cyan]
    """
    from mpsheads import experiments as room
    from mpsheads._checks import check_positive
    from mpsheads.cli.data import pick_device, show_progress
    from mpsheads.plotting import check_format
    from mpsheads.retrieval import Encoder

    check_positive(budget=budget, seeds=options.seeds)
    if plot is not None:
        check_format(plot)
    grid = room.Grid(
        tests=tuple(options.dataset or ()),
        train=options.train,
        untrained=options.untrained,
        methods=tuple(options.method or ()),
        sizes=tuple(options.size or ()),
        bits=tuple(options.bits or ()),
        seeds=tuple(range(run.seed, run.seed + options.seeds)),
    )
    file, label = output / "results.jsonl", room.encoder_label(options.encoder)
    train, notes = options.train or "", ()
    if report_only:
        lines = room.written_lines(grid, room.read_results(file), label)
    else:
        pick_device(run.device)
        encoder = Encoder(options.encoder, device=run.device)
        runner = room.Runner(encoder, label, file, progress=show_progress())
        plan, lines = room.run_frontier(grid, runner, budget)
        train, notes = plan.train, plan.notes
    made = room.make_frontier(
        lines, budget, encoder=options.encoder, train=train, notes=notes, device=run.device
    )
    files = [str(path) for path in (file, *room.write_frontier(made, output, plot))]
    if run.as_json:
        print_json({**made.as_dict(), "files": files})
    else:
        _print(made, files)


def _print(made: "Frontier", files: list[str]) -> None:
    """The Pareto front, the recommendation, how to follow it, and what to know of it."""
    out, measured, tests = console(), made.table, made.table.tests
    places = [place for place, name in enumerate(made.columns) if name not in tests]
    rows = [[made.cells(row)[i] for i in places] for row in made.front]
    out.print(
        f"Pareto front of {len(measured.rows)} settings: {measured.encoder}, {', '.join(tests)}; "
        f"trained and fitted on {measured.train}",
        markup=False,
    )
    out.print(table([made.columns[i] for i in places], rows))
    for text in (made.recommendation.sentence, *made.notes):
        out.print(f"{text}\n", markup=False)
    for text in filter(None, [made.command, made.code]):
        out.print(f"{text}\n", markup=False, soft_wrap=True)
    out.print(f"results, report and figures: {', '.join(files)}", markup=False)
