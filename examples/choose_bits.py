"""How many bits do my passages need? Compare rankings by codes with that by floats."""

import torch

from mpsheads import MPSProjectionHead, fit_grouping

embeddings = torch.randn(2000, 384, generator=torch.Generator().manual_seed(0))  # put yours here
# --8<-- [start:bits]
head = MPSProjectionHead(384, 128).fit(embeddings)  # or load_head("trained-head")
z = head(embeddings).detach()
exact = head.similarity(z[:50], z[50:]).topk(10).indices
for bits in (8, 4, 2, 1):
    codes = head.quantize(z[50:], bits)
    found = head.similarity(z[:50], codes).topk(10).indices
    same = (found[:, :, None] == exact[:, None, :]).any(-1).float().mean()
    print(f"{bits} bits: {128 * bits // 8} bytes, {same:.0%} of the ten nearest are the same")
# --8<-- [end:bits]
# --8<-- [start:grouping]
order = fit_grouping(embeddings, num_blocks=128)
head = MPSProjectionHead(384, 128, grouping=order)
# --8<-- [end:grouping]
print(head.describe())
