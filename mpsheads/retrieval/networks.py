"""The networks behind an `Encoder`: a bare transformer and its pooling, or a whole model."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpsheads._encoders import check_padding, pool_tokens, token_batches, token_limit
from mpsheads._optional import optional_import
from mpsheads._threads import torch_threads

Embedded = Iterator[tuple[Sequence[int], Tensor]]
"""Places of texts, and their embeddings; texts without a token are left out."""

_MOST_THREADS = 8
_AT_ONCE = 1024  # texts that sentence-transformers is given


class Bare:
    """A transformers encoder with mean or CLS pooling; its embeddings are not normalised."""

    def __init__(
        self, folder: Path, pooling: str, max_length: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        transformers = optional_import("transformers", "retrieval")
        with _loading(folder):
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            network, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
        if missing := [key for key in info["missing_keys"] if "pooler" not in key]:
            raise ValueError(
                f"{folder} lacks {len(missing)} of the model's weights, such as {missing[0]}."
            )
        network = network.get_encoder() if network.config.is_encoder_decoder else network
        self.network: Any = network.to(device, dtype).eval()
        self.pooling, self.max_length, self.device = pooling, max_length, device

    def embed(self, texts: Sequence[str], kind: str, prefix: str, batch_size: int) -> Embedded:
        """Embeddings in batches of like length; `kind` makes no difference.

        On a CPU several threads take a batch each, so that no thread waits for another, also
        where other programs take some of the cores.
        """
        prefixed, options = [prefix + text for text in texts], (self.max_length, batch_size)
        batches = list(token_batches(self.network, self.tokenizer, prefixed, *options))
        if not batches:
            return
        threads = torch.get_num_threads()
        workers = min(threads, _MOST_THREADS, len(batches)) if self.device.type == "cpu" else 1

        @torch.no_grad()  # which holds for one thread
        def embed(rows: list[int], batch: Any) -> tuple[list[int], Tensor]:
            batch = batch.to(self.device)
            hidden = self.network(**batch).last_hidden_state
            return rows, pool_tokens(hidden, batch["attention_mask"], self.pooling).float().cpu()

        with torch_threads(threads // workers), ThreadPoolExecutor(workers) as pool:
            yield from pool.map(embed, *zip(*batches, strict=True))


class Whole:
    """A sentence-transformers model with all its modules, loaded without foreign code.

    Heads keep their own precision.
    """

    def __init__(
        self, folder: Path, max_length: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        from mpsheads.sentence_transformers import Projection, load_model

        with _loading(folder):
            self.model = load_model(folder, device=str(device), local_files_only=True).eval()
            self.features = self.model.get_embedding_dimension()
            if self.features is None:
                raise ValueError("it says no width of its embeddings.")
        for module in self.model:
            if not isinstance(module, Projection):
                module.to(dtype)
        own, tokenizer = self.model.max_seq_length, getattr(self.model[0], "tokenizer", None)
        self.tokenizer: Any = tokenizer if callable(tokenizer) else None
        if self.tokenizer is not None:
            check_padding(self.tokenizer)
            self.tokenizer.padding_side = "right"  # so that positions do not depend on the batch
            limit = min(max_length, own or max_length)
            limit = token_limit(self.model.transformers_model, self.tokenizer, limit)
            self.model.max_seq_length = limit

    def embed(self, texts: Sequence[str], kind: str, prefix: str, batch_size: int) -> Embedded:
        """Embeddings of queries or documents; the prefix takes the place of the model's prompt."""
        rows = list(range(len(texts)))
        if self.tokenizer is not None and not prefix and not any(self.model.prompts.values()):
            rows = [i for i, ids in enumerate(self.tokenizer(list(texts))["input_ids"]) if ids]
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        options: dict[str, Any] = {"batch_size": batch_size, "prompt": prefix or None}
        options |= {"convert_to_tensor": True, "show_progress_bar": False}
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            yield part, encode([texts[i] for i in part], **options).float().cpu()


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Without transformers' warnings and bars; what is wrong with the files is one error."""
    from safetensors import SafetensorError

    logging = optional_import("transformers", "retrieval").utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrong = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError)
    try:
        yield
    except (*wrong, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"The model in {folder} cannot be loaded: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
