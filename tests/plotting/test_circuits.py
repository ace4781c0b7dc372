import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Circle, FancyBboxPatch

from mpsheads.ansatz import brickwork, qft
from mpsheads.heads import MPSProjectionHead, block_circuit
from mpsheads.mps import Circuit
from mpsheads.mps.gates import FAMILIES
from mpsheads.plotting import draw_circuit, draw_circuit_on, draw_head

EVERY = Circuit(
    3,
    [(name, tuple(range(family.num_sites))) for name, family in FAMILIES.items()]
    + [(torch.eye(8), (0, 2, 1))],
)


@pytest.fixture
def axes():
    return Figure(figsize=(8, 6)).add_axes((0, 0, 1, 1))


def boxes(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


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
    circles = {patch.radius: patch.center[1] for patch in axes.patches if isinstance(patch, Circle)}
    assert circles == {0.1: -3, 0.2: -1}
    assert [texts[str(site)] for site in range(4)] == [0, -1, -2, -3]


def test_no_two_boxes_overlap_and_texts_lie_in_theirs(axes):
    draw_circuit_on(EVERY + EVERY.inverse(), axes, width=15)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.figure.set_size_inches(0.48 * (right - left), 0.48 * (top - bottom))
    placed = [box.get_window_extent() for box in boxes(axes)]
    for i, box in enumerate(placed):
        assert not any(box.overlaps(other) for other in placed[:i])
    inner = [text.get_window_extent() for text in axes.texts if not text.get_text().isdigit()]
    for text in inner:
        assert any(
            box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1
            for box in placed
        )


def test_long_circuits_go_on_below_within_the_width(axes):
    draw_circuit_on(qft(5), axes, width=6)
    assert axes.get_xlim()[1] < 6 + 1
    assert sum(text.get_text() == "4" for text in axes.texts) > 1
    assert sum(text.get_text() == "P" for text in axes.texts) == 10


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


def test_global_settings_of_matplotlib_stay_as_they_are(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_circuit(Circuit(1, []), tmp_path / "circuit.svg")
    assert dict(matplotlib.rcParams) == before


def test_mistakes_are_named_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        draw_circuit(qft(2), tmp_path / "circuit.docx")
    with pytest.raises(ValueError, match="`width` must be positive, got 0"):
        draw_circuit(qft(2), tmp_path / "circuit.png", width=0)
    assert not list(tmp_path.iterdir())
