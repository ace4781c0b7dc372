"""Optional packages: imported on use, with an error that says which extra to install."""

import importlib
from types import ModuleType


def optional_import(module: str, extra: str) -> ModuleType:
    """Import `module`, which the extra `extra` of mpsheads installs.

    Raises:
        ImportError: If it is missing; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"This needs the package `{error.name}`. "
            f'Install it with: pip install "mpsheads[{extra}]"'
        ) from error
