import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import ReferenceHead, fidelity, oracle
from mpsheads.encodings import qubit_amplitudes
from mpsheads.mps.gates import unitary


@pytest.mark.parametrize("n", [64, 128, 256, 384])
def test_it_reproduces_the_numbers_of_the_papers_own_implementation(n, shared):
    golden = np.load(shared / "golden" / f"reference_768_to_{n}.npz")
    golden = {name: torch.as_tensor(golden[name]) for name in golden}
    head = ReferenceHead(768, n)
    assert head.angles_raw.shape == golden["angles_raw"].shape
    with torch.no_grad():
        head.angles_raw.copy_(golden["angles_raw"])
    x = golden["embeddings"].clone().requires_grad_()

    z = head(x)
    found = fidelity(z[:2], z[2:])
    loss = torch.nn.functional.cross_entropy(20 * found, torch.zeros(2).long(), reduction="sum")
    loss.backward()

    amplitudes = torch.stack([(z / 2).cos(), (z / 2).sin()], dim=-1)
    assert_close(amplitudes, golden["amplitudes"], atol=5e-6, rtol=0)
    assert_close(found, golden["fidelity"], atol=5e-5, rtol=0)
    assert_close(loss.double(), golden["loss"].double(), atol=5e-4, rtol=0)
    assert_close(x.grad, golden["grad_embeddings"], atol=5e-4, rtol=0)
    assert_close(head.angles_raw.grad, golden["grad_angles_raw"], atol=5e-4, rtol=0)


def plain_circuit(head, x):
    """The paper's circuit pair by pair, with dense states: control traced out, target measured."""
    n, registers = head.out_features, head.registers
    theta = (torch.tanh(x) + 1) * math.pi / 2
    qubits = [list(qubit_amplitudes(theta[r * n : (r + 1) * n])) for r in range(registers)]
    gates = unitary(2 * math.pi * (torch.tanh(head.angles_raw.detach()) + 1))
    for step in range(registers - 1):
        control, target = registers - 1 - step, registers - 2 - step
        for k in range(n):
            vector = oracle.product_vector([qubits[control][k], qubits[target][k]])
            vector = oracle.apply_matrix(vector, gates[step, 0, k], [0])
            vector = oracle.apply_matrix(vector, gates[step, 1, k], [1])
            vector = oracle.apply_matrix(vector, oracle.controlled(gates[step, 2, k]), [0, 1])
            probabilities = oracle.partial_trace(vector, [1]).diagonal().real
            qubits[target][k] = probabilities.sqrt()
    return torch.stack([2 * torch.asin(qubit[1].abs()) for qubit in qubits[0]])


@pytest.mark.parametrize(("in_features", "out_features"), [(12, 3), (10, 5), (4, 4), (5, 1)])
def test_the_closed_form_equals_the_circuit_gate_by_gate(in_features, out_features, generator):
    head = ReferenceHead(in_features, out_features, generator=generator).double()
    with torch.no_grad():
        head.angles_raw.normal_(generator=generator)
    x = torch.randn(3, in_features, dtype=torch.float64, generator=generator)
    expected = torch.stack([plain_circuit(head, row) for row in x])
    assert_close(head(x), expected)


def test_untrained_it_nearly_passes_on_the_first_register(generator):
    head = ReferenceHead(768, 256, generator=generator)
    x = torch.randn(4, 768, generator=generator)
    angles = (torch.tanh(x[:, :256]) + 1) * math.pi / 2
    assert (head(x) - angles).abs().mean() < 0.1


def test_normalize_makes_the_length_of_an_embedding_irrelevant(generator):
    x = torch.randn(4, 12, generator=generator)
    head = ReferenceHead(12, 4, normalize=True)
    assert_close(head(3 * x), head(x))
    plain = ReferenceHead(12, 4)
    assert not torch.allclose(plain(3 * x), plain(x))


def test_gradients_are_finite_at_saturated_features():
    head = ReferenceHead(12, 4)
    with torch.no_grad():
        head.angles_raw.zero_()  # the identity: poles of the Bloch sphere are hit exactly
    x = torch.tensor([[-40.0, 40.0] * 6, [0.0] * 12], requires_grad=True)
    head(x).sum().backward()
    assert x.grad.isfinite().all()
    assert head.angles_raw.grad.isfinite().all()


def test_gradients_agree_with_finite_differences(generator):
    head = ReferenceHead(6, 2, generator=generator).double()
    x = torch.randn(2, 6, dtype=torch.float64, generator=generator, requires_grad=True)

    def value(x, raw):
        return torch.func.functional_call(head, {"angles_raw": raw}, (x,))

    raw = torch.randn(2, 3, 2, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(value, (x, raw))


def test_a_width_that_does_not_divide_is_refused_with_the_nearest_that_do():
    with pytest.raises(ValueError, match=r"must divide `in_features` 768, got 100.*96 and 128"):
        ReferenceHead(768, 100)


def test_five_of_the_twelve_angles_of_a_pair_count(generator):
    head = ReferenceHead(6, 2, generator=generator).double()
    x = torch.randn(100, 6, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        head.angles_raw.normal_(generator=generator)

    def outputs(value):
        return torch.func.functional_call(head, {"angles_raw": value}, (x,)).cos().flatten()

    jacobian = torch.func.jacrev(outputs)(head.angles_raw.detach()).flatten(1)
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-10)) == 20  # four pairs
