"""Packages that are imported when a test first uses them, so that collecting tests stays fast."""

import importlib

import pytest


class Later:
    """Stands for a module; a test that uses it skips where another package is missing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str):
        if attribute.startswith("_"):  # pytest asks each object of a module for `__wrapped__`
            raise AttributeError(attribute)
        take = importlib.import_module if "mpsheads" in self.name else pytest.importorskip
        return getattr(take(self.name), attribute)
