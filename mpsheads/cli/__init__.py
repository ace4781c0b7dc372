"""The command line, `mpsheads COMMAND`.

No module of this room imports anything heavy before a command runs, so that help comes at once:
what a command needs is imported in its body.
"""

import os
import signal
import sys
from typing import Any


def main() -> None:
    """Run the command line; the entry point of the `mpsheads` script."""
    try:
        signal.signal(signal.SIGINT, _interrupt)
        from mpsheads.cli.app import app

        app()
    except ImportError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(_: int, frame: Any) -> None:
    """Ctrl-C: clean up, but not within an import, which would fail in its own way, or go on."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt
