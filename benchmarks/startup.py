"""Seconds until Python has imported torch, has a head, and until the command line answers.

Each is a fresh process; every round starts each of them once, so a busy machine slows all alike.

Example:
    python benchmarks/startup.py --repeats 7
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from timing import interleaved, print_table

TORCH = "import torch"
COMMANDS = {
    "python": ["-c", "pass"],
    TORCH: ["-c", "import torch"],
    "import mpsheads; mpsheads.MPSProjectionHead": [
        "-c",
        "import mpsheads; mpsheads.MPSProjectionHead",
    ],
    "mpsheads --help": ["-c", "import mpsheads.cli; mpsheads.cli.main()", "--help"],
    "mpsheads evalute (mistyped)": ["-c", "import mpsheads.cli; mpsheads.cli.main()", "evalute"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it as JSON if asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="measured rounds (default 7)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    functions = {name: (lambda a=tuple(args): _run(a)) for name, args in COMMANDS.items()}
    times = interleaved(functions, options.repeats, options.warmup)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows = [
        [name, f"{seconds:.2f}", f"{seconds / medians[TORCH]:.2f}x"]
        for name, seconds in medians.items()
    ]
    print_table(["fresh process", "seconds", "of import torch"], rows)
    if options.json:
        options.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")


def _run(arguments: Sequence[str]) -> None:
    """Start Python in the checkout, and wait; a mistyped command may end with an error."""
    root = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    subprocess.run(
        [sys.executable, *arguments], env=env, cwd=root, capture_output=True, check=False
    )


if __name__ == "__main__":
    main()
