"""Optional packages: imported on use, with an error that says which extra to install."""

import importlib
from types import ModuleType, TracebackType


class installed_by:
    """Turns a missing package into an error that names the extra which installs it.

    `with installed_by("sentence-transformers", "sentence_transformers"): import ...` is for modules
    that subclass the package's classes, and so cannot wait; others call `optional_import`.

    Args:
        extra: The extra of mpsheads.
        module: The module whose package may be missing; any other missing package is a fault of
            the installation and passes.
    """

    def __init__(self, extra: str, module: str) -> None:
        self.extra, self.package = extra, module.split(".")[0]

    def __enter__(self) -> None:
        """Nothing is prepared."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise `ImportError` in place of the missing package's own error."""
        if not isinstance(error, ModuleNotFoundError) or error.name is None:
            return
        if error.name.split(".")[0] == self.package:
            raise ImportError(
                f"This needs the package `{error.name}`. "
                f'Install it with: pip install "mpsheads[{self.extra}]"'
            ) from error


def optional_import(module: str, extra: str) -> ModuleType:
    """Import `module`, which the extra `extra` of mpsheads installs.

    Raises:
        ImportError: If it is missing; the message holds the command that installs it.
    """
    with installed_by(extra, module):
        return importlib.import_module(module)
