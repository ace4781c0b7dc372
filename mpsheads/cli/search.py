"""`mpsheads search`: questions to an index."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import option, typer
from mpsheads.cli.output import console, print_json

if TYPE_CHECKING:
    from mpsheads.search import Index

_QUERIES = "Many queries: a file with ids and texts, as passages are read."
_SHOWN = 300  # characters of a passage
_AT_ONCE = 256  # queries


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.")],
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="A question.")] = None,
    top: Annotated[int, option("Passages of a query.", "Search")] = 10,
    queries: Annotated[str | None, option(_QUERIES, "Search", "FILE")] = None,
    run: Annotated[
        Path | None, option("Write the rankings of --queries as a TREC run.", "Search", "FILE")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the passages that answer a question.

    Without a question, one is asked for after the other, until an empty line.

    [bold]Examples[/bold]

    [cyan]mpsheads search idx "why do cats purr" --top 3[/cyan]

    [cyan]mpsheads search idx --queries questions.jsonl --run answers.trec[/cyan]
    """
    from mpsheads._checks import check_positive
    from mpsheads.search import Index

    check_positive(top=top)
    if query is not None and queries is not None:
        raise ValueError("Give a question or `queries`, not both.")
    if run is not None and queries is None:
        raise ValueError("`run` holds the rankings of `queries`: give these.")
    held = Index.load(index)
    if queries is not None:
        _answer_all(held, queries, top, run, as_json)
    elif query is not None:
        _answer(held, query, top, as_json)
    else:
        with contextlib.suppress(EOFError):
            while line := console(stderr=True).input("[bold]query>[/bold] ").strip():
                _answer(held, line, top, as_json)


def _answer(index: "Index", query: str, top: int, as_json: bool) -> None:
    hits = _hits(index, [query], top)[0]
    if as_json:
        print_json({"query": query, "hits": hits})
        return
    out = console()
    for place, hit in enumerate(hits, 1):
        out.print(f"[bold]{place:2d}[/bold]  {hit['score']:.4f}  ", end="", markup=True)
        out.print(hit["id"], style="cyan")
        if hit["text"]:
            text = " ".join(hit["text"].split())
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
            out.print(shown, soft_wrap=False)
    if not hits:
        out.print("The index is empty.")


def _answer_all(index: "Index", queries: str, top: int, run: Path | None, as_json: bool) -> None:
    """Rank the passages of a file's queries."""
    from mpsheads.retrieval import Passages, write_run

    read = Passages(queries)
    read.check()
    asked = list(read)
    rankings: dict[str, Any] = {}
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        hits = _hits(index, [each.text for each in part], top)
        rankings |= {each.id: found for each, found in zip(part, hits, strict=True)}
    if run is not None:
        scores = {q: {hit["id"]: hit["score"] for hit in hits} for q, hits in rankings.items()}
        write_run(scores, run)
        if as_json:
            print_json({"queries": len(asked), "run": str(run)})
        else:
            console().print(f"rankings of {len(asked):,} queries written to {run}")
    elif as_json:
        print_json(rankings)
    else:
        for each in asked:
            named = ", ".join(f"{hit['id']} {hit['score']:.3f}" for hit in rankings[each.id])
            console().print(f"{each.id}: {named}", soft_wrap=True)


def _hits(index: "Index", texts: list[str], top: int) -> list[list[dict[str, Any]]]:
    from mpsheads.search.storage import hits_at

    x = index.query_encoder.encode(texts, kind="query")
    found = zip(*index.search_rows(x, min(top, len(index) or top)), strict=True)
    return [hits_at(index.table, rows, scores) for rows, scores in found]
