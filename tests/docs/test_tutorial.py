"""The tutorial on matrix product states runs, prints what its page shows, and claims what is so."""

import contextlib
import io
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import quimb as qu
import quimb.tensor as qtn
import torch
from scipy.sparse.linalg import eigsh
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
    from_dense,
    ghz_state,
    ising_hamiltonian,
    log_fidelity,
    log_norm,
    mpo_to_dense,
    overlap,
    random_mps,
    reduced_density_matrix,
    schmidt_values,
    to_dense,
    w_state,
)
from tests.docs.test_figures import shapes

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorials" / "mps.md"
CODE = ROOT / "examples" / "tutorial_mps"
FIGURES = ROOT / "docs" / "figures"
PARTS = ("states", "quench", "with_quimb", "train")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def _run(part: str) -> dict:
    """What a part of the tutorial computes, and under "printed" what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = runpy.run_path(str(CODE / f"{part}.py"))
    return {**names, "printed": printed.getvalue()}


@pytest.fixture(scope="module")
def ran() -> dict[str, dict]:
    return {part: _run(part) for part in PARTS}


def test_the_page_shows_all_code_and_what_it_prints(ran):
    page = PAGE.read_text()
    for part in PARTS:
        sections = re.findall(r"\[start:(\w+)\]", (CODE / f"{part}.py").read_text())
        assert re.findall(rf'--8<-- "examples/tutorial_mps/{part}.py:(\w+)"', page) == sections
    shown = "".join(re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    printed = "".join(ran[part]["printed"] for part in PARTS)
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
    for ours, theirs in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        # the last digit shown may round differently elsewhere
        assert math.isclose(float(ours), float(theirs), rel_tol=0.01, abs_tol=0.0015)


def test_entropies_of_named_states(ran):
    ghz, w, plus, _ = ran["states"]["entropies"]
    assert_close(ghz, torch.full_like(ghz, math.log(2)))
    one = torch.arange(1, 12) / 12  # probability that the excitation is on the left
    assert_close(w, -(one * one.log() + (1 - one) * (1 - one).log()))
    assert_close(plus, torch.zeros_like(plus))
    assert_close(
        log_norm(ran["states"]["long"]), torch.tensor([2048 * math.log(2)], dtype=torch.float64)
    )


def test_energies_of_named_states(ran):
    found = ran["states"]["expectation"](ran["states"]["states"], ran["states"]["hamiltonians"])
    # GHZ: 11 bonds; W: 11 bonds of 1 - 4 / 12; plus: 12 sites in a field of 1
    assert_close(found[:3].real, torch.tensor([-11.0, -22 / 3, -12.0]))


def test_entropy_grows_linearly_until_the_ends_are_felt(ran):
    middle = ran["quench"]["profile"][:, 5]
    growth = middle.diff()[1:]
    assert (growth > 0.25).all()
    assert (growth < 0.31).all()


def test_bounds_lie_below_fidelities_and_close_where_little_is_lost(ran):
    errors, bounds = (torch.stack(ran["quench"][name]) for name in ("errors", "bounds"))
    assert (bounds >= errors - 1e-12).all()
    small = (errors < 0.01) & (errors > 1e-10)
    assert small.any()
    assert (bounds[small] < 1.3 * errors[small]).all()
    assert (errors.diff(dim=0) < 1e-12).all()  # a larger bond is better


def test_the_bound_of_the_cutoff_holds(ran):
    short, exact = ran["quench"]["short"], ran["quench"]["exact"]
    assert short.max_bond < exact.max_bond
    assert (log_fidelity(short, exact).exp() >= short.fidelity_bound - 1e-12).all()


def test_quimb_agrees(ran):
    fidelities = log_fidelity(ran["with_quimb"]["ours"], ran["with_quimb"]["theirs"])
    assert_close(fidelities, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)  # its cutoff


def test_the_exact_energy_is_the_lowest_eigenvalue(ran):
    matrix = mpo_to_dense(ising_hamiltonian(8, dtype=torch.float64))[0]
    hopping = torch.eye(8, dtype=torch.float64) + torch.ones(7, dtype=torch.float64).diag(1)
    assert_close(torch.linalg.eigvalsh(matrix)[0], -torch.linalg.svdvals(hopping).sum())
    assert_close(ran["train"]["exact"].item(), 1 - 1 / math.sin(math.pi / 50))  # 12 sites


def test_training_reaches_the_exact_energy(ran):
    train = ran["train"]
    exact, first, second = (train[k] for k in ("exact", "first_history", "second_history"))
    assert (first >= exact).all()
    assert (second >= exact).all()
    peer = qtn.DMRG1(
        qtn.MPO_ham_ising(12, j=-4, bx=2), bond_dims=2, p0=qtn.MPS_rand_state(12, 2, seed=0)
    )
    peer.solve(tol=1e-10, max_sweeps=100)
    assert round(first[-1].min().item(), 5) == round(peer.energy, 5)
    assert (first[-1].max() - first[-1].min()) < 1e-3
    assert 1 - second[-1].min() / exact < 2e-4
    assert 1 - second[-1].max() / exact < 5e-4


def test_one_layer_makes_states_of_rank_two(ran):
    train = ran["train"]
    made = train["apply_circuit"](train["zeros"], train["layer"], train["first"])
    assert schmidt_values(made)[..., 2:].abs().max() < 1e-12


def test_the_trained_state_is_like_the_ground_state(ran):
    matrix = mpo_to_dense(ising_hamiltonian(12, dtype=torch.float64))[0]
    _, vectors = eigsh(matrix.numpy(), k=1, which="SA")
    ground = from_dense(torch.from_numpy(vectors.T.copy()))
    assert round(entanglement_entropy(ground, 5).item(), 2) == 0.40
    assert round(correlation(ground, "Z", "Z")[0, 3, 8].item(), 2) == 0.30
    assert log_fidelity(ran["train"]["trained"], ground.to(torch.complex128)).exp() > 0.99


def test_vmap_of_grad_is_the_gradient_of_the_batch(ran):
    train = ran["train"]
    angles = train["angles"].clone().requires_grad_()
    states = train["apply_circuit"](train["zeros"], train["circuit"], angles)
    train["expectation"](states, train["hamiltonian"]).real.sum().backward()
    assert_close(train["gradients"], angles.grad)


@pytest.fixture(scope="module")
def drawn(ran, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    script = runpy.run_path(str(FIGURES / "draw_tutorial.py"))
    for name, (_, source) in script["DRAWN"].items():
        numbers = ran[source.removesuffix(".py")] if str(source).endswith(".py") else None
        if str(source).endswith(".json"):
            numbers = script["json"].loads((FIGURES / source).read_text())
        script["draw"](name, numbers, folder)
    return folder


def test_the_committed_figures_are_what_the_script_draws(drawn):
    page = PAGE.read_text()
    shown = re.findall(r"!\[[^\]]+\]\(\.\./figures/([^)]+)\)", page)
    assert sorted(shown) == sorted(file.name for file in drawn.iterdir())
    for name in shown:
        assert "fill: #ffffff" in (FIGURES / name).read_text()
        assert shapes(FIGURES / name) == shapes(drawn / name)


def test_the_command_of_the_scaling_runs():
    page = PAGE.read_text().replace("\\\n", "")
    command = re.search(r"python (benchmarks/scaling.py .*?) --json", page)
    assert command
    options = re.sub(r"--qubits [\d ]+", "--qubits 4 6 ", command[1])
    options = re.sub(r"--batch \d+", "--batch 2", options)
    options = re.sub(r"--repeats \d+", "--repeats 1", options)
    result = subprocess.run(
        [sys.executable, *options.split(), "--compressed-sites", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "quimb" in result.stdout


# The table "Coming from quimb": their call and ours give the same numbers.

HAM = qtn.MPO_ham_ising(8, j=-4, bx=2)
Z, X = (qu.pauli(name).astype(complex) for name in "ZX")
TABLE = {
    "bonds": (lambda psi, phi: psi.bond_sizes(), lambda a, b: a.bond_dims),
    "to_dense": (lambda psi, phi: psi.to_dense().ravel(), lambda a, b: to_dense(a)[0]),
    "norm": (lambda psi, phi: psi.norm(), lambda a, b: log_norm(a).exp()),
    "overlap": (lambda psi, phi: psi.overlap(phi), lambda a, b: overlap(b, a)),
    "add": (lambda psi, phi: (psi + phi).to_dense().ravel(), lambda a, b: to_dense(add(a, b))[0]),
    "gate": (
        lambda psi, phi: psi.gate(Z & X, (2, 5), contract="swap+split").to_dense().ravel(),
        lambda a, b: to_dense(apply_gate(a, torch.tensor(np.kron(Z, X)), (2, 5)))[0],
    ),
    "compress": (
        lambda psi, phi: psi.compress(max_bond=2, cutoff=1e-6, cutoff_mode="rsum2") or psi.norm(),
        lambda a, b: log_norm(compress(a, Truncation(2, cutoff=1e-6))).exp(),
    ),
    "entropy": (lambda psi, phi: psi.entropy(3), lambda a, b: entanglement_entropy(a, 2, base=2)),
    "schmidt": (lambda psi, phi: psi.schmidt_values(3), lambda a, b: schmidt_values(a, 2)[0] ** 2),
    "expectation": (
        lambda psi, phi: psi.local_expectation_canonical(Z & X, (2, 5)),
        lambda a, b: expectation(a, "ZX", (2, 5)),
    ),
    "ising": (
        lambda psi, phi: qtn.expec_TN_1D(psi.H, HAM, psi),
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
        lambda psi, phi: HAM.apply(psi).to_dense().ravel(),
        lambda a, b: to_dense(apply_mpo(a, ising_hamiltonian(8, dtype=torch.complex128)))[0],
    ),
    "named": (
        lambda psi, phi: np.stack([m(8).to_dense().ravel() for m in NAMED]),
        lambda a, b: torch.cat([to_dense(make(8)) for make in (ghz_state, w_state)]),
    ),
}
NAMED = (qtn.MPS_ghz_state, qtn.MPS_w_state)


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
    table = PAGE.read_text().split("## Coming from quimb")[1].split("\n## ")[0]
    ours = re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    named = {name for cell in ours for name in re.findall(r"(?<![.\w])([a-z]\w+)\(", cell)}
    assert len(named) > 20
    assert all(hasattr(mps, name) for name in named)
    theirs = re.findall(r"qtn\.(\w+)", table)
    assert all(hasattr(qtn, name) for name in theirs)
    methods = set(re.findall(r"psi\.(\w+)", table))
    assert all(hasattr(qtn.MatrixProductState, name) for name in methods - {"exponent"})
