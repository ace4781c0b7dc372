"""The interface of engines, the one that reads everything, and what those of libraries share."""

import json
import math
from abc import ABC, abstractmethod
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._checks import check_equal, check_integers, check_type
from mpsheads._files import parse_json
from mpsheads._hashes import hash_of_file
from mpsheads.heads import ProjectionHead
from mpsheads.similarity import Codes

_AT_ONCE = 8192  # rows as floats
_LEAST = {"connectivity": 2, "seed": 0}  # of options; of the others 1
_SAMPLE = 65536  # rows that say where the others lie
_FILE = "engine.safetensors"


class Engine:
    """What finds candidates among codes; the index scores them exactly, and knows the ids.

    As it stands it has no structure, and names all rows.

    Attributes:
        name: The word that chooses it.
        defaults: The options and what they are unless given; `None` is for a whole number.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}

    @classmethod
    def build(cls, codes: Codes, head: ProjectionHead, **options: Any) -> Self:
        """Make the engine for rows of codes that the head made.

        Raises:
            ImportError: If the package is missing.
            ValueError: If an option is unknown or does not fit, or codes are of states.
        """
        cls._checked(options)
        return cls()

    @classmethod
    def _checked(cls, options: dict[str, Any]) -> dict[str, Any]:
        """All options: those that are given, which must fit, and the others."""
        if unknown := sorted(set(options) - set(cls.defaults)):
            takes = ", ".join(sorted(cls.defaults)) or "no options"
            raise ValueError(f"The engine {cls.name} takes {takes}, got {', '.join(unknown)}.")
        for name, value in options.items():
            if isinstance(cls.defaults[name], str):
                check_type(name, value, str)
            elif (cls.defaults[name], value) != (None, None):
                check_integers(_LEAST.get(name, 1), **{name: value})
        return cls.defaults | options

    def add(self, codes: Codes) -> None:
        """Add rows behind those that are there."""

    def keep(self, mask: Tensor) -> Self:
        """An engine of the rows where `mask` is true, numbered anew; this one is of no use then."""
        return self

    def candidates(self, z: Tensor, k: int, allowed: Tensor | None) -> list[Tensor] | None:
        """For each compressed query the rows, ascending, that are worth an exact score.

        Args:
            z: Compressed queries `(queries, out_features)`.
            k: How many of them will be asked for.
            allowed: The rows that may be found, ascending; `None` for all.

        Returns:
            `None` to score all allowed rows.
        """

    def save(self, folder: Path) -> None:
        """Write what it needs into the folder of the index."""

    @classmethod
    def load(cls, folder: Path, codes: Codes, head: ProjectionHead) -> Self:
        """Read it back.

        Raises:
            ImportError: If the package is missing.
            ValueError: If what is there cannot be read or does not belong to these codes.
        """
        return cls()

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps in memory beside the codes."""
        return 0


class Exact(Engine):
    """All codes are read: no structure, no memory, no options, the exact answer."""

    name = "exact"


def as_floats(z: Tensor | Codes, *, unit: bool) -> Tensor:
    """Vectors, or what codes stand for, brought to norm 1 on request; float32, on the CPU."""
    x = (z.dequantize() if isinstance(z, Codes) else z.detach()).float().cpu()
    return normalize(x) if unit else x


class Neighbours(Engine, ABC):
    """An engine that is a structure of a library or a server, searched by Euclidean distance.

    Its points are what the codes stand for: unit vectors where the head compares by cosine, else
    angles, whose distances order nearly as their log-fidelity. They are moved to their mean and
    divided by one number, so that they fill [-1, 1] and 8 bits a number keep the order.

    A row has a key in the structure, and rows ascend with their keys. The structure may hold other
    keys besides, of rows that were added and never saved: they are passed over, or overwritten.

    Attributes:
        files: What the library writes.
        most: How many neighbours can be asked for at once.
        options: All options, without secrets; `oversample` says how many candidates are fetched for
            each wanted row.
        keys: The key of each row, `(rows,)`, ascending.
        centre: Where the points lie, `(width,)`.
        radius: The largest number of a sample of them after `centre` is taken off.
    """

    files: ClassVar[tuple[str, ...]] = ()
    most: int = 1 << 30
    options: dict[str, Any]

    def __init__(
        self, head: ProjectionHead, options: dict[str, Any], centre: Tensor, radius: float
    ) -> None:
        self.head, self.options, self.centre, self.radius = head, options, centre, radius
        self.keys = np.empty(0, np.int64)

    @classmethod
    def build(cls, codes: Codes, head: ProjectionHead, **options: Any) -> Self:
        """Make the structure for rows of codes."""
        known = cls._checked(options)
        if codes.kind == "state":
            raise ValueError(f"The engine {cls.name} takes vectors, not states: use exact.")
        made_of = codes[:: max(1, len(codes) // _SAMPLE)]
        sample = as_floats(made_of, unit=head.compared_by == "cosine")
        centre = sample.mean(0) if len(sample) else torch.zeros(codes.width)
        radius = float((sample - centre).abs().max()) if len(sample) else 0.0
        made = cls(head, known, centre, radius or 1.0)
        made._open(made._points(sample), len(codes))
        made.add(codes)
        return made

    @abstractmethod
    def _open(self, sample: np.ndarray, rows: int) -> None:
        """Check the options and make an empty structure, fitted to a sample of so many rows."""

    @abstractmethod
    def _insert(self, keys: np.ndarray, points: np.ndarray) -> None:
        """Put points `(rows, width)` into it under new keys."""

    @abstractmethod
    def _remove(self, keys: np.ndarray) -> None:
        """Take the points of these keys out."""

    @abstractmethod
    def _nearest(self, points: np.ndarray, count: int) -> list[np.ndarray]:
        """For each point the keys of about the nearest `count`, which are at most `most`."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write the structure, or where it is."""

    @abstractmethod
    def _read(self, folder: Path) -> int:
        """Read it back; returns how many points it holds."""

    def add(self, codes: Codes) -> None:
        """Add rows, some thousand at a time."""
        first = int(self.keys[-1]) + 1 if len(self.keys) else 0
        new = np.arange(first, first + len(codes))
        for start in range(0, len(codes), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._insert(new[part], self._points(codes[part]))
        self.keys = np.concatenate([self.keys, new])

    def keep(self, mask: Tensor) -> Self:
        """The same structure without the points of the other rows."""
        kept = copy(self)
        kept.keys = self.keys[mask.numpy()]
        kept._remove(self.keys[~mask.numpy()])
        return kept

    def candidates(self, z: Tensor, k: int, allowed: Tensor | None) -> list[Tensor] | None:
        """About `oversample * k` allowed neighbours: more are asked for where half are not met.

        Where hardly more are allowed than would be fetched, all of them are scored; so they are
        for a query whose neighbours hold too few, however many are asked for.
        """
        rows = torch.arange(len(self.keys)) if allowed is None else allowed
        wanted = self.options["oversample"] or (50 if self.options.get("bits") == 1 else 5)
        count = math.ceil(wanted * k * len(self.keys) / max(1, len(rows)))
        if count >= len(rows):
            return None
        mask = np.zeros(len(self.keys), bool)
        mask[rows.numpy()] = True
        found, waiting, points = [rows] * len(z), list(range(len(z))), self._points(z)
        limit, enough = min(self.most, len(self.keys)), min(max(k, wanted * k // 2), len(rows))
        while waiting:
            count, short = min(count, limit), []
            for i, keys in zip(waiting, self._nearest(points[waiting], count), strict=True):
                near = self._rows(keys)
                near = near[mask[near]]
                if len(near) >= enough:
                    found[i] = torch.from_numpy(near)
                else:
                    short.append(i)
            waiting, count = short if count < limit else [], 4 * count
        return found

    def _rows(self, keys: np.ndarray) -> np.ndarray:
        """The rows of keys, ascending; of those that are none of ours there are none."""
        keys = np.sort(keys)
        places = np.searchsorted(self.keys[:-1], keys)
        return places[self.keys[places] == keys]

    def save(self, folder: Path) -> None:
        """Write options, keys and the place of the points, and the structure beside them."""
        from safetensors.torch import save_file

        self._write(folder)
        parts = {"keys": torch.from_numpy(self.keys), "centre": self.centre}
        files = {name: hash_of_file(folder / name) for name in self.files}
        about = json.dumps({"options": self.options, "radius": self.radius, "files": files})
        save_file(parts, folder / _FILE, metadata={"about": about})  # one: so in one order

    @classmethod
    def load(cls, folder: Path, codes: Codes, head: ProjectionHead) -> Self:
        """Read them back; the structure may hold more rows than there are codes."""
        from safetensors import safe_open

        with safe_open(folder / _FILE, framework="pt") as file:
            about = parse_json((file.metadata() or {})["about"], _FILE)
            keys, centre = file.get_tensor("keys").numpy(), file.get_tensor("centre")
        for name in cls.files:  # a library may end the process over a damaged one
            if about["files"][name] != hash_of_file(folder / name):
                raise ValueError(f"{name} was changed or damaged")
        check_equal("shape", centre=tuple(centre.shape), codes=(codes.width,))
        if keys.dtype != np.int64 or keys.ndim != 1 or (np.diff(keys) <= 0).any():
            raise ValueError(f"the keys in {_FILE} must ascend")
        made = cls(head, cls.defaults | about["options"], centre, float(about["radius"]))
        made.keys = keys
        try:
            rows = made._read(folder)
        except RuntimeError as error:  # of usearch and faiss
            raise ValueError(f"{cls.name} cannot read its file: {error}") from error
        if len(keys) != len(codes) or rows < len(codes):
            raise ValueError(f"{cls.name} has {min(len(keys), rows)} rows for {len(codes)} codes")
        return made

    def _points(self, z: Tensor | Codes) -> np.ndarray:
        """Points of vectors or codes, `(rows, width)`, float32, mostly in [-1, 1]."""
        x = as_floats(z, unit=self.head.compared_by == "cosine")
        return np.ascontiguousarray(((x - self.centre) / self.radius).numpy())


def eight_bits(points: np.ndarray) -> np.ndarray:
    """Points in signed bytes; what lies beyond [-1, 1] goes to the ends."""
    return np.clip(np.rint(points * 127), -127, 127).astype(np.int8)
