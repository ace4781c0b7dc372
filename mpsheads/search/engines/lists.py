"""An inverted file over codes: few lists are read instead of all codes."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import check_equal, check_finite
from mpsheads._optional import optional_import
from mpsheads.heads import ProjectionHead
from mpsheads.search.engines.base import Engine, as_floats
from mpsheads.similarity import Codes

_DECODED = 8192  # codes at once
_FILE = "lists.safetensors"


class Lists(Engine):
    """An inverted file: codes are in the list of their nearest centroid, and few lists are read.

    Centroids are those of faiss's k-means on what a sample of the codes stands for. The codes stay
    as they are: on disk there are 4 bytes a passage beside them, for the number of its list.

    Options: `lists`, by default twice the square root of the number of rows; `probes`, how many are
    read for a query, by default a fifth of them, 8 at least; `seed`, of the sample and of k-means.

    Args:
        centroids: `(lists, width)`, of norm 1 where vectors are compared by cosine.
        lists: The list of each row, `(rows,)`, int32.
        probes: How many lists are read for a query.
    """

    name = "lists"
    defaults = {"lists": None, "probes": None, "seed": 0}  # noqa: RUF012

    def __init__(self, centroids: Tensor, lists: Tensor, probes: int) -> None:
        self.centroids, self.lists, self.probes = centroids, lists, probes
        self._order: Tensor | None = None
        self._starts = torch.empty(0)

    @classmethod
    def build(cls, codes: Codes, head: ProjectionHead, **options: Any) -> "Lists":
        """Find centroids and put each row into a list."""
        given = cls._checked(options)
        faiss = optional_import("faiss", "search")
        seed, count = given["seed"], given["lists"]
        count = count or max(1, min(len(codes), round(2 * math.sqrt(len(codes)))))
        probes = given["probes"] or max(8, count // 5)
        if count > len(codes):
            raise ValueError(f"`lists` must be at most the {len(codes)} passages, got {count}.")
        generator = torch.Generator().manual_seed(seed)
        sample = torch.randperm(len(codes), generator=generator)[: 64 * count].sort().values
        points = as_floats(codes[sample], unit=True).numpy()
        # k-means wants at least as many points as centroids, and warns below 39 for each
        means = faiss.Kmeans(
            points.shape[1], count, niter=10, seed=seed, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=1 << 30,
        )  # fmt: skip
        means.train(points)
        made = cls(
            torch.from_numpy(means.centroids).clone(), torch.empty(0, dtype=torch.int32), probes
        )
        made.add(codes)
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of centroids, and 12 a passage: its list, and its place in the order of lists."""
        return 4 * self.centroids.numel() + 12 * len(self.lists)

    def add(self, codes: Codes) -> None:
        """Put rows into the lists of their nearest centroids."""
        nearest = [
            (as_floats(codes[s : s + _DECODED], unit=True) @ self.centroids.T).argmax(1).int()
            for s in range(0, len(codes), _DECODED)
        ]
        self.lists, self._order = torch.cat([self.lists, *nearest]), None

    def keep(self, mask: Tensor) -> "Lists":
        """The same centroids with fewer rows."""
        return Lists(self.centroids, self.lists[mask], self.probes)

    def candidates(self, z: Tensor, k: int, allowed: Tensor | None) -> list[Tensor]:
        """The rows of the nearest lists: more lists where these hold too few that are allowed."""
        if self._order is None:
            self._order = self.lists.argsort(stable=True)
            ends = torch.bincount(self.lists, minlength=len(self.centroids)).cumsum(0)
            self._starts = torch.nn.functional.pad(ends, (1, 0))
        open_rows = None
        if allowed is not None:
            open_rows = torch.zeros(len(self.lists), dtype=torch.bool)
            open_rows[allowed] = True
        near = (as_floats(z, unit=True) @ self.centroids.T).argsort(1, descending=True)
        return [self._rows(order.tolist(), k, open_rows) for order in near]

    def _rows(self, order: list[int], k: int, open_rows: Tensor | None) -> Tensor:
        assert self._order is not None
        parts, found = [], 0
        for place, number in enumerate(order):
            if place >= self.probes and found >= k:
                break
            rows = self._order[int(self._starts[number]) : int(self._starts[number + 1])]
            rows = rows if open_rows is None else rows[open_rows[rows]]
            parts.append(rows)
            found += len(rows)
        return torch.cat(parts).sort().values

    def save(self, folder: Path) -> None:
        """Write centroids and lists."""
        from safetensors.torch import save_file

        parts = {"centroids": self.centroids, "lists": self.lists}
        save_file(parts | {"probes": torch.tensor(self.probes)}, folder / _FILE)

    @classmethod
    def load(cls, folder: Path, codes: Codes, head: ProjectionHead) -> "Lists":
        """Read them back."""
        from safetensors.torch import load_file

        parts = load_file(folder / _FILE)
        lists, centroids = parts["lists"], parts["centroids"].float()
        if lists.shape != (len(codes),):
            raise ValueError(f"{cls.name} has {lists.numel()} rows for {len(codes)} codes")
        check_equal("shape", centroids=tuple(centroids.shape), codes=(len(centroids), codes.width))
        check_finite("centroids", centroids)
        if len(lists) and not 0 <= int(lists.min()) <= int(lists.max()) < len(centroids):
            raise ValueError(f"{_FILE} names a list that is not there")
        return cls(centroids, lists.int(), int(parts["probes"]))
