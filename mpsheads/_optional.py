"""Optional packages: imported on use, with an error that says which extra to install."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def installed_by(extra: str, module: str) -> Iterator[None]:
    """Turn a missing package into an `ImportError` that names the extra which installs it.

    `with installed_by("sentence-transformers", "sentence_transformers"): import ...` is for modules
    that subclass the package's classes, and so cannot wait; others call `optional_import`. Any
    other missing package is a fault of the installation and passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"This needs the package `{error.name}`. "
            f'Install it with: pip install "mpsheads[{extra}]"'
        ) from error


def optional_import(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise an `ImportError` that names the extra of mpsheads to install."""
    with installed_by(extra, module):
        return importlib.import_module(module)
