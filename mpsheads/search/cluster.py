"""Many machines by Ray: shards are encoded over them, and searched over them."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache, partial
from itertools import chain
from socket import create_connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads._files import as_path
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.search.index import Index
from mpsheads.search.shards import Over, read_manifest

_RETRIES = 3  # of a shard whose worker or machine died
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "error",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of one part, where another one's is raised
}
# A part takes no CPU of Ray's, so that one that begins anew never waits for one.
_LASTING = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}


def on_ray(address: str = "auto", *, gpu: bool = False) -> Over:
    """The machines of a cluster, for `encode_passages(..., over=on_ray())`.

    The passages are read here; each shard is a task of one CPU, or of one GPU, and done again
    elsewhere if its worker or machine dies. The files are those of one machine of the same kind,
    byte by byte. All machines must see the output, and the model, under the same path.

    Args:
        address: `"auto"` for the cluster that this machine belongs to, `"local"` for a new one of
            this machine alone, or an address such as `"10.0.0.1:6379"`. Where the program is
            connected to Ray, that is what is taken.
        gpu: Whether a shard takes a GPU, for an encoder on `"cuda"`.

    Raises:
        ImportError: If Ray is missing.
    """
    _import_ray()
    kind = "GPU" if gpu else "CPU"

    def over(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        with _connected(address) as ray:
            if not ray.cluster_resources().get(kind):
                raise ValueError(f"The cluster has no {kind}.")
            how = {"num_cpus": 1, "num_gpus": int(gpu), "max_retries": _RETRIES}
            task = ray.remote(scheduling_strategy="SPREAD", **how)(_call)
            held, running = [ray.put(function)], []
            for number, item in enumerate(items):
                running.append(task.remote(held, item))
                most = ray.cluster_resources().get(kind, 0) if number else 0
                while len(running) > most:  # so one waits; the first is alone
                    done, running = ray.wait(running)
                    yield from _results(ray, done)
            yield from _results(ray, running)

    return over


class ShardedIndex:
    """Passages of which each machine of a cluster holds a part, searched as one exact `Index`.

    Answers are those of one index, up to rounding; equal scores are in the order of rows. A part
    whose machine dies is built again elsewhere, and asked again.

    Args:
        source: A folder that `encode_passages` wrote, or folders of saved indexes, with a part
            each. All machines must see them.
        address: As for `on_ray`.
        parts: Of a folder: how many; 0 for one each machine. More use more cores.

    Raises:
        ImportError: If Ray is missing.
        ConnectionError: If none answers.
        FileNotFoundError, ValueError: As `Index.build` and `Index.load` do.
    """

    def __init__(
        self, source: PathLike | Sequence[PathLike], *, address: str = "auto", parts: int = 0
    ) -> None:
        with ExitStack() as stack:
            self._ray = ray = stack.enter_context(_connected(address))
            if isinstance(source, str | os.PathLike):
                folder = as_path(source).resolve()
                names = list(read_manifest(folder).shards)
                count = parts or sum(node["Alive"] for node in ray.nodes())
                runs = np.array_split(names, max(1, min(count, len(names))))
                made = [partial(Index.build, folder, shards=run.tolist()) for run in runs]
            else:
                made = [partial(Index.load, as_path(path).resolve()) for path in source]
            part = ray.remote(scheduling_strategy="SPREAD", **_LASTING)(_Part)
            self._parts = [part.remote(make) for make in made]
            for actor in self._parts:
                stack.callback(ray.kill, actor)
            self._length = sum(_results(ray, [part.length.remote() for part in self._parts]))
            self.close = stack.pop_all().close

    def __len__(self) -> int:
        return self._length

    def search(
        self, queries: Tensor | np.ndarray, k: int = 10, *, where: Any = None
    ) -> tuple[list[list[str]], list[list[float]]]:
        """As `Index.search`: ids and scores of the closest passages of each query."""
        if isinstance(where, Iterable) and not isinstance(where, str):
            where = list(where)  # which can be sent
        x = torch.as_tensor(queries)
        asked = [part.search.remote(x, k, where) for part in self._parts]
        ids, scores = [], []
        for each in zip(*(zip(*a, strict=True) for a in _results(self._ray, asked)), strict=True):
            pairs = chain.from_iterable(zip(s, i, strict=True) for i, s in each)
            best = sorted(pairs, key=lambda pair: -pair[0])[:k]  # stable: ties by order of rows
            ids.append([name for _, name in best])
            scores.append([score for score, _ in best])
        return ids, scores


class _Part:
    """A worker that holds an index, which a method builds so that its errors come back."""

    def __init__(self, make: Callable[[], Index]) -> None:
        self.make = make

    @cached_property
    def index(self) -> Index:
        return self.make()

    def length(self) -> int:
        return len(self.index)

    def search(self, queries: Tensor, k: int, where: Any) -> Any:
        return self.index.search(queries, k, where=where)


_fetch = lru_cache(maxsize=1)(lambda held: _import_ray().get(held))  # a worker keeps its encoder


def _call(held: list[Any], item: Any) -> Any:
    return _fetch(held[0])(item)


def _import_ray() -> Any:
    """Ray, whose messages stay in its files."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    return optional_import("ray", "ray")


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, as the program is connected to it, or else for the time of the block."""
    ray = _import_ray()
    with ExitStack() as stack:
        if not ray.is_initialized():
            if ":" in address:  # else Ray takes minutes to give up
                host, port = address.rsplit(":", 1)
                try:
                    create_connection((host, port), timeout=10).close()  # pyright: ignore
                except OSError as error:
                    raise ConnectionError(f"No Ray answers at {address}: {error}.") from error
            new = {"object_store_memory": 1 << 28, "include_dashboard": False}
            options = {"log_to_driver": False, "logging_level": logging.ERROR}
            ray.init(address, **options, **(new if address == "local" else {}))
            stack.callback(ray.shutdown)
        yield ray


def _results(ray: Any, tasks: list[Any]) -> list[Any]:
    """What tasks return; raises what they raise."""
    try:
        return ray.get(tasks)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ChildProcessError(f"A worker died {_RETRIES + 1} times: {error}") from error
