"""HNSW of usearch over bytes or bits."""

from pathlib import Path

import numpy as np
import torch

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads.search.engines.base import Neighbours, eight_bits

_FILE = "usearch.bin"


class Usearch(Neighbours):
    """A graph of neighbours (HNSW) over 8 bits a number, or over 1 bit by Hamming distance.

    Options: `connectivity`, the neighbours of a point in the graph, 2 at least; `expansion`, how
    many points are kept in view while adding and searching; `bits`, 8 or 1; `oversample`, by
    default 5 candidates for each wanted row, and 50 with 1 bit.

    Memory: `width * bits / 8` bytes a row, about `8 * connectivity` for the graph, 8 for the key,
    and some megabytes that usearch sets aside. Searching and adding use torch's number of threads.
    """

    name = "usearch"
    files = (_FILE,)
    defaults = {"connectivity": 16, "expansion": 64, "bits": 8, "oversample": None}  # noqa: RUF012

    def _open(self, sample: np.ndarray, rows: int) -> None:
        library = optional_import("usearch.index", "search")
        check_choice("bits", self.options["bits"], (8, 1))
        # bytes are read as bits unless they are declared in every call
        one_bit, kinds, metrics = self.options["bits"] == 1, library.ScalarKind, library.MetricKind
        self._kind = kinds.B1 if one_bit else kinds.I8
        self._index = library.Index(
            ndim=-(-sample.shape[1] // 8) * 8 if one_bit else sample.shape[1],
            metric=metrics.Hamming if one_bit else metrics.L2sq,
            dtype=self._kind,
            connectivity=self.options["connectivity"],
            expansion_add=self.options["expansion"],
            expansion_search=self.options["expansion"],
        )

    def _packed(self, points: np.ndarray) -> np.ndarray:
        if self.options["bits"] == 8:
            return eight_bits(points)
        return np.packbits(points > 0, axis=1)

    def _insert(self, keys: np.ndarray, points: np.ndarray) -> None:
        threads = torch.get_num_threads()
        self._index.add(keys, self._packed(points), dtype=self._kind, threads=threads)

    def _remove(self, keys: np.ndarray) -> None:
        self._index.remove(keys)

    def _nearest(self, points: np.ndarray, count: int) -> list[np.ndarray]:
        packed, threads = self._packed(points), torch.get_num_threads()
        found = self._index.search(packed, count, dtype=self._kind, threads=threads)
        return list(np.atleast_2d(found.keys).astype(np.int64))  # 0 where there are fewer

    def _write(self, folder: Path) -> None:
        self._index.save(str(folder / _FILE))

    def _read(self, folder: Path) -> int:
        self._open(self.centre[None].numpy(), 1)
        self._index.load(str(folder / _FILE))
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes that usearch holds, those set aside included, and 8 a row."""
        return self._index.memory_usage + self.keys.nbytes
