"""Pairs of texts, and an encoder with its head that turns texts into vectors."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.heads import ProjectionHead, ReferenceHead, TruncationHead
from mpsheads.retrieval import Encoder
from mpsheads.retrieval.encoder import _pool, _quiet
from mpsheads.training.data import TrainingData

if TYPE_CHECKING:
    from mpsheads.transformers import MPSHeadModel

_CHUNK = 64  # texts in a forward pass, of like length
_VECTORS = 1024  # embeddings that the head takes at once


@dataclass(frozen=True, eq=False)
class TextPairs:
    """Texts and which pairs of them are relevant.

    Equal texts are one query or one document: what is relevant for one copy is relevant for all.

    Attributes:
        queries: Texts of queries.
        documents: Texts of documents.
        pairs: Rows of a query and of a document relevant for it, int64 `(n_pairs, 2)`.
        hard_negatives: Rows of documents that look relevant but are not, for each pair, int64
            `(n_pairs, k)`, nearest first; -1 where there are fewer than k.

    Raises:
        TypeError: If a text is not a string, or a tensor has the wrong dtype.
        ValueError: If there are no pairs, a row does not exist, or shapes do not fit.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    pairs: Tensor
    hard_negatives: Tensor | None = None
    numbers: TrainingData = field(init=False, repr=False)
    """The same pairs of numbers: the row of each text's first copy, documents after queries."""

    def __post_init__(self) -> None:
        _check_texts("queries", self.queries)
        _check_texts("documents", self.documents)
        numbers = TrainingData(
            _first_copies(self.queries, 0),
            _first_copies(self.documents, len(self.queries)),
            self.pairs.cpu(),
            None if self.hard_negatives is None else self.hard_negatives.cpu(),
        )
        object.__setattr__(self, "numbers", numbers)

    def __len__(self) -> int:
        return len(self.pairs)

    def texts(self) -> dict[int, str]:
        """The texts that pairs and hard negatives name, by their number."""
        queries, documents = self.pairs.cpu().unbind(1)
        if self.hard_negatives is not None:
            mined = self.hard_negatives.cpu().flatten()
            documents = torch.cat([documents, mined[mined >= 0]])
        rows = [self.numbers.queries[queries], self.numbers.documents[documents]]
        first = len(self.queries)
        numbers: list[int] = torch.cat(rows).long().unique().tolist()
        return {n: self.queries[n] if n < first else self.documents[n - first] for n in numbers}

    def fingerprint(self) -> dict[str, str]:
        """A hash of each part, to tell whether a run continues on the data that it began with."""
        texts = {
            name: hashlib.sha256(json.dumps(list(part)).encode()).hexdigest()
            for name, part in (("queries", self.queries), ("documents", self.documents))
        }
        return {**self.numbers.fingerprint(), **texts}


class TextModel:
    """An encoder with its head, for texts.

    Attributes:
        model: Encoder and head; `model.head` and `model.similarity` are the head's.
    """

    model: "MPSHeadModel"

    def __init__(
        self, encoder: Encoder, model: "MPSHeadModel", dtype: torch.dtype = torch.float32
    ) -> None:
        self.model, self._encoder, self._dtype = model, encoder, dtype

    @property
    def head(self) -> ProjectionHead:
        """The head."""
        return self.model.head

    @property
    def tokenizer(self) -> Any:
        """The encoder's."""
        return self._encoder._tokenizer

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> Tensor:
        """Embeddings of texts before the head, in their order.

        Args:
            texts: Any number of texts.
            progress: Show a bar on stderr.

        Returns:
            `(len(texts), in_features)`, float32, on the CPU, not normalised.
        """
        self.model.eval()
        with self._autocast():
            return self._encoder.encode(texts, progress=progress)

    @torch.no_grad()
    def compress(self, texts: Sequence[str], *, progress: bool = False) -> Tensor:
        """The head's vectors of texts `(len(texts), out_features)`, on the CPU."""
        embeddings = self.encode(texts, progress=progress)
        device = self._encoder.device
        parts = [self.head(part.to(device)).cpu() for part in embeddings.split(_VECTORS)]
        return torch.cat(parts)

    def save_pretrained(self, path: PathLike) -> None:
        """Write model and tokenizer into the folder `path`; `mpsheads.load` reads it.

        Each file is written under a temporary name and renamed, `config.json` last. A `README.md`
        that is there stays.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch,
            _quiet(optional_import("transformers", "transformers")),
        ):
            self.model.save_pretrained(scratch)
            self.tokenizer.model_max_length = self._encoder._token_limit
            self.tokenizer.save_pretrained(scratch)
            for file in sorted(Path(scratch).iterdir(), key=lambda f: f.name == "config.json"):
                if file.name != "README.md" or not (folder / file.name).exists():
                    shutil.move(file, folder / file.name)

    def tokens(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """The tokens of each text, cut to the encoder's length."""
        found = self.tokenizer(
            list(texts), truncation=True, max_length=self._encoder._token_limit, padding=False
        ).data
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]

    def embed(self, tokens: Sequence[dict[str, list[int]]]) -> Tensor:
        """Embeddings of tokenised texts with their gradient, in batches of like length.

        The layers that are not trained keep no activations.
        """
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]["input_ids"]))
        parts = []
        with self._autocast():
            for start in range(0, len(order), _CHUNK):
                chunk = [tokens[i] for i in order[start : start + _CHUNK]]
                batch = self.tokenizer.pad(
                    {key: [text[key] for text in chunk] for key in chunk[0]}, return_tensors="pt"
                ).to(self._encoder.device)
                hidden = self.model.encoder(**batch).last_hidden_state.float()
                parts.append(_pool(hidden, batch["attention_mask"], self._encoder.pooling))
        place = torch.tensor(order, device=self._encoder.device).argsort()
        return torch.cat(parts)[place]

    def _autocast(self) -> torch.autocast:
        reduced = self._dtype != torch.float32
        return torch.autocast(
            self._encoder.device.type, self._dtype if reduced else None, enabled=reduced
        )


def uncompressed_head(
    features: int, similarity: Literal["cosine", "fidelity"] = "cosine"
) -> ProjectionHead:
    """A head without parameters that leaves embeddings as long as they are, to compare with.

    Args:
        features: Width of the embeddings.
        similarity: "cosine", or "fidelity": of a product state of one qubit a feature, with the
            paper's angles of embeddings brought to norm `sqrt(features)`. That ranks well, but
            with hundreds of features leaves the paper's loss no gradient, as fidelities vanish;
            `ReferenceHead(features, features)` takes smaller angles, of embeddings as they are.
    """
    check_choice("similarity", similarity, ("cosine", "fidelity"))
    if similarity == "cosine":
        return TruncationHead(features, features)
    return ReferenceHead(features, features, normalize=True)


def _check_texts(name: str, texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError(f"`{name}` must be a sequence of strings, got one string.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"`{name}`[{row}] must be a string, got {type(text).__name__}.")


def _first_copies(texts: Sequence[str], start: int) -> Tensor:
    """For each text the row of the first equal one, counted from `start`, as `(rows, 1)` float."""
    first: dict[str, int] = {}
    rows = [first.setdefault(text, start + row) for row, text in enumerate(texts)]
    return torch.tensor(rows, dtype=torch.float64)[:, None]
