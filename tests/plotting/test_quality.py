"""The figure of quality by bytes: it shows the numbers, names what counts, and fits."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mpsheads.plotting import (
    QualityPoint,
    pareto_front,
    quality_points,
    quality_vs_bytes,
    quality_vs_bytes_on,
)
from mpsheads.plotting.style import colour_of


def point(method, size, mean, parameters=0, **more):
    return QualityPoint(method, size, mean, (mean - 0.02, mean + 0.02), parameters, **more)


POINTS = [
    point("uncompressed", 1536, 0.61),
    point("mps", 512, 0.60, 4354, label="mps 128×32"),
    point("dense", 512, 0.59, 49280, label="dense 128×32"),
    point("mps", 32, 0.55, 4354, bits=2, label="mps 128×2", emphasis=True),
    point("mps", 192, 0.50, 4400, label="mps 48×32"),
    point("dense", 192, 0.57, 18480, label="dense 48×32"),
    point("truncation", 192, 0.502, label="truncation 48×32"),
]


@pytest.fixture
def axes() -> Axes:
    return Figure(figsize=(9, 6)).add_subplot()


def marks(axes):
    """Position -> area of each mark."""
    found = {}
    for collection in axes.collections:
        if not hasattr(collection, "get_sizes") or collection.get_facecolor().size == 0:
            continue
        for x, y in collection.get_offsets():
            found[float(x), float(y)] = float(collection.get_sizes()[0])
    return found


@pytest.mark.parametrize("front", [False, True])
def test_the_picture_is_large_enough_for_a_talk_and_leaves_settings(tmp_path, front):
    before = dict(matplotlib.rcParams)
    path = quality_vs_bytes(POINTS, tmp_path / "new" / "p.png", budget=64, front=front)
    picture = imread(path)
    assert picture.shape[0] >= 1000
    assert picture.shape[1] >= 1600
    assert picture.std() > 0.05
    assert [file.name for file in path.parent.iterdir()] == ["p.png"]
    assert dict(matplotlib.rcParams) == before


def test_points_lie_at_their_values_and_larger_heads_have_larger_marks(axes):
    quality_vs_bytes_on(POINTS, axes)
    at = {mean: (x, size) for (x, mean), size in marks(axes).items()}
    assert set(at) == {p.mean for p in POINTS}
    assert at[0.60][0] < 512 < at[0.59][0]  # side by side
    assert at[0.502][1] < at[0.60][1] < at[0.59][1]
    low, high = axes.get_ylim()
    assert low < 0.48
    assert high > 0.63
    lines = [line.get_ydata() for line in axes.lines]
    assert any(list(y) == [0.55, 0.50, 0.60] for y in lines)  # mps by its bytes
    assert "uncompressed 0.610" in [text.get_text() for text in axes.texts]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["MPS head", "Linear + tanh", "truncation"]


def test_the_front_is_ringed_and_named_and_no_two_texts_overlap(axes):
    quality_vs_bytes_on(POINTS, axes, front=True, budget=64)
    texts = {text.get_text(): text for text in axes.texts}
    named = {"mps 128×2", "dense 48×32", "mps 128×32"}  # and not what others beat
    assert set(texts) == {*named, "uncompressed 0.610", "budget 64 bytes"}
    assert texts["mps 128×2"].get_fontweight() == "bold"
    boxes = [Text.get_window_extent(text) for text in texts.values()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    np.testing.assert_allclose(steps.get_ydata(), [0.55, 0.57, 0.60, 0.61])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12, unique=True)
)
def test_the_front_is_what_nothing_beats(pairs):
    points = [point("mps", size, mean / 10) for size, mean in pairs]
    front = pareto_front(points)
    beaten = [
        p for p in points if any(q.bytes <= p.bytes and q.mean >= p.mean and q != p for q in points)
    ]
    assert set(front) == set(points) - set(beaten)
    assert all(a.bytes < b.bytes and a.mean < b.mean for a, b in pairwise(front))


def test_points_are_made_of_the_rows_of_a_comparison():
    row = {"head": None, "bytes_per_vector": 192, "parameters": 0}
    row["measures"] = {"RR@10": {"mean": 0.25, "interval": [0.2, 0.3]}}
    expected = QualityPoint("uncompressed", 192, 0.25, (0.2, 0.3))
    assert quality_points([row], "RR@10") == [expected]


def test_methods_without_a_colour_of_their_own_take_different_ones():
    methods = ["mps", "pq", "opq", "other"]
    assert len({colour_of(method, methods) for method in methods}) == 4
    assert colour_of("mps", methods) == colour_of("mps")


def test_mistakes_are_named_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"at least one method besides uncompressed"):
        quality_vs_bytes(POINTS[:1], tmp_path / "plot.png")
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        quality_vs_bytes(POINTS, tmp_path / "plot.docx")
    assert not list(tmp_path.iterdir())
