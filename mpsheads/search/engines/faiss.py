"""HNSW or an inverted file of faiss over bytes."""

import math
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads.search.engines.base import Neighbours

_FILE = "faiss.bin"
_GPU_MOST = 2048  # neighbours of a search on a GPU
_AT_ONCE = 8192  # rows as floats


class Faiss(Neighbours):
    """A graph of neighbours (HNSW), or lists around centroids (IVF), over 8 bits a number.

    Options: `kind`, `"hnsw"` or `"ivf"`; of a graph `connectivity`, 2 at least, and `expansion`,
    how many points are kept in view while adding and searching; of lists `lists`, by default twice
    the square root of the number of rows, and `probes`, how many are read, by default a fifth
    of them, 8 at least; `oversample`, by default 5 candidates for each wanted row.

    faiss cannot take points out of a graph: `keep` builds it anew. Lists are searched on the GPUs
    that a build of faiss for them sees; we had none, so that branch of `_nearest` never ran.

    Memory: `width` bytes a row, 16 for its keys, and `8 * connectivity` for a graph.
    """

    name = "faiss"
    files = (_FILE,)
    defaults = {  # noqa: RUF012
        "kind": "hnsw", "connectivity": 16, "expansion": 64, "lists": None, "probes": None,
        "oversample": None,
    }  # fmt: skip

    _gpu: Any = None

    def _open(self, sample: np.ndarray, rows: int) -> None:
        self._faiss: Any = optional_import("faiss", "search")
        check_choice("kind", self.options["kind"], ("hnsw", "ivf"))
        lists = self.options["lists"] or max(1, min(rows, round(2 * math.sqrt(rows))))
        if not rows or lists > len(sample):  # faiss may end the process
            raise ValueError(f"`lists` must be at most the {len(sample)} passages, got {lists}.")
        self._index = self._empty(sample.shape[1], lists)
        self._index.train(sample)

    def _empty(self, width: int, lists: int) -> Any:
        faiss, kind = self._faiss, self._faiss.ScalarQuantizer.QT_8bit
        if self.options["kind"] == "hnsw":
            index = faiss.IndexHNSWSQ(width, kind, self.options["connectivity"], faiss.METRIC_L2)
            index.hnsw.efConstruction = self.options["expansion"]
            return index
        centroids = faiss.IndexFlatL2(width)
        index = faiss.IndexIVFScalarQuantizer(centroids, width, lists, kind, faiss.METRIC_L2)
        index.cp.min_points_per_centroid = 1  # else it warns of few
        return index

    def _insert(self, keys: np.ndarray, points: np.ndarray) -> None:
        self._gpu = None
        if self.options["kind"] == "hnsw":
            self._index.add(points)  # keys are places
        else:
            self._index.add_with_ids(points, keys)

    def _remove(self, keys: np.ndarray) -> None:
        self._gpu = None
        self._index.remove_ids(keys)

    def keep(self, mask: Tensor) -> Self:
        """Lists without the points of the other rows, or a graph built anew of the same bytes."""
        if self.options["kind"] == "ivf":
            return super().keep(mask)
        kept, old = copy(self), self._faiss.downcast_index(self._index.storage)
        kept.keys, kept._index = np.arange(int(mask.sum())), self._empty(self._index.d, 0)
        self._faiss.downcast_index(kept._index.storage).sq = old.sq
        kept._index.is_trained = kept._index.storage.is_trained = True
        for rows in mask.nonzero()[:, 0].split(_AT_ONCE):
            kept._index.add(old.reconstruct_batch(rows.numpy()))
        return kept

    def _nearest(self, points: np.ndarray, count: int) -> list[np.ndarray]:
        faiss, index = self._faiss, self._index
        if self.options["kind"] == "hnsw":
            reach = max(count, self.options["expansion"])
            _, found = index.search(
                points, count, params=faiss.SearchParametersHNSW(efSearch=reach)
            )
        else:
            probes = self.options["probes"] or max(8, index.nlist // 5)
            probes = max(probes, 2 * index.nlist * count // index.ntotal)  # they must hold so many
            if getattr(faiss, "get_num_gpus", int)() and count <= _GPU_MOST:
                self._gpu = index = self._gpu or faiss.index_cpu_to_all_gpus(self._index)
            params = faiss.SearchParametersIVF(nprobe=min(probes, self._index.nlist))
            _, found = index.search(points, count, params=params)
        return list(found)  # -1 where there are fewer

    def _write(self, folder: Path) -> None:
        self._faiss.write_index(self._index, str(folder / _FILE))

    def _read(self, folder: Path) -> int:
        self._faiss = optional_import("faiss", "search")
        self._index = self._faiss.read_index(str(folder / _FILE))
        return self._index.ntotal

    @property
    def nbytes(self) -> int:
        """Bytes of points and keys, and of the graph or the centroids."""
        index, rows = self._index, self._index.ntotal
        if self.options["kind"] == "ivf":
            return rows * (index.code_size + 8) + 4 * index.nlist * index.d + self.keys.nbytes
        graph = index.hnsw
        links = 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
        return rows * index.storage.sa_code_size() + links + self.keys.nbytes
