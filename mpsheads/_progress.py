"""A progress bar on stderr, shown only on request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mpsheads._optional import optional_import


@contextmanager
def progress_bar(description: str, total: int, *, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar with the elapsed and the remaining time while the block runs, if it is enabled.

    Yields a function that takes how many more of `total` are done.
    """
    if not enabled or total == 0:
        yield lambda _: None
        return
    rich = optional_import("rich.progress", "retrieval")
    console = optional_import("rich.console", "retrieval").Console(stderr=True)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)
