"""An index as the search backend of MTEB."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from mpsheads.heads import ProjectionHead
from mpsheads.search.index import Index


class IndexBackend:
    """What MTEB's `SearchEncoderWrapper` takes as `index_backend`: codes in an `Index`.

    Queries stay floats, and scores are those of the index, whatever similarity the model names.

    Args:
        head: That of the wrapped model, whose vectors come in.
        engine: One of `ENGINES`.
        **options: Those of the engine.

    Raises:
        ValueError: When documents are added, if the head's vectors have no codes.
    """

    def __init__(self, head: ProjectionHead, engine: str = "exact", **options: Any) -> None:
        self.head = head
        self._build = partial(Index.build, head=head, engine=engine, **options)
        self.clear()

    def clear(self) -> None:
        """Forget all documents."""
        self.index: Index | None = None

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Add compressed documents under their ids."""
        codes = self.head.quantize(torch.as_tensor(embeddings), self.head.config.get("bits") or 8)
        if self.index is None:
            self.index = self._build(codes, ids=list(idxs))
        else:
            self.index.add(list(idxs), codes)

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Callable[[Any, Any], Any] | None = None,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and places of the closest documents: among all, or among `top_ranked` of each."""
        if self.index is None:
            raise ValueError("There are no documents: call `add_documents` first.")
        z, found = torch.as_tensor(embeddings), []
        if top_ranked is None:
            rows, scores = self.index.search_compressed(z, min(top_k, len(self.index)))
            found = list(zip(rows.tolist(), scores.tolist(), strict=True))
        for i, query_id in (query_idx_to_id or {}).items() if top_ranked is not None else ():
            ids = list(top_ranked.get(query_id, ()))
            rows, scores = self.index.search_compressed(z[i : i + 1], top_k, where=ids)
            rows = rows[rows >= 0]
            names = self.index.table["id"].take(rows.numpy()).to_pylist()
            found.append(([ids.index(name) for name in names], scores[0, : len(rows)].tolist()))
        kept = [[(s, r) for r, s in zip(*pair, strict=True) if r >= 0] for pair in found]
        return [[s for s, _ in row] for row in kept], [[r for _, r in row] for row in kept]
