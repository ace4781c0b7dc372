"""A head outside of Python training code: compiled, exported, in ONNX Runtime, codes in NumPy."""

import numpy as np
import onnxruntime
import torch

from mpsheads import MPSProjectionHead

# --8<-- [start:freeze]
head = MPSProjectionHead(384, 128)  # or MPSProjectionHead.from_pretrained("my-head")
frozen = head.freeze().eval()  # its observables are evolved once; no parameters are left
embeddings = torch.randn(16, 384)
z = frozen(embeddings)
# --8<-- [end:freeze]

# --8<-- [start:compile]
compiled = torch.compile(head, fullgraph=True)
assert torch.allclose(compiled(embeddings), z, atol=1e-5)
# --8<-- [end:compile]

# --8<-- [start:export]
shapes = ({0: torch.export.Dim("batch")},)
torch.export.save(torch.export.export(frozen, (embeddings,), dynamic_shapes=shapes), "head.pt2")
loaded = torch.export.load("head.pt2").module()
assert torch.allclose(loaded(embeddings[:3]), z[:3], atol=1e-5)
# --8<-- [end:export]

# --8<-- [start:onnx]
torch.onnx.export(frozen, (embeddings,), "head.onnx", dynamo=True, dynamic_shapes=shapes)
session = onnxruntime.InferenceSession("head.onnx")
(angles,) = session.run(None, {session.get_inputs()[0].name: embeddings[:3].numpy()})
print("ONNX differs by", float(np.abs(angles - z[:3].numpy()).max()))
# --8<-- [end:onnx]


# --8<-- [start:codes]
def codes_of(angles: np.ndarray, span: float) -> np.ndarray:
    """Eight bits an angle, as `head.quantize(z, 8)` packs them; cells fill a span of [0, pi]."""
    low, width = (1 - span) * np.pi / 2, span * np.pi
    return np.clip((angles - low) * (256 / width), 0, 255).astype(np.uint8)


codes = head.quantize(z, 8)
own = codes_of(z.numpy(), codes.span).astype(int)
assert np.abs(own - codes.packed.numpy()).max() <= 1  # at the edge of a cell, by rounding
# --8<-- [end:codes]
print("codes agree")
