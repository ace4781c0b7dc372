"""How many bits do my passages need? Compare rankings by codes with that by floats."""

import torch

from mpsheads import MPSProjectionHead

embeddings = torch.randn(2000, 384, generator=torch.Generator().manual_seed(0))  # put yours here
# --8<-- [start:fit]
head = MPSProjectionHead(384, 128).fit(embeddings)  # or load_head("trained-head")
# --8<-- [end:fit]
# --8<-- [start:bits]
z = head(embeddings).detach()
exact = head.similarity(z[:50], z[50:]).topk(10).indices
for bits in (8, 4, 2, 1):
    codes = head.quantize(z[50:], bits)
    found = head.similarity(z[:50], codes).topk(10).indices
    same = (found[:, :, None] == exact[:, None, :]).any(-1).float().mean()
    print(f"{bits} bits: {128 * bits // 8} bytes, {same:.0%} of the ten nearest are the same")
# --8<-- [end:bits]
print(head.describe())
