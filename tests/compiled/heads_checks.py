"""Heads compiled, exported and in ONNX Runtime give what they give."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import (
    Circuit,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
)
from mpsheads.heads import freeze

BATCH = torch.export.Dim("batch")
SMALL = {
    "default": lambda: MPSProjectionHead(6, 3),
    "uneven blocks": lambda: MPSProjectionHead(5, 2, readout="probability", ansatz="brickwork"),
    "a circuit with any gates": lambda: MPSProjectionHead(
        4, 2, ansatz=Circuit(2, [("su4", (0, 1)), ("h", 1), ("givens", (0, 1))])
    ),
    "reference": lambda: ReferenceHead(8, 4),
    "pca": lambda: PCAHead(12, 4).fit(torch.randn(50, 12)),
    "many rotations": lambda: MPSProjectionHead(6, 3, mixing=6),
    "any rotation": lambda: MPSProjectionHead(6, 3, mixing="full"),
}
AOT = ("default", "a circuit with any gates")
EXPORTED = ("default", "a circuit with any gates", "reference", "pca", "many rotations")
ONNX = ("a circuit with any gates", "reference", "any rotation")


@pytest.mark.parametrize("name", SMALL)
def test_compiled_in_one_graph_it_is_the_same_gradients_included(name, generator):
    head = SMALL[name]()
    torch._dynamo.reset()
    backend = "aot_eager" if name in AOT else "eager"
    compiled = torch.compile(head, fullgraph=True, backend=backend)
    x = torch.randn(5, head.in_features, generator=generator, requires_grad=True)
    mine, theirs = compiled(x), head(x)
    assert_close(mine, theirs, atol=1e-5, rtol=0)
    weights = torch.randn(mine.shape, generator=generator)
    inputs = [x, *head.parameters()]
    for a, b in zip(
        torch.autograd.grad((mine * weights).sum(), inputs),
        torch.autograd.grad((theirs * weights).sum(), inputs),
        strict=True,
    ):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_default_compiler_takes_it_too(generator):
    head = MPSProjectionHead(6, 3)
    torch._dynamo.reset()
    x = torch.randn(5, 6, generator=generator)
    assert_close(torch.compile(head, fullgraph=True)(x), head(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_it_takes_any_batch(name, tmp_path, generator):
    head = SMALL[name]().eval()
    module = freeze(head) if isinstance(head, MPSProjectionHead) else head
    x = torch.randn(5, head.in_features, generator=generator)
    exported = torch.export.export(module, (x,), dynamic_shapes=({0: BATCH},))
    torch.export.save(exported, tmp_path / "head.pt2")
    module = torch.export.load(tmp_path / "head.pt2").module()
    other = torch.randn(9, head.in_features, generator=generator)
    assert_close(module(other), head(other), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ONNX)
def test_in_onnx_runtime_it_is_the_same(name, tmp_path, generator):
    onnxruntime = pytest.importorskip("onnxruntime")
    head = SMALL[name]().eval()
    module = freeze(head) if isinstance(head, MPSProjectionHead) else head
    x = torch.randn(5, head.in_features, generator=generator)
    file = tmp_path / "head.onnx"
    torch.onnx.export(module, (x,), file, dynamo=True, dynamic_shapes=({0: BATCH},), verbose=False)
    session = onnxruntime.InferenceSession(file)
    other = torch.randn(9, head.in_features, generator=generator)
    (found,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    assert_close(torch.from_numpy(np.asarray(found)), head(other).detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", list(SMALL)[:3])
def test_frozen_it_is_the_same_and_compares_and_codes_alike(name, generator):
    head = SMALL[name]()
    frozen = freeze(head)
    x = torch.randn(5, head.in_features, generator=generator)
    z = frozen(x)
    assert_close(z, head(x), atol=0, rtol=0)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert_close(frozen.similarity(z, z), head.similarity(z, z))
    assert torch.equal(frozen.quantize(z, 8).packed, head.quantize(z, 8).packed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3)
    assert_close(frozen(x), z, atol=0, rtol=0)  # it is a copy


def test_what_evolves_states_cannot_be_frozen():
    for head in (MPSProjectionHead(16, 2, 2, 3), MPSProjectionHead(12, 16, readout="state")):
        with pytest.raises(ValueError, match="no observables to freeze"):
            freeze(head)
