"""An index: codes of passages, their ids, and an engine that finds the closest."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads._arrays import as_tensor
from mpsheads._checks import check_choice, check_equal, check_type, check_vectors, list_of_texts
from mpsheads._files import as_path, discard, locked, map_array, naming, replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike, Positive
from mpsheads.heads import MPSProjectionHead, ProjectionHead, freeze, load_head
from mpsheads.retrieval import Encoder
from mpsheads.search.engines import ENGINES, Engine
from mpsheads.search.shards import codes_of, read_manifest, read_shards
from mpsheads.search.storage import (
    ABOUT,
    CODES,
    FORMAT,
    LAYOUT,
    TABLE,
    check_ids,
    code_matrix,
    content_digest,
    other_columns,
    read_about,
    read_passages,
    string_table,
    values_at,
    with_rows,
    write_data,
)
from mpsheads.similarity import Codes, load_codes, top_k

PASSAGES = "passages"
"""Where shards may lie in the folder of an index that was built of them."""


def check_place(folder: Path) -> None:
    """Raise `FileExistsError` if an index cannot be there: a file is, or a folder of others."""
    others = [f.name for f in folder.glob("*") if f.name[0] != "." and f.name != PASSAGES]
    if folder.is_file() or (others and not (folder / ABOUT).is_file()):
        raise FileExistsError(f"{folder} holds something else than an index. Take another folder.")


class Index:
    """Passages in a few bytes each, searched by embeddings of queries.

    `Index.build` and `Index.load` make one. Queries stay floats: the scores are those of
    `head.similarity` between compressed queries and codes.

    Attributes:
        head: What compressed the passages, and compresses queries.
        codes: One row a passage, removed ones included.
        table: Of pyarrow, with the columns `id` and, if texts were kept, `text`.
        engine: What finds candidates.
        encoder: Arguments of the `Encoder` behind the embeddings, if known, and its fingerprint.
    """

    def __init__(
        self,
        head: ProjectionHead,
        codes: Codes,
        table: Any,
        engine: Engine,
        encoder: dict[str, Any] | None = None,
    ) -> None:
        check_equal("number of rows", codes=len(codes), table=len(table))
        self.head, self.codes, self.table, self.engine = head.eval(), codes, table, engine
        self._project: Any = head
        if isinstance(head, MPSProjectionHead) and head.amplitudes is not None:
            self._project = freeze(head)  # one matrix, not made anew for each query
        self.encoder = encoder
        self._removed = torch.zeros(len(codes), dtype=torch.bool)
        self._unread: Path | None = None  # the files, which nobody has compared with their digest

    @classmethod
    def build(
        cls,
        source: PathLike | Codes | Tensor | np.ndarray,
        head: ProjectionHead | None = None,
        *,
        ids: Sequence[str] | None = None,
        texts: Sequence[str] | None = None,
        shards: Sequence[str] | None = None,
        engine: str = "exact",
        **options: Any,
    ) -> "Index":
        """Build an index of embeddings, of codes, or of a folder that `encode_passages` wrote.

        Args:
            source: Embeddings `(rows, in_features)`, codes, or the folder.
            head: What makes or made the codes; a folder holds its own.
            ids: But for a folder: the ids of the rows; by default their numbers.
            texts: But for a folder: the texts of the rows, if they are to be kept.
            shards: With a folder: the files that are taken; by default all.
            engine: How it is searched, one of `ENGINES`: `"exact"` reads all codes, `"lists"` those
                of the nearest lists, the others keep a structure of a library beside them.
            **options: Those of the engine.

        Raises:
            FileNotFoundError: If the folder or one of its files is not there.
            ImportError: If the engine needs a package that is missing.
            ValueError: If the folder is not whole, ids come twice, sizes differ, the head does not
                fit, or there is no such engine.

        Memory: the codes and ids. Cost: that of the engine; `"exact"` has none.
        """
        arrow = optional_import("pyarrow", "search")
        check_choice("engine", engine, tuple(ENGINES))
        encoder = None
        if isinstance(source, Codes | Tensor | np.ndarray):
            if head is None:
                raise ValueError("Give `head`: what makes or made the codes.")
            if not isinstance(source, Codes):
                source = codes_of(head, as_tensor("source", source))
            codes = source.to("cpu")
            named = list(map(str, range(len(codes)))) if ids is None else ids
            table = string_table(named, texts)
        else:
            folder = as_path(source)
            manifest, own = read_manifest(folder), load_head(folder / "head")
            if head is not None and head.config != own.config:
                raise ValueError(f"`head` is another one than the head in {folder}.")
            head, encoder = own, {**manifest.encoder, "fingerprint": manifest.fingerprint}
            read = read_shards(folder, shards)
            table = arrow.concat_tables([part.drop_columns(other_columns(part)) for part in read])
            layout = codes_of(head, torch.ones(1, head.in_features))
            codes = with_rows(layout, code_matrix(table["code"]))
            table = table.drop_columns(["code"])
        check_ids(table["id"])
        check_equal("number of features", codes=codes.width, head=head.out_features)
        return cls(head, codes, table, ENGINES[engine].build(codes, head, **options), encoder)

    def __len__(self) -> int:
        return len(self.codes) - int(self._removed.sum())

    def __repr__(self) -> str:
        return (
            f"Index({len(self):,} passages x {self.codes.bytes_per_vector} bytes, "
            f"engine {self.engine.name})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of codes and engine; ids and texts come on top of it."""
        return self.codes.nbytes + self.engine.nbytes

    def add(
        self, ids: Sequence[str], x: Tensor | Codes, texts: Sequence[str] | None = None
    ) -> None:
        """Add passages.

        Args:
            ids: One for each, none of them in the index.
            x: Their embeddings `(n, in_features)`, or codes that the head made.
            texts: Their texts, if those of the others are kept.

        Raises:
            ValueError: If an id is there already, or sizes or codes do not fit.
        """
        arrow = optional_import("pyarrow", "search")
        codes = x if isinstance(x, Codes) else codes_of(self.head, as_tensor("x", x))
        new = string_table(ids, texts)
        if set(new.column_names) != set(self.table.column_names):
            raise ValueError(
                f"`texts` must be given if and only if the index keeps them: it has the columns "
                f"{', '.join(self.table.column_names)}."
            )
        check_equal("number of rows", ids=len(new), codes=len(codes))
        kept = self.table["id"].filter(arrow.array((~self._removed).numpy()))
        check_ids(arrow.chunked_array([*kept.chunks, *new["id"].chunks]))
        both = Codes.cat([self.codes, codes.to("cpu")])
        self.engine.add(codes)  # first: where it fails, nothing was added
        self.codes, self.table = both, arrow.concat_tables([self.table, new])
        self._removed = torch.cat([self._removed, torch.zeros(len(new), dtype=torch.bool)])

    def remove(self, ids: Iterable[str]) -> int:
        """Remove passages; returns how many there were. `save` forgets their codes."""
        before = len(self)
        self._removed |= self._held(ids)
        return before - len(self)

    def search(
        self, queries: Tensor | np.ndarray, k: int = 10, *, where: Any = None
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Ids and scores of the closest passages of each query, the closest first.

        Args:
            queries: Embeddings `(n, in_features)`, uncompressed.
            k: How many passages of each query; fewer are returned only where there are fewer.
            where: Which passages may be found: their ids, or an expression of `pyarrow.compute`
                over the columns, such as `pc.match_substring(pc.field("text"), "tax")`.

        Returns:
            For each query a list of ids, and one of scores: cosines or log-fidelities.

        Raises:
            ValueError: If `k` is below 1, or the embeddings are of another width or not finite.
        """
        rows, scores = self.search_rows(queries, min(k, len(self) or k), where=where)
        names = [values_at(self.table["id"], found) for found in rows.tolist()]
        pairs = zip(scores.tolist(), names, strict=True)
        return names, [values[: len(found)] for values, found in pairs]

    def search_texts(
        self, texts: Sequence[str], k: int = 10, *, where: Any = None
    ) -> tuple[list[list[str]], list[list[float]]]:
        """As `search`, of queries as texts, by the encoder that made the embeddings.

        Raises:
            ValueError: If the index does not know its encoder, or the model is another one by now.
        """
        return self.search(self.query_encoder.encode(texts, kind="query"), k, where=where)

    @cached_property
    def query_encoder(self) -> Encoder:
        """The encoder that made the embeddings, for queries."""
        if self.encoder is None or "model" not in self.encoder:
            raise ValueError("The index does not say which encoder made it: search by embeddings.")
        settings = dict(self.encoder)
        fingerprint = settings.pop("fingerprint", None)
        encoder = Encoder(**settings)
        if encoder.fingerprint() != fingerprint:
            raise ValueError(
                f"The model {settings['model']} is not the one that made the index: its files are "
                f"others. Bring that one back, or encode the passages again."
            )
        return encoder

    @torch.no_grad()
    def search_rows(
        self, queries: Tensor | np.ndarray, k: int = 10, *, where: Any = None
    ) -> tuple[Tensor, Tensor]:
        """As `search`, with row numbers of `table` and `codes` in place of ids.

        Returns:
            Rows `(queries, k)`, -1 where there are fewer, and scores.
        """
        queries = as_tensor("queries", queries)
        check_vectors("queries", queries, self.head.in_features)
        return self.search_compressed(self._project(queries.float()), k, where=where)

    @torch.no_grad()
    def search_compressed(
        self, z: Tensor, k: Positive, *, where: Any = None
    ) -> tuple[Tensor, Tensor]:
        """As `search_rows`, of queries that the head has compressed, `(n, out_features)`."""
        allowed = self._allowed(where)
        count = len(self.codes) if allowed is None else len(allowed)
        if not len(z) or not count:
            return torch.full((len(z), k), -1), torch.full((len(z), k), -torch.inf)
        found = self.engine.candidates(z, k, allowed)
        if found is None:
            each = [self._closest(z, k, allowed)]
        else:
            each = [self._closest(z[i : i + 1], k, rows) for i, rows in enumerate(found)]
        missing = [(0, k - values.shape[1]) for values, _ in each]
        pad = torch.nn.functional.pad
        rows = [pad(r, m, value=-1) for (_, r), m in zip(each, missing, strict=True)]
        values = [pad(v, m, value=-torch.inf) for (v, _), m in zip(each, missing, strict=True)]
        return torch.cat(rows), torch.cat(values)

    def _closest(self, z: Tensor, k: int, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        return top_k(z, self.codes, k, similarity=self.head.similarity, rows=rows)

    def text(self, identifier: str) -> str | None:
        """The text of a passage; `None` if texts were not kept.

        Raises:
            KeyError: If there is no such passage.
            ValueError: If the file of an index was damaged there.
        """
        rows = self._held([identifier]).nonzero()[:, 0]
        if not len(rows):
            raise KeyError(identifier)
        if "text" not in self.table.column_names:
            return None
        text = self.table["text"].slice(int(rows[-1]), 1)
        try:
            text.validate(full=True)  # else damage may end the process
        except ValueError as error:
            raise ValueError(f"The text of {identifier!r} is damaged: {error}") from error
        return text[0].as_py()

    def save(self, path: PathLike) -> None:
        """Write the index to a folder, without what was removed; an index there is replaced.

        A kill leaves the old index or the new one.

        Raises:
            FileExistsError: If there is a file, or a folder that is no index.
            ValueError: If the files that the index was loaded from were damaged.
        """
        self.verify()
        folder, keep = as_path(path), ~self._removed
        check_place(folder)
        codes, table, engine = self.codes, self.table, self.engine
        if self._removed.any():
            mask = optional_import("pyarrow", "search").array(keep.numpy())
            codes, table, engine = codes[keep], table.filter(mask), engine.keep(keep)
        with naming(folder), locked(folder):
            for stale in folder.glob(".*.tmp"):
                discard(stale)
            with tempfile.TemporaryDirectory(suffix=".tmp", prefix=".", dir=folder) as temporary:
                write_data(Path(temporary) / "data", self.head, codes, table, engine)
                target = folder / f"data-{content_digest(Path(temporary) / 'data')}"
                if target.exists() and content_digest(target) not in target.name:
                    shutil.rmtree(target)  # damaged since
                if not target.exists():
                    (Path(temporary) / "data").rename(target)
            about = {"format": FORMAT, "data": target.name, "engine": engine.name}
            about |= {"passages": len(codes), "encoder": self.encoder}
            with replacing(folder / ABOUT) as file:
                file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            for old in folder.glob("data-*"):
                if old != target:
                    shutil.rmtree(old)

    @classmethod
    def load(cls, path: PathLike) -> "Index":
        """Read an index from a folder; codes, ids and texts by memory map, so at once.

        What is mapped is compared with its digest by `verify`: before `where` takes an expression,
        before `save`, and by `mpsheads serve`.

        Raises:
            FileNotFoundError: If there is no index.
            ValueError: If its files do not belong together.
        """
        from safetensors import SafetensorError

        arrow = optional_import("pyarrow", "search")
        damage = (KeyError, TypeError, ValueError, RuntimeError, EOFError, SafetensorError)
        folder, about = as_path(path), {}
        try:
            about = read_about(folder)
            data = folder / Path(str(about["data"])).name  # in this folder, whatever it says
            packed = map_array(data / CODES, "c")
            codes = with_rows(load_codes(data / LAYOUT), packed)
            table = read_passages(data / TABLE)
            check_equal("number of rows", index=about["passages"], codes=len(codes))
            head = load_head(data / "head")
            check_equal("number of features", codes=codes.width, head=head.out_features)
            engine = ENGINES[about["engine"]].load(data, codes, head)
            index = cls(head, codes, table, engine, about["encoder"])
            index._unread = data
            return index
        except (*damage, OSError, arrow.ArrowException) as error:
            if about and read_about(folder) != about:  # replaced meanwhile
                return cls.load(folder)
            if isinstance(error, OSError):
                raise
            raise ValueError(f"{folder} is not a whole index: {error!s:.300}") from error

    def verify(self) -> None:
        """Compare the files of a loaded index with their digest, the first time it is called.

        Raises:
            ValueError: If one was changed or damaged.

        Cost: all files are read, about a second a gigabyte. Nothing if a newer index replaced them.
        """
        data = self._unread
        if data is not None and data.is_dir() and data.name != f"data-{content_digest(data)}":
            raise ValueError(f"{data} was changed or damaged: make the index again.")
        self._unread = None

    def _held(self, ids: Iterable[str]) -> Tensor:
        """Which rows have one of these ids and are not removed."""
        arrow, compute = (optional_import(f"pyarrow{n}", "search") for n in ("", ".compute"))
        wanted = arrow.array(list_of_texts("ids", list(ids)), arrow.string())
        mask = compute.is_in(self.table["id"], value_set=wanted)
        return torch.from_numpy(mask.to_numpy().copy()) & ~self._removed

    def _allowed(self, where: Any) -> Tensor | None:
        """The rows that may be found; `None` for all."""
        if where is None:
            return (~self._removed).nonzero()[:, 0] if self._removed.any() else None
        expression = optional_import("pyarrow.compute", "search").Expression
        if isinstance(where, Iterable) and not isinstance(where, str):
            return self._held(where).nonzero()[:, 0]
        check_type("where", where, expression, "ids or an expression of pyarrow.compute")
        self.verify()
        numbered = self.table.append_column("row", [np.arange(len(self.table))])
        rows = torch.from_numpy(numbered.filter(where)["row"].to_numpy().copy())
        return rows[~self._removed[rows]]
