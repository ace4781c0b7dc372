"""What the tests of this folder, and the processes they start, share."""

from pathlib import Path

import torch

from mpsheads import DenseHead, MPSProjectionHead, PCAHead, ReferenceHead, TruncationHead
from mpsheads.ansatz import staircase

FEATURES = 48
_WORDS = ["cat", "rain", "bread", "water", "why", "do", "fall", "bake", "purr"]
_WORDS += ["the", "a", "is", "in", "it", "sun", "tree", "sea"]
TEXTS = ["the cat purr", "rain is water", "bread bake in the sun", "a tree", "the sea fall"]
QUERIES = ["why do cat purr", "is rain water", "why bake bread", "the tree", "why fall"]


def write_bert(folder: Path, layers: int = 3) -> Path:
    """Write a small random BertModel and its WordPiece tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *letters, *(f"##{c}" for c in letters), *_WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=FEATURES,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    return folder


HEADS = {
    "probability": lambda: MPSProjectionHead(FEATURES, FEATURES // 3),
    "state": lambda: MPSProjectionHead(FEATURES, 16, readout="state"),
    "brickwork": lambda: MPSProjectionHead(FEATURES, 7, ansatz="brickwork", depth=1),
    "circuit": lambda: MPSProjectionHead(FEATURES, 12, ansatz=staircase(4, 1)),
    "reference": lambda: ReferenceHead(FEATURES, FEATURES // 3),
    "dense": lambda: DenseHead(FEATURES, 10),
    "pca": lambda: PCAHead(FEATURES, 8).fit(torch.randn(60, FEATURES)),
    "truncation": lambda: TruncationHead(FEATURES, 12),
}
"""One head of each kind, and of each part that a configuration has to hold."""
