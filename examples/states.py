"""Use the batched matrix product states by themselves: many different states, with gradients."""

# --8<-- [start:states]
import torch

from mpsheads.ansatz import staircase
from mpsheads.mps import apply_circuit, basis_state, bloch_vectors, fidelity_matrix

circuit = staircase(n_sites=12, depth=2)
angles = torch.randn(100, circuit.num_parameters, requires_grad=True)
start = basis_state(torch.zeros(12, dtype=torch.long), batch_size=100)
states = apply_circuit(start, circuit, angles)  # 100 different circuits at once
print(states)  # bond dimension 4: exact, nothing was truncated

loss = fidelity_matrix(states, states).mean() + bloch_vectors(states)[..., 2].mean()
loss.backward()
print(angles.grad is not None)
# --8<-- [end:states]
