"""Fixtures that every room shares."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.servers import postgres_server

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if not torch.cuda.is_available():  # before anything imports Triton
    os.environ.setdefault("TRITON_INTERPRET", "1")
gc.disable()  # until tests are collected: looking for waste among what packages hold takes seconds

settings.register_profile("ci", deadline=None, max_examples=15, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=1800, print_blob=True)
settings.load_profile("ci")  # unless --hypothesis-profile names the other

LONG = ("tests/compiled/", "tests/search/test_cluster.py", "tests/integrations/test_training.py")
ROOT = Path(__file__).resolve().parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file that is slow as a whole before it is imported."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.slow" in collection_path.read_text() or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden numbers and real collections; a test that needs it skips without."""
    folder = Path(os.environ.get("MPSHEADS_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip("The golden numbers and collections are not at hand.")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a PostgreSQL server with pgvector, of this session alone."""
    with postgres_server() as dsn:
        yield dsn
