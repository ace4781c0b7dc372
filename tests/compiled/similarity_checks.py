"""Similarities compile and are exported."""

import math

import torch
from torch.testing import assert_close

from mpsheads import log_fidelity, quantize


class Similarity(torch.nn.Module):
    def forward(self, zq, zd):
        return log_fidelity(zq, zd)


def angles(rows, seed):
    return math.pi * torch.rand(rows, 7, generator=torch.Generator().manual_seed(seed))


def test_it_is_compiled_with_its_gradient_and_exported_for_any_batch():
    zq, zd = angles(3, 0).requires_grad_(), angles(5, 1)
    expected = log_fidelity(zq, zd)
    found = torch.compile(log_fidelity, fullgraph=True, backend="aot_eager")(zq, zd)
    assert_close(found, expected)
    slopes = [torch.autograd.grad(value.sum(), zq)[0] for value in (found, expected)]
    assert_close(*slopes)
    sizes = {name: {0: torch.export.Dim(name, max=99)} for name in ("zq", "zd")}
    exported = torch.export.export(Similarity(), (zq.detach(), zd), dynamic_shapes=sizes)
    assert_close(exported.module()(zq[:2], zd[:4]), expected[:2, :4])


def test_codes_are_compiled():
    zq, codes = angles(3, 0), quantize(angles(5, 1), 2)
    compiled = torch.compile(lambda zq: log_fidelity(zq, codes), fullgraph=True, backend="eager")
    assert_close(compiled(zq), log_fidelity(zq, codes))
