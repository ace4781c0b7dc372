"""What the paper trains: the last four layers of an encoder with a head, from texts.

The encoder, pairs of texts and a collection come from a folder that `parcel.py` packed, since a
machine with a card may reach nothing.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel

from benchmarks.gpu.measure import wait
from benchmarks.gpu.parcel import ENCODER, read_pairs
from benchmarks.gpu.report import Row
from mpsheads import DenseHead, MPSProjectionHead, ReferenceHead
from mpsheads.training import TrainingConfig, TrainingData, train
from mpsheads.transformers import MPSHeadModel


def last_layers(parcel: Path, device: str, kept: int = 128, epochs: int = 2) -> Iterator[Row]:
    """For each head: time a step, peak memory, and how often the right text comes first."""
    queries, documents = read_pairs(parcel)
    held, card = max(1, len(queries) // 10), torch.cuda.is_available()
    rows = torch.arange(len(queries) - held)
    data = TrainingData(queries[held:], documents[held:], torch.stack([rows, rows], 1))
    config = TrainingConfig(loss="contrastive", epochs=epochs, batch_size=min(128, len(rows)))
    for name, make in [
        ("default head", MPSProjectionHead),
        ("ReferenceHead", ReferenceHead),
        ("Linear + tanh", DenseHead),
    ]:
        torch.manual_seed(0)
        encoder = AutoModel.from_pretrained(parcel / ENCODER, dtype=torch.float32)
        head = make(encoder.config.hidden_size, kept)
        layers = min(4, encoder.config.num_hidden_layers)
        model = MPSHeadModel.from_encoder(encoder, head, trainable_layers=layers)
        nn.Module.to(model, device)
        before = _first(model, queries[:held], documents[:held])
        if card:
            torch.cuda.reset_peak_memory_stats()
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            train(model, data, config, Path(folder) / "run", progress=False)
        wait()
        steps = epochs * -(-len(rows) // config.batch_size)
        yield {
            "head": name,
            "steps": steps,
            "ms a step": 1e3 * (time.monotonic() - began) / steps,
            "peak MB": torch.cuda.max_memory_allocated() / 1e6 if card else None,
            "right first, before": before,
            "after": _first(model, queries[:held], documents[:held]),
        }


def _first(model: MPSHeadModel, queries: list[str], documents: list[str]) -> float:
    """The share of queries whose own document is nearest."""
    zq, zd = (model.eval().encode(texts) for texts in (queries, documents))
    nearest = model.head.similarity(zq, zd).argmax(1).cpu()
    return float((nearest == torch.arange(len(queries))).float().mean())
