"""`mpsheads models`: the encoders with a short name, and how they get here."""

from typing import Annotated

from mpsheads.cli import options
from mpsheads.cli.options import typer
from mpsheads.cli.output import console, print_json, table


def models(
    action: Annotated[str | None, typer.Argument(help="Download a model.", metavar="fetch")] = None,
    name: Annotated[str | None, typer.Argument(help="Which one.", metavar="NAME")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the encoders with a short name, or fetch one of them.

    Other models of the Hugging Face hub need no fetching: give their name to --encoder.

    [bold]Examples[/bold]

    [cyan]mpsheads models --json[/cyan]

    [cyan]mpsheads models fetch mpnet[/cyan]
    """
    from mpsheads.retrieval import NAMED_MODELS, fetch_model

    if action not in (None, "fetch"):
        raise ValueError(
            f'After `mpsheads models` there may only be "fetch" and a name, got {action!r}.'
        )
    if action is None:
        _list(as_json)
        return
    if name is None:
        raise ValueError(f"Give `name`, the model to fetch: {', '.join(NAMED_MODELS)}.")
    was_here = name in NAMED_MODELS and NAMED_MODELS[name].find() is not None
    folder = fetch_model(name)
    if as_json:
        print_json({"name": name, "folder": str(folder), "fetched": not was_here})
        return
    console().print(f"{name} is in {folder}", soft_wrap=True)


def _list(as_json: bool) -> None:
    from mpsheads.retrieval import NAMED_MODELS

    names = ("name", "source", "features", "megabytes")
    rows = [{name: getattr(each, name) for name in names} for each in NAMED_MODELS.values()]
    for row in rows:
        folder = NAMED_MODELS[row["name"]].find()
        row["folder"] = folder and str(folder)
    if as_json:
        print_json({"models": rows})
        return
    cells = [
        [row["name"], row["source"], "yes" if row["folder"] else "no", *map(str, sizes)]
        for row in rows
        if (sizes := (row["features"], row["megabytes"]))
    ]
    out = console()
    out.print(table(["model", "from", "here", "features", "MB"], cells, left=3))
    out.print("mpsheads models fetch NAME brings one that is not here; --encoder NAME uses it.")
