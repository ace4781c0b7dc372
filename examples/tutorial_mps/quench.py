"""The tutorial on matrix product states, second part: time evolution and truncation."""

# ruff: noqa: E402  (each part of the page names what it uses)

# --8<-- [start:quench]
import torch

from mpsheads.ansatz import trotter_ising
from mpsheads.mps import apply_circuit, basis_state, entanglement_entropy

n = 12
times = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5, 3.0], dtype=torch.float64)
circuit = trotter_ising(n, steps=12, time=1.0)
angles = times[:, None] * circuit.parameters(torch.float64)  # (times, parameters)

up = basis_state([0] * n, len(times), dtype=torch.complex128)
exact = apply_circuit(up, circuit, angles)
print(exact)
profile = entanglement_entropy(exact)
print(*(f"{entropy:.3f}" for entropy in profile[:, 5].tolist()))  # across the middle
# --8<-- [end:quench]

# --8<-- [start:pairs]
from mpsheads.mps import fidelity_matrix

for row in fidelity_matrix(exact, exact).tolist():
    print(*(f"{value:.2f}" for value in row))
# --8<-- [end:pairs]

# --8<-- [start:truncate]
from mpsheads.mps import Truncation, log_fidelity

short = apply_circuit(up, circuit, angles, Truncation(max_bond=8))
fidelity = log_fidelity(short, exact).exp()
for row in zip(times, fidelity, short.fidelity_bound, strict=True):
    print("time {:.1f}   fidelity {:.6f}   bound {:.6f}".format(*row))
print(*(f"{weight:.3f}" for weight in short.discarded_weight[-1].tolist()))  # by bond, time 3
# --8<-- [end:truncate]

# --8<-- [start:errors]
bonds = [2, 3, 4, 6, 8, 12, 16, 24, 32]
errors, bounds = [], []
for max_bond in bonds:
    short = apply_circuit(up, circuit, angles, Truncation(max_bond))
    errors.append(-log_fidelity(short, exact).expm1())  # 1 - fidelity, one for each time
    bounds.append(1 - short.fidelity_bound)
# --8<-- [end:errors]

# --8<-- [start:cutoff]
short = apply_circuit(up, circuit, angles, Truncation(cutoff=1e-6))
print(short.bond_dims)
print(f"{(1 - short.fidelity_bound).max():.0e}")
# --8<-- [end:cutoff]
