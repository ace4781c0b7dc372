"""The tables, drawings and code of docs/circuits.md are what the library does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mpsheads import MPSProjectionHead, ansatz
from mpsheads.mps.gates import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "circuits.md").read_text()
DRAWINGS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_of_gates_holds_every_family_with_its_numbers():
    rows = re.findall(r"^\| `([\w-]+)` \| (\d) \| (\d+) \| (\d?) ?\|", PAGE, re.MULTILINE)
    found = {name: (int(sites), int(angles), rank) for name, sites, angles, rank in rows}
    expected = {}
    for name, family in FAMILIES.items():
        factors = family.factors(torch.zeros(family.num_parameters))
        rank = str(factors[0].shape[-1]) if len(factors) > 1 else ""
        expected[name] = (family.num_sites, family.num_parameters, rank)
    assert found == expected
    assert len(rows) == len(FAMILIES)


@pytest.mark.parametrize("name", ["staircase", "brickwork", "ladder", "tree"])
def test_drawings_are_what_draw_returns(name):
    shown = PAGE.split(f"`{name}(5)`")[1].split("```text\n")[1].split("\n```")[0]
    assert shown == getattr(ansatz, name)(5).draw()


def test_the_circuit_of_the_default_head_is_the_one_shown():
    shown = PAGE.split("reaches as many functions:")[1].split("```text\n")[1].split("\n```")[0]
    assert shown == MPSProjectionHead(9, 3, depth=2).block_circuit().draw()
    assert ansatz.irredundant_staircase(3, 2).num_parameters == 20
    assert ansatz.staircase(3, 2).num_parameters == 34


def test_the_example_prints_its_drawing_and_comes_back_from_qasm(tmp_path):
    pytest.importorskip("qiskit")
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "circuits.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(DRAWINGS[0])
    loss, cone, same = result.stdout.removeprefix(DRAWINGS[0]).splitlines()
    assert float(loss) < -0.9
    assert cone == "(0, 1, 2, 3) 10 of 30 gates"
    assert same == "True"


def test_the_example_of_a_new_gate_works():
    from mpsheads.mps import gates

    blocks = re.findall(r"```python\n(.*?)```", PAGE.split("## A new gate")[1], re.DOTALL)
    names = dict(vars(gates))
    exec(blocks[0], names)
    family = eval("{" + blocks[1] + "}", names)["crz"]
    special = eval(re.search(r"here `(lambda .*?)`\.", PAGE)[1], names)
    angles = torch.tensor([0.4], dtype=torch.float64)
    matrix = gates.controlled(gates.rz(angles[0]))
    torch.testing.assert_close(family.matrix(angles), matrix)
    assert [factor.shape[-1] for factor in family.factors(angles)] == [4, 1]
    assert [factor.shape[-1] for factor in special(angles)] == [2, 1]
