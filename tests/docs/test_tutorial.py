"""The tutorial's table "Coming from quimb": their call and ours give the same numbers."""

import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import mps
from mpsheads.interop import to_quimb
from mpsheads.mps import (
    Truncation,
    add,
    apply_gate,
    apply_mpo,
    canonicalize,
    compress,
    correlation,
    entanglement_entropy,
    expectation,
    ghz_state,
    ising_hamiltonian,
    log_norm,
    overlap,
    random_mps,
    reduced_density_matrix,
    schmidt_values,
    to_dense,
    w_state,
)
from tests.docs.pages import ROOT
from tests.later import Later

pytestmark = pytest.mark.slow

qtn = Later("quimb.tensor")
X, Z = np.array([[0, 1], [1, 0j]]), np.diag([1, -1 + 0j])


def ising():
    return qtn.MPO_ham_ising(8, j=-4, bx=2)


TABLE = {
    "bonds": (lambda psi, phi: psi.bond_sizes(), lambda a, b: a.bond_dims),
    "to_dense": (lambda psi, phi: psi.to_dense().ravel(), lambda a, b: to_dense(a)[0]),
    "norm": (lambda psi, phi: psi.norm(), lambda a, b: log_norm(a).exp()),
    "overlap": (lambda psi, phi: psi.overlap(phi), lambda a, b: overlap(b, a)),
    "add": (lambda psi, phi: (psi + phi).to_dense().ravel(), lambda a, b: to_dense(add(a, b))[0]),
    "gate": (
        lambda psi, phi: psi.gate(np.kron(Z, X), (2, 5), contract="swap+split").to_dense().ravel(),
        lambda a, b: to_dense(apply_gate(a, torch.tensor(np.kron(Z, X)), (2, 5)))[0],
    ),
    "compress": (
        lambda psi, phi: psi.compress(max_bond=2, cutoff=1e-6, cutoff_mode="rsum2") or psi.norm(),
        lambda a, b: log_norm(compress(a, Truncation(2, cutoff=1e-6))).exp(),
    ),
    "entropy": (lambda psi, phi: psi.entropy(3), lambda a, b: entanglement_entropy(a, 2, base=2)),
    "schmidt": (lambda psi, phi: psi.schmidt_values(3), lambda a, b: schmidt_values(a, 2)[0] ** 2),
    "expectation": (
        lambda psi, phi: psi.local_expectation_canonical(np.kron(Z, X), (2, 5)),
        lambda a, b: expectation(a, "ZX", (2, 5)),
    ),
    "ising": (
        lambda psi, phi: qtn.expec_TN_1D(psi.H, ising(), psi),
        lambda a, b: expectation(a, ising_hamiltonian(8, dtype=torch.complex128)),
    ),
    "correlation": (
        lambda psi, phi: psi.correlation(Z, 2, 5),
        lambda a, b: correlation(a, "Z", "Z")[:, 2, 5],
    ),
    "density": (
        lambda psi, phi: np.asarray(psi.partial_trace_to_dense_canonical((2, 5))),
        lambda a, b: reduced_density_matrix(a, (2, 5))[0],
    ),
    "mpo": (
        lambda psi, phi: ising().apply(psi).to_dense().ravel(),
        lambda a, b: to_dense(apply_mpo(a, ising_hamiltonian(8, dtype=torch.complex128)))[0],
    ),
    "named": (
        lambda psi, phi: np.stack(
            [make(8).to_dense().ravel() for make in (qtn.MPS_ghz_state, qtn.MPS_w_state)]
        ),
        lambda a, b: torch.cat([to_dense(make(8)) for make in (ghz_state, w_state)]),
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_rows_of_the_table_for_readers_who_know_quimb(row, generator):
    a, b = (
        canonicalize(random_mps(8, 4, dtype=torch.complex128, generator=generator))
        for _ in range(2)
    )
    a = a.with_sites({}, log_norm=a.log_norm - log_norm(a), center=a.center)  # as quimb assumes
    theirs, ours = TABLE[row]
    wanted = torch.as_tensor(np.array(theirs(*to_quimb(a), *to_quimb(b)))).to(torch.complex128)
    found = torch.as_tensor(ours(a, b)).to(torch.complex128)
    tolerance = {"named": 1e-6, "compress": 5e-3}.get(row)  # single; bonds cut in another order
    tolerance = {"atol": tolerance, "rtol": 0} if tolerance else {}
    assert_close(found.reshape(wanted.shape), wanted, **tolerance)


def test_the_table_names_what_exists():
    table = (
        (ROOT / "docs" / "tutorials" / "mps.md")
        .read_text()
        .split("## Coming from quimb")[1]
        .split("\n## ")[0]
    )
    ours = re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    named = {name for cell in ours for name in re.findall(r"(?<![.\w])([a-z]\w+)\(", cell)}
    assert len(named) > 20
    assert all(hasattr(mps, name) for name in named)
    theirs = re.findall(r"qtn\.(\w+)", table)
    assert all(hasattr(qtn, name) for name in theirs)
    methods = set(re.findall(r"psi\.(\w+)", table))
    assert all(hasattr(qtn.MatrixProductState, name) for name in methods - {"exponent"})
