"""Circuits as data: build one, train it, send it to another program."""

# --8<-- [start:build]
import torch

from mpsheads import Circuit
from mpsheads.ansatz import brickwork
from mpsheads.mps import apply_circuit, basis_state, bloch_vectors

bell = Circuit.of(2, [("h", 0), ("cx", (0, 1))])
turn = Circuit.of(2, [("rx", 0, [0.3]), ("rzz", (0, 1), [0.7])])
matrix = torch.tensor([[0, 1], [1, 0]])
circuit = bell + turn + Circuit.of(2, [(matrix, 1)]) + bell.inverse()

print(circuit.draw())
# --8<-- [end:build]

# --8<-- [start:train]
ansatz = brickwork(8, depth=2)
zeros = basis_state(torch.zeros(8, dtype=torch.long))
angles = ansatz.parameters()  # zero: the identity
angles += 0.1 * torch.randn(angles.shape, generator=torch.Generator().manual_seed(0))
angles.requires_grad_()
optimizer = torch.optim.Adam([angles], lr=0.1)


def mean_z():
    """The mean of <Z> over all sites."""
    return bloch_vectors(apply_circuit(zeros, ansatz, angles))[..., 2].mean()


for _ in range(30):  # turn every qubit over
    optimizer.zero_grad()
    mean_z().backward()
    optimizer.step()
trained = ansatz.with_parameters(angles)
print(f"{mean_z():.2f}")
# --8<-- [end:train]

# --8<-- [start:cone]
cone, sites = trained.light_cone([0])
print(sites, f"{len(cone)} of {len(trained)} gates")
# --8<-- [end:cone]

# --8<-- [start:qasm]
text = trained.to_qasm(version=3)
again = Circuit.from_qasm(text)
print([operation.gate for operation in again] == [operation.gate for operation in trained])
# --8<-- [end:qasm]
