"""The command line: `mpsheads demo | encode | train | evaluate | compare | info | plot`."""

import sys


def main() -> None:
    """Run the command line; the entry point of the `mpsheads` script."""
    try:
        from mpsheads.cli.app import app
    except ImportError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    app()
