"""The tutorial on matrix product states, last part: a variational circuit is trained."""

# ruff: noqa: E402  (each part of the page names what it uses)

# --8<-- [start:problem]
import torch

from mpsheads.mps import Circuit, apply_circuit, basis_state, expectation, ising_hamiltonian

n, starts = 12, 8
hamiltonian = ising_hamiltonian(n, coupling=1.0, field=1.0, dtype=torch.complex128)
layer = Circuit.of(n, [("su4", (i, i + 1)) for i in range(n - 1)])
zeros = basis_state([0] * n, starts, dtype=torch.complex128)
# --8<-- [end:problem]

# --8<-- [start:exact]
hopping = torch.ones(n, dtype=torch.float64).diag() + torch.ones(n - 1, dtype=torch.float64).diag(1)
exact = -torch.linalg.svdvals(hopping).sum()
print(f"exact {exact:.5f}")
# --8<-- [end:exact]


# --8<-- [start:train]
def train(circuit, angles, steps=150):
    """Lower the energy of all circuits at once.

    Returns the trained angles `(starts, parameters)` and the energies `(evaluations, starts)`.
    """
    angles, history = angles.clone().requires_grad_(), []
    optimizer = torch.optim.LBFGS(
        [angles], max_iter=steps, history_size=50, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        states = apply_circuit(zeros, circuit, angles)
        energies = expectation(states, hamiltonian).real  # (starts,)
        energies.sum().backward()  # no energy depends on the angles of another start
        history.append(energies.detach())
        return energies.sum().item()

    optimizer.step(closure)
    return angles.detach(), torch.stack(history)


# --8<-- [end:train]

# --8<-- [start:one]
generator = torch.Generator().manual_seed(0)


def noise(size):
    """Random angles, different for each start."""
    shape = (starts, layer.num_parameters)
    return size * torch.randn(shape, dtype=torch.float64, generator=generator)


first, first_history = train(layer, noise(0.3))
lowest = first_history[-1].sort().values
print(f"best {lowest[0]:.5f}, worst {lowest[-1]:.5f}")
# --8<-- [end:one]

# --8<-- [start:two]
circuit = layer + layer
angles, second_history = train(circuit, torch.cat([first, noise(0.1)], dim=1))
lowest = second_history[-1].sort().values
print(f"best {lowest[0]:.3f}, worst {lowest[-1]:.3f}")
# --8<-- [end:two]

# --8<-- [start:inspect]
from mpsheads.mps import correlation, entanglement_entropy, variance

best = int(second_history[-1].argmin())
trained = apply_circuit(zeros, circuit, angles)[best]
print(trained)
print(f"variance of the energy {variance(trained, hamiltonian).item():.3f}")
print(f"entropy across the middle {entanglement_entropy(trained, bond=5).item():.2f}")
print(f"<ZZ> of sites 3 and 8 {correlation(trained, 'Z', 'Z')[0, 3, 8].real:.2f}")
# --8<-- [end:inspect]

# --8<-- [start:func]
from torch.func import grad, vmap


def energy(angles):
    """Energy of one circuit, for `torch.func`."""
    return expectation(apply_circuit(zeros[:1], circuit, angles), hamiltonian).real[0]


gradients = vmap(grad(energy))(angles)
print(gradients.shape)
# --8<-- [end:func]
