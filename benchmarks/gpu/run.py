"""All measurements on one card, written to one folder as they come.

Example:
    bash benchmarks/gpu.sh results parcel
    python -m benchmarks.gpu.run --device cpu --tiny --output /tmp/rehearsal
"""

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu import tables
from benchmarks.gpu.measure import Limits
from benchmarks.gpu.report import Report


def main(arguments: Sequence[str] | None = None) -> None:
    """Make each table in its turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    parser.add_argument("--parcel", type=Path, help="folder that parcel.py packed")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--seconds", type=float, default=420, help="in all (default 420)")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: small problems")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no card here. A rehearsal: --device cpu --tiny.")
    if options.device == "cpu":
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton
    torch.manual_seed(0)
    sizes = tables.Sizes.tiny() if options.tiny else tables.Sizes()
    report, device = Report(options.output, options.seconds), options.device
    limit = Limits.measured(device, sizes.square)
    report.table("Limits", lambda: tables.limits(limit), _machine())
    report.table("Heads", lambda: list(tables.heads(device, sizes, limit)))
    report.table("Circuits", lambda: list(tables.circuits(device, sizes, limit)))
    report.table("Codes", lambda: list(tables.codes(device, sizes, limit)))
    report.table("Similarity", lambda: list(tables.similarities(device, sizes, limit)))
    report.table("Pairs of states", lambda: list(tables.pairs(device, sizes, limit)))
    if options.parcel is not None:
        from benchmarks.gpu.training import last_layers

        report.table("Training", lambda: list(last_layers(options.parcel, device)))
    if not options.tiny:
        report.table("Compiled", lambda: list(tables.compiled(device, sizes, limit)))
    print(report.markdown())


def _machine() -> str:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return f"{card or platform.machine()}, torch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    main()
