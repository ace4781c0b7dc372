import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.image import imread

from mpsheads.ansatz import brickwork, qft
from mpsheads.heads import MPSProjectionHead, block_circuit
from mpsheads.mps import Circuit
from mpsheads.mps.gates import FAMILIES
from mpsheads.plotting import draw_circuit, draw_circuit_on, draw_head

pytestmark = pytest.mark.slow

EVERY = Circuit(
    3,
    [(name, tuple(range(family.num_sites))) for name, family in FAMILIES.items()]
    + [(torch.eye(8), (0, 2, 1))],
)


@pytest.fixture
def axes():
    return Figure(figsize=(8, 6)).add_axes((0, 0, 1, 1))


def boxes(axes):
    return [text.get_bbox_patch() for text in axes.texts if text.get_bbox_patch()]


def test_the_picture_is_written_and_not_blank(tmp_path):
    path = draw_circuit(brickwork(4, 2), tmp_path / "new" / "circuit.png")
    picture = imread(path)
    assert min(picture.shape[:2]) > 250
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 50
    assert [file.name for file in path.parent.iterdir()] == ["circuit.png"]


def test_every_gate_stands_on_its_wires(axes):
    draw_circuit_on(Circuit(4, [("rx", 2), ("cx", (3, 1)), ("su4", (1, 0))]), axes)
    texts = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert texts["Rx"] == pytest.approx(-2, abs=0.05)
    assert (texts["SU4₀"], texts["SU4₁"]) == pytest.approx((-1, 0), abs=0.05)
    marks = {line.get_marker(): line.get_ydata()[0] for line in axes.lines}
    assert (marks["o"], marks[r"$\oplus$"]) == (-3, -1)
    assert [texts[str(site)] for site in range(4)] == [0, -1, -2, -3]


def test_no_two_boxes_overlap(axes):
    draw_circuit_on(EVERY + EVERY.inverse(), axes)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.figure.set_size_inches(0.48 * (right - left), 0.48 * (top - bottom))
    axes.figure.draw_without_rendering()
    placed = [box.get_window_extent() for box in boxes(axes)]
    assert len(placed) > 40
    for i, box in enumerate(placed):
        assert not any(box.overlaps(other) for other in placed[:i])


def test_long_circuits_go_on_below_within_the_width(axes):
    draw_circuit_on(qft(9), axes)
    assert axes.get_xlim()[1] < 24 + 1
    assert sum(text.get_text() == "8" for text in axes.texts) > 1
    assert sum(text.get_text() == "P" for text in axes.texts) == 36


def test_colours_tell_gates_with_parameters_from_fixed_ones(axes):
    draw_circuit_on(Circuit(2, [("h", 0), ("rx", 1), ("rzz", (0, 1)), ("x", 0)]), axes)
    h, rx, zz, _, x = (box.get_facecolor() for box in boxes(axes))
    assert same_color(h, x)
    assert len({h, rx, zz}) == 3


def test_a_head_is_drawn_by_its_block(tmp_path):
    head = MPSProjectionHead(12, 4)
    drawn = draw_head(head, tmp_path / "head.svg", block=1)
    alone = draw_circuit(block_circuit(head, 1), tmp_path / "block.svg")
    texts = [file.read_text().count("<path") for file in (drawn, alone)]
    assert texts[0] == texts[1] > 10


def test_a_wrong_format_is_named_and_nothing_else_changes(tmp_path):
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        draw_circuit(qft(2), tmp_path / "circuit.docx")
    assert not list(tmp_path.iterdir())
    draw_circuit(Circuit(1, []), tmp_path / "circuit.svg")
    assert dict(matplotlib.rcParams) == before
