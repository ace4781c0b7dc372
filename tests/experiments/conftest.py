"""The small collection and the tiny encoder of the tests of commands."""

from tests.cli.conftest import beir, model_folder

__all__ = ["beir", "model_folder"]
