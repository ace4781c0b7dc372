"""`mpsheads models`: the encoders with a short name, and how they get here."""

from typing import Annotated

from mpsheads.cli.options import RUN, argument, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.sources import show_progress
from mpsheads.retrieval import NAMED_MODELS, fetch_model


def models(
    action: Annotated[str | None, argument("Download a model.", "fetch")] = None,
    name: Annotated[str | None, argument("Which one.", "NAME")] = None,
    force: Annotated[
        bool, option(RUN, "Fetch it also if it is here, and replace it.", flag="--force")
    ] = False,
    as_json: Annotated[bool, option(RUN, "Print JSON instead of a table.", flag="--json")] = False,
    debug: Annotated[bool, option(RUN, "Show the traceback of an error.", flag="--debug")] = False,
) -> None:
    """List the encoders with a short name, or fetch one of them.

    Other models of the Hugging Face hub need no fetching: give their name to --encoder.

    [bold]Examples[/bold]

    [cyan]mpsheads models --json[/cyan]

    [cyan]mpsheads models fetch mpnet[/cyan]
    """
    if action is None:
        if force:
            raise ValueError("`force` goes with a model to fetch: mpsheads models fetch mpnet")
        _list(as_json)
        return
    if action != "fetch":
        raise ValueError(
            f'After `mpsheads models` there may only be "fetch" and a name, got {action!r}.'
        )
    if name is None:
        raise ValueError(f"Give `name`, the model to fetch: {', '.join(NAMED_MODELS)}.")
    _fetch(name, force, as_json)


def _list(as_json: bool) -> None:
    found = [
        {
            "name": model.name,
            "features": model.features,
            "megabytes": model.megabytes,
            "source": model.source,
            "folder": None if (folder := model.find()) is None else str(folder),
        }
        for model in NAMED_MODELS.values()
    ]
    if as_json:
        print_json({"models": found})
        return
    rows = [
        [
            str(model["name"]),
            str(model["source"]),
            "yes" if model["folder"] else "no",
            str(model["features"]),
            str(model["megabytes"]),
        ]
        for model in found
    ]
    out = console()
    out.print(table(["model", "from", "here", "features", "MB"], rows, left=3))
    out.print("mpsheads models fetch NAME brings one that is not here; --encoder NAME uses it.")


def _fetch(name: str, force: bool, as_json: bool) -> None:
    was_here = name in NAMED_MODELS and NAMED_MODELS[name].find() is not None
    folder = fetch_model(name, force=force, progress=show_progress())
    if as_json:
        print_json({"name": name, "folder": str(folder), "fetched": force or not was_here})
    else:
        words = "was here already, in" if was_here and not force else "is in"
        console().print(f"{name} {words} {folder}", soft_wrap=True, markup=False)
