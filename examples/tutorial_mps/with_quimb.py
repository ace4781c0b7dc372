"""The tutorial on matrix product states, third part: to quimb and back."""

# --8<-- [start:quimb]
import quimb.tensor as qtn
import torch

from mpsheads.ansatz import brickwork
from mpsheads.interop import from_quimb, to_quimb, to_quimb_gates
from mpsheads.mps import apply_circuit, basis_state, entanglement_entropy, fidelity_matrix

n, batch = 10, 3
circuit = brickwork(n, depth=3)
generator = torch.Generator().manual_seed(0)
angles = torch.randn(batch, circuit.num_parameters, dtype=torch.float64, generator=generator)
zeros = basis_state([0] * n, batch, dtype=torch.complex128)
ours = apply_circuit(zeros, circuit, angles)

for i, psi in enumerate(to_quimb(ours)):  # a batch gives a list
    entropy = entanglement_entropy(ours, 4, base=2)[i]
    print(f"entropy in bits: quimb {psi.entropy(5):.10f}, ours {entropy:.10f}")

simulators = [qtn.CircuitMPS(n) for _ in range(batch)]
for simulator, row in zip(simulators, angles, strict=True):
    simulator.apply_gates(to_quimb_gates(circuit, row))
theirs = from_quimb([simulator.psi for simulator in simulators])  # a list gives a batch
print(*(f"{value:.8f}" for value in fidelity_matrix(ours, theirs).diagonal().tolist()))
# --8<-- [end:quimb]
