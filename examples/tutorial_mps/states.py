"""The tutorial on matrix product states, first part: batches of states and circuits."""

# ruff: noqa: E402  (each part of the page names what it uses)

# --8<-- [start:batch]
import torch

from mpsheads.mps import concatenate, ghz_state, product_state, random_mps, w_state

n = 12
generator = torch.Generator().manual_seed(0)
ghz, w = ghz_state(n), w_state(n)
plus = product_state(torch.full((1, n, 2), 0.5**0.5, dtype=torch.complex64))
noise = random_mps(n, bond_dim=4, generator=generator)

states = concatenate([ghz, w, plus, noise])
print(states)
print(states.bond_dims)
print(states.sites[5].shape)  # (batch, left, phys, right)
print(states[:2])
# --8<-- [end:batch]

# --8<-- [start:entropy]
from mpsheads.mps import entanglement_entropy

entropies = entanglement_entropy(states)  # (batch, bonds), in nats
for name, row in zip(["GHZ", "W", "plus", "random"], entropies.abs(), strict=True):
    print(f"{name:7}", *(f"{value:.3f}" for value in row.tolist()))
# --8<-- [end:entropy]

# --8<-- [start:log_norm]
from mpsheads.mps import log_norm

long = product_state(torch.ones(1, 4096, 2, dtype=torch.float64))  # norm sqrt(2) a site
print(f"{log_norm(long).item():.2f}")
# --8<-- [end:log_norm]

# --8<-- [start:circuit]
from mpsheads.ansatz import ghz as ghz_circuit
from mpsheads.mps import apply_circuit, basis_state, fidelity_matrix

circuit = ghz_circuit(5)
print(circuit.draw())
zeros = basis_state([0] * 5)
made = apply_circuit(zeros, circuit)
print(f"{fidelity_matrix(made, ghz_state(5)).item():.4f}")
# --8<-- [end:circuit]

# --8<-- [start:sample]
from mpsheads.mps import measure, sample

shots = sample(ghz, 1000, generator=generator)  # (batch, shots, sites)
print(shots.unique(dim=1).tolist())
outcome, after = measure(ghz, 3, generator=generator)  # one site, and the state it leaves
print(torch.equal(sample(after, 1, generator=generator)[0, 0], outcome[0].expand(n)))
# --8<-- [end:sample]

# --8<-- [start:own]
from mpsheads.mps import Circuit

gates = [("h", 0), ("rx", 1, [0.3]), ("cz", (0, 1)), ("rzz", (1, 3)), ("su4", (3, 2))]
mine = Circuit.of(4, gates)
print(mine)
print((mine + mine.inverse()).draw())
# --8<-- [end:own]

# --8<-- [start:parameters]
from mpsheads.ansatz import brickwork

circuit = brickwork(n_sites=6, depth=2)
zeros = basis_state([0] * 6, batch_size=100)

angles = torch.randn(circuit.num_parameters, generator=generator)
alike = apply_circuit(zeros, circuit, angles)  # one circuit, for every state

angles = torch.randn(100, circuit.num_parameters, generator=generator)
different = apply_circuit(zeros, circuit, angles)  # a hundred circuits, one for each state
print(different)
print(fidelity_matrix(different, different).shape)  # all pairs
# --8<-- [end:parameters]

# --8<-- [start:expectation]
from mpsheads.mps import bloch_vectors, correlation, expectation, ising_hamiltonian

print(*(f"{value:.3f}" for value in expectation(states, "ZZ", sites=(0, 11)).real.tolist()))
print(bloch_vectors(states).shape)  # (batch, sites, 3)
print(correlation(states, "Z", "Z").shape)  # (batch, sites, sites)

fields = torch.tensor([0.0, 0.5, 1.0, 2.0])
hamiltonians = ising_hamiltonian(n, field=fields)
print(hamiltonians)  # an operator for each state
print(*(f"{energy:.3f}" for energy in expectation(states, hamiltonians).real.tolist()))
# --8<-- [end:expectation]
