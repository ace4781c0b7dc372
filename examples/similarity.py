"""Compare, approximate, store in few bits and search vectors of angles."""

# --8<-- [start:compare]
import math

import torch

from mpsheads import load_codes, log_fidelity, quantize, top_k
from mpsheads.similarity import approximation_error, coding_error

torch.manual_seed(0)
documents = math.pi / 2 + 0.3 * torch.randn(10_000, 128).clamp(-5, 5)  # as a head returns them
queries = documents[:3] + 0.1 * torch.randn(3, 128)

scores = log_fidelity(queries, documents)  # (3, 10000), higher is closer
same = log_fidelity(queries, documents[:3], pairwise=True)  # (3,)
print(f"own document {same.mean():.2f}, all documents {scores.mean():.2f}")
# --8<-- [end:compare]

# --8<-- [start:codes]
for bits in (8, 4, 2, 1):
    codes = quantize(documents, bits)
    off = (log_fidelity(queries, codes) - scores).abs().max()
    print(f"{bits} bits: {codes.bytes_per_vector} bytes a vector, off by {off:.2f} at most")

codes = quantize(documents, 4)
codes.save("documents.safetensors")
codes = load_codes("documents.safetensors")
# --8<-- [end:codes]

# --8<-- [start:errors]
for terms in (1, 2, 3):
    print(f"{terms} terms: at most {approximation_error(1.0, terms=terms):.1e} above, an angle")
for bits in (8, 4, 2, 1):
    print(f"{bits} bits: off by at most {coding_error(1.0, bits, coded=1):.1e}, an angle")
# --8<-- [end:errors]

# --8<-- [start:top]
values, rows = top_k(queries, documents, 5)
fast = top_k(queries, documents, 5, candidates=50)  # the same, by an upper bound
coded = top_k(queries, codes, 5)
print(rows[0].tolist(), fast[1][0].tolist(), coded[1][0].tolist())
# --8<-- [end:top]
