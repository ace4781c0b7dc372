"""What transformers encoders have in common: token limit, batches, pooling and layers."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls"]
_SEE_PADDING = ("convbert", "fnet", "yoso")  # though it is masked, or without a mask


def token_batches(
    encoder: Any, tokenizer: Any, texts: Sequence[str], max_length: int, batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Tokens of texts in batches of like length, the longest first, each with its places there.

    A text is cut at the lowest of `max_length`, the tokenizer's limit and the encoder's positions.
    Texts without any token are left out. Padding stands on the right, so that positions do not
    depend on the batch. Encoders that mix it with the text get batches of one length.
    """
    if not texts:
        return
    check_padding(tokenizer)
    limit, mask = token_limit(encoder, tokenizer, max_length), {"return_attention_mask": True}
    tokens = tokenizer(list(texts), truncation=True, max_length=limit, padding=False, **mask).data
    lengths = [len(ids) for ids in tokens["input_ids"]]
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    alike = lengths.__getitem__ if encoder.config.model_type in _SEE_PADDING else lambda _: 0
    for same in [list(rows) for _, rows in groupby(order, alike)]:
        for start in range(0, len(same), batch_size):
            rows = same[start : start + batch_size]
            batch = {key: [value[i] for i in rows] for key, value in tokens.items()}
            yield rows, tokenizer.pad(batch, return_tensors="pt", padding_side="right", **mask)


def check_padding(tokenizer: Any) -> None:
    """Raise `ValueError` if a tokenizer has no token to pad with."""
    if tokenizer.pad_token is None:
        raise ValueError(
            f"The tokenizer of {tokenizer.name_or_path} has no padding token. Set `pad_token` in "
            f"its tokenizer_config.json to one of its tokens: no embedding depends on which."
        )


def token_limit(encoder: Any, tokenizer: Any, max_length: int) -> int:
    """The lowest of `max_length`, the tokenizer's limit and the encoder's number of positions."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or max_length
    for name, module in encoder.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            positions = min(positions, len(module.weight) - padding - 1)  # they start after it
    return min(max_length, tokenizer.model_max_length, positions)


def pool_tokens(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector for each text, at least in float32.

    Of the last hidden state `(batch, tokens, features)`, where the mask `(batch, tokens)` is 1:
    "mean" over tokens, or "cls", the first.
    """
    if hidden.dtype in (torch.float16, torch.bfloat16):
        hidden = hidden.float()
    if pooling == "cls":
        rows = torch.arange(len(mask), device=mask.device)
        return hidden[rows, mask.int().argmax(dim=1)]  # also with padding on the left
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def last_layers(encoder: Any, count: int) -> list[nn.Module]:
    """The last layers of an encoder: of its one list that has as many as its configuration says."""
    depth = encoder.config.num_hidden_layers
    lists = [m for m in encoder.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if len(lists) != 1:
        raise ValueError(
            f"The layers of {type(encoder).__name__} were not found: {len(lists)} lists have "
            f"{depth} modules. Use trainable_layers=0 or None, and set `requires_grad` yourself."
        )
    if not 0 < count <= depth:
        raise ValueError(f"`trainable_layers` must be None or from 0 to {depth}, got {count}.")
    return list(lists[0])[-count:]
