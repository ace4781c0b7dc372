"""Similarities that torch compiles and exports, in a process without checks of types."""

import subprocess
import sys

CODE = """
import math

import torch
from torch.testing import assert_close

from mpsheads import approximate_log_fidelity, bloch_log_fidelity, log_fidelity, quantize
from mpsheads import state_log_fidelity

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
check(approximate_log_fidelity, math.pi * torch.rand(3, 7), math.pi * torch.rand(5, 7))
check(bloch_log_fidelity, torch.rand(3, 6) - 0.5, torch.rand(5, 6) - 0.5)
products = lambda zq, zd: state_log_fidelity(zq, zd, (1,))
check(products, torch.rand(3, 8) - 0.5, torch.rand(5, 8) - 0.5)

zq, codes = math.pi * torch.rand(3, 7), quantize(math.pi * torch.rand(5, 7), 2)
compiled = torch.compile(lambda zq: log_fidelity(zq, codes), fullgraph=True, backend="aot_eager")
assert_close(compiled(zq), log_fidelity(zq, codes))
print("all agree")
"""


def test_compiled_and_exported_code_agrees():
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "all agree", done.stderr
