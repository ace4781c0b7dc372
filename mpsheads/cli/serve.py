"""`mpsheads serve`: an index on the web."""

import contextlib
import socket
from pathlib import Path
from typing import Annotated

from mpsheads._optional import optional_import
from mpsheads.cli.options import option, typer
from mpsheads.cli.output import console

_HOST = "Address to listen at; 0.0.0.0 for all that this machine has."
_TOKEN = "What requests must bear; the variable keeps it out of the list of processes."


def serve(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.")],
    port: Annotated[int, option("Port; 0 for a free one.", "Service")] = 8080,
    host: Annotated[str, option(_HOST, "Service")] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(envvar="MPSHEADS_TOKEN", help=_TOKEN, rich_help_panel="Service"),
    ] = None,
) -> None:
    """Serve an index: a page to search by hand, and hits as JSON.

    The page sets the hits beside those of the uncompressed vectors where mpsheads index was run
    with --keep-vectors. Ctrl-C ends the service.

    [bold]Examples[/bold]

    [cyan]mpsheads serve idx[/cyan]

    [cyan]MPSHEADS_TOKEN=secret mpsheads serve idx --host 0.0.0.0 --port 9000[/cyan]
    """
    from mpsheads.search import Index, read_manifest
    from mpsheads.search.index import PASSAGES
    from mpsheads.search.serve import make_app

    uvicorn = optional_import("uvicorn", "serve")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))  # nobody gets in before all is loaded
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or f"{error}".rstrip(".")
            raise ValueError(f"`port` {port} of {host} cannot be had: {why}.") from error
        shards = index / PASSAGES
        kept = (shards / "manifest.json").is_file() and read_manifest(shards).keep_vectors
        app = make_app(Index.load(index), token=token, shards=shards if kept else None)
        place.listen()
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}"
        console().print(f"{index} is served at {address}; Ctrl-C ends it", soft_wrap=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[place])
