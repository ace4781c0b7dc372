"""An encoder that knows no language: equal texts get equal vectors, others random ones."""

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Stub:
    """Embeddings drawn by the checksum of a text."""

    features: int = 32
    settings: dict[str, Any] = field(default_factory=lambda: {"stub": True})
    fails_at: str | None = None

    def fingerprint(self) -> str:
        return f"stub-{self.features}"

    def encode(self, texts: Any) -> Tensor:
        if self.fails_at in texts:
            raise KeyboardInterrupt
        rows = [
            torch.randn(self.features, generator=torch.Generator().manual_seed(zlib.crc32(t)))
            for t in (text.encode() for text in texts)
        ]
        return torch.stack(rows)
