"""The command line, `mpsheads COMMAND`.

No module of this room imports anything heavy before a command runs, so that help comes at once:
what a command needs is imported in its body.
"""

import sys


def main() -> None:
    """Run the command line; the entry point of the `mpsheads` script."""
    try:
        from mpsheads.cli.app import app
    except ImportError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    app()
