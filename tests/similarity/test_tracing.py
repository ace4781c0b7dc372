"""What the checks of types stand in the way of: compiled and exported code, errors of types."""

import subprocess
import sys

import pytest

CODE = """
import math

import torch
from torch.testing import assert_close

from mpsheads import log_fidelity, quantize

torch.manual_seed(0)


class Similarity(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, zq, zd):
        return self.function(zq, zd)


def check(function, zq, zd):
    expected = function(zq, zd)
    zq = zq.clone().requires_grad_()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    found = compiled(zq, zd)
    assert_close(found, expected)
    (slope,) = torch.autograd.grad(found.sum(), zq)
    assert_close(slope, torch.autograd.grad(function(zq, zd).sum(), zq)[0])
    zq = zq.detach()
    sizes = {name: {0: torch.export.Dim(name, max=99)} for name in ("zq", "zd")}
    exported = torch.export.export(Similarity(function), (zq, zd), dynamic_shapes=sizes)
    assert_close(exported.module()(zq[:2], zd[:4]), expected[:2, :4])


check(log_fidelity, math.pi * torch.rand(3, 7), math.pi * torch.rand(5, 7))

zq, codes = math.pi * torch.rand(3, 7), quantize(math.pi * torch.rand(5, 7), 2)
compiled = torch.compile(lambda zq: log_fidelity(zq, codes), fullgraph=True, backend="aot_eager")
assert_close(compiled(zq), log_fidelity(zq, codes))
print("all agree")
"""
ERRORS = """
import torch

from mpsheads import Codes, approximate_log_fidelity, log_fidelity, quantize

z = torch.rand(2, 6)
codes = quantize(z, 8)
for function, arguments, error in [
    (log_fidelity, (z, z.long()), "TypeError: `zd` must be a floating-point tensor, got torch.int"),
    (log_fidelity, (z.int(), codes), "TypeError: `zq` must be a floating-point tensor"),
    (log_fidelity, (z, z[0]), "ValueError: `zd` must have two axes, rows and numbers, got 1"),
    (log_fidelity, (z[0], codes), "ValueError: `zq` must have two axes"),
    (approximate_log_fidelity, (z.long(), z), "TypeError: `zq` must be a floating-point"),
    (quantize, (z.long(), 8), "TypeError: `z` must be a floating-point tensor, got torch.int64"),
    (quantize, (z[0], 8), "ValueError: `z` must have two axes, rows and numbers, got 1"),
    (Codes, (torch.zeros(2, 3), 8, 3), "ValueError: `packed` must be a matrix of uint8"),
]:
    try:
        function(*arguments)
        raise SystemExit(f"{function.__name__} does not say {error}")
    except (TypeError, ValueError) as found:
        message = f"{type(found).__name__}: {found}"
        assert message.startswith(error), message
print("all named")
"""


@pytest.mark.slow
def test_code_is_compiled_and_exported_and_types_are_named():
    command = [sys.executable, "-c", CODE + ERRORS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["all agree", "all named"], done.stdout + done.stderr
