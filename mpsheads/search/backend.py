"""An index as the search backend of MTEB."""

from collections.abc import Sequence
from typing import Any

import torch

from mpsheads.heads import ProjectionHead
from mpsheads.search.index import Index
from mpsheads.search.storage import values_at


class IndexBackend:
    """What MTEB's `SearchEncoderWrapper` takes as `index_backend`: codes in an `Index`.

    Queries stay floats, and scores are those of the index, whatever similarity the model names.

    Args:
        head: That of the wrapped model, whose vectors come in.
        engine: One of `ENGINES`.
        **options: Those of the engine.
    """

    def __init__(self, head: ProjectionHead, engine: str = "exact", **options: Any) -> None:
        self.head, self.options = head, {"engine": engine, **options}
        self.clear()

    def clear(self) -> None:
        """Forget all documents."""
        self.index: Index | None = None

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Add compressed documents under their ids."""
        codes = self.head.quantize(torch.as_tensor(embeddings), self.head.config.get("bits") or 8)
        if self.index is None:
            self.index = Index.build(codes, self.head, ids=list(idxs), **self.options)
        else:
            self.index.add(list(idxs), codes)

    def search(
        self, embeddings: Any, top_k: int, *_: Any, top_ranked: Any = None, **about: Any
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and places of the closest documents: among all, or among `top_ranked` of each."""
        if self.index is None:
            raise ValueError("There are no documents: call `add_documents` first.")
        z, top_k = torch.as_tensor(embeddings), min(top_k, len(self.index))
        if top_ranked is None:
            rows, scores = (t.tolist() for t in self.index.search_compressed(z, top_k))
        else:
            rows, scores = [], []
            for i, query_id in about["query_idx_to_id"].items():
                ids = list(top_ranked.get(query_id, ()))
                found, values = self.index.search_compressed(z[i : i + 1], top_k, where=ids)
                names = values_at(self.index.table["id"], found[0].tolist())
                rows.append([ids.index(name) for name in names])
                scores.append(values[0, : len(names)].tolist())
        counts = [sum(place >= 0 for place in row) for row in rows]  # -1 where there are fewer
        cut = [(s[:n], r[:n]) for s, r, n in zip(scores, rows, counts, strict=True)]
        return [s for s, _ in cut], [r for _, r in cut]
