"""From texts to one vector each: tokens, batches of like length, and pooling."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def pool_tokens(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector for each text, at least in float32.

    Args:
        hidden: The encoder's last hidden state `(batch, tokens, features)`.
        mask: 1 for tokens, 0 for padding, `(batch, tokens)`.
        pooling: "mean" over tokens that are not padding, or "cls", the first of them.
    """
    if hidden.dtype in (torch.float16, torch.bfloat16):
        hidden = hidden.float()
    if pooling == "cls":
        rows = torch.arange(len(mask), device=mask.device)
        return hidden[rows, mask.int().argmax(dim=1)]  # also with padding on the left
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def token_limit(config: Any, tokenizer: Any, max_length: int) -> int:
    """The lowest of `max_length`, the tokenizer's limit and the encoder's number of positions."""
    positions = getattr(config, "max_position_embeddings", None) or max_length
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= (config.pad_token_id or 0) + 1  # their positions start after the padding's
    return min(max_length, tokenizer.model_max_length, positions)


def pooled_batches(
    encoder: Any, tokenizer: Any, texts: Sequence[str], limit: int, pooling: str, batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Embed texts in batches of like length, the longest first.

    Args:
        encoder: A transformers encoder.
        tokenizer: Its tokenizer.
        texts: Any number of texts.
        limit: Tokens after which a text is cut.
        pooling: As `pool_tokens` takes it.
        batch_size: Texts in a batch.

    Yields:
        Places in `texts`, and the vectors of these texts on the encoder's device.
    """
    if not texts:
        return
    tokens: dict[str, list[list[int]]] = tokenizer(
        list(texts), truncation=True, max_length=limit, padding=False
    ).data
    order = sorted(range(len(texts)), key=lambda i: -len(tokens["input_ids"][i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer.pad(
            {key: [value[i] for i in rows] for key, value in tokens.items()}, return_tensors="pt"
        ).to(encoder.device)
        hidden = encoder(**batch).last_hidden_state
        yield rows, pool_tokens(hidden, batch["attention_mask"], pooling)
