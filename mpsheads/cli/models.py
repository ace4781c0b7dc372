"""`mpsheads models`: the encoders with a short name, and how they get here."""

from mpsheads.cli.options import PrintOptions
from mpsheads.cli.output import console, print_json, table


def models(
    shown: PrintOptions,
    action: str | None = None,
    name: str | None = None,
) -> None:
    """List the encoders with a short name, or fetch one of them.

    Other models of the Hugging Face hub need no fetching: give their name to --encoder.

    [bold]Examples[/bold]

    [cyan]mpsheads models --json[/cyan]

    [cyan]mpsheads models fetch mpnet[/cyan]
    """
    from mpsheads.retrieval import NAMED_MODELS

    if action not in (None, "fetch"):
        raise ValueError(
            f'After `mpsheads models` there may only be "fetch" and a name, got {action!r}.'
        )
    if action is None:
        _list(shown.as_json)
    elif name is None:
        raise ValueError(f"Give `name`, the model to fetch: {', '.join(NAMED_MODELS)}.")
    else:
        _fetch(name, shown.as_json)


def _list(as_json: bool) -> None:
    from mpsheads.retrieval import NAMED_MODELS

    folders = {name: model.find() for name, model in NAMED_MODELS.items()}
    if as_json:
        rows = [
            {
                **{f: getattr(model, f) for f in ("name", "features", "megabytes", "source")},
                "folder": None if folders[name] is None else str(folders[name]),
            }
            for name, model in NAMED_MODELS.items()
        ]
        print_json({"models": rows})
        return
    cells = [
        [name, model.source, "yes" if folders[name] else "no", *map(str, sizes)]
        for name, model in NAMED_MODELS.items()
        if (sizes := (model.features, model.megabytes))
    ]
    out = console()
    out.print(table(["model", "from", "here", "features", "MB"], cells, left=3))
    out.print("mpsheads models fetch NAME brings one that is not here; --encoder NAME uses it.")


def _fetch(name: str, as_json: bool) -> None:
    from mpsheads.cli.data import show_progress
    from mpsheads.retrieval import NAMED_MODELS, fetch_model

    was_here = name in NAMED_MODELS and NAMED_MODELS[name].find() is not None
    folder = fetch_model(name, progress=show_progress())
    if as_json:
        print_json({"name": name, "folder": str(folder), "fetched": not was_here})
    else:
        words = "was here already, in" if was_here else "is in"
        console().print(f"{name} {words} {folder}", soft_wrap=True, markup=False)
