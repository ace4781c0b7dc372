"""The figure of quality by bytes: it shows the numbers, names what counts, and fits."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mpsheads.plotting import (
    QualityPoint,
    pareto_front,
    quality_points,
    quality_vs_bytes,
)
from mpsheads.plotting.style import colour_of

pytestmark = pytest.mark.slow


def point(method, size, mean, **more):
    return QualityPoint(method, size, mean, (mean - 0.02, mean + 0.02), **more)


POINTS = [
    point("uncompressed", 1536, 0.61),
    point("mps", 512, 0.60, label="mps 128×32"),
    point("dense", 512, 0.59, label="dense 128×32"),
    point("mps", 32, 0.55, bits=2, label="mps 128×2", emphasis=True),
    point("mps", 192, 0.50, label="mps 48×32"),
    point("dense", 192, 0.57, label="dense 48×32"),
    point("truncation", 192, 0.502, label="truncation 48×32"),
]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draw points, and return the axes and the texts of the legend."""

    def draw(points, **options):
        figures, save = [], Figure.savefig
        with monkeypatch.context() as patch:
            keep = lambda self, *a, **k: (figures.append(self), save(self, *a, **k))  # noqa: E731
            patch.setattr(Figure, "savefig", keep)
            quality_vs_bytes(points, tmp_path / "drawn.png", **options)
        texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
        return figures[0].axes[0], texts

    return draw


def marks(axes):
    """Positions of all marks."""
    return {
        (float(x), float(y))
        for collection in axes.collections
        if hasattr(collection, "get_sizes") and collection.get_facecolor().size
        for x, y in collection.get_offsets()
    }


@pytest.mark.parametrize("front", [False, True])
def test_the_picture_is_large_enough_for_a_talk_and_leaves_settings(tmp_path, front):
    before = dict(matplotlib.rcParams)
    path = quality_vs_bytes(POINTS, tmp_path / "new" / "p.png", front=front)
    picture = imread(path)
    assert picture.shape[0] >= 1000
    assert picture.shape[1] >= 1600
    assert picture.std() > 0.05
    assert [file.name for file in path.parent.iterdir()] == ["p.png"]
    assert dict(matplotlib.rcParams) == before


def test_points_lie_at_their_values(drawn):
    axes, legend = drawn(POINTS)
    at = {mean: x for x, mean in marks(axes)}
    assert set(at) == {p.mean for p in POINTS}
    assert at[0.60] < 512 < at[0.59]  # side by side
    low, high = axes.get_ylim()
    assert low < 0.48
    assert high > 0.63
    lines = [line.get_ydata() for line in axes.lines]
    assert any(list(y) == [0.55, 0.50, 0.60] for y in lines)  # mps by its bytes
    assert axes.get_title(loc="left").endswith("(dotted line: uncompressed 0.610)")
    assert legend[:4] == ["method", "mps", "dense", "truncation"]


def test_the_front_is_ringed_and_the_one_to_look_at_named(drawn):
    axes, legend = drawn(POINTS, front=True)
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"mps 128×2"}
    assert texts["mps 128×2"].get_fontweight() == "bold"
    boxes = [Text.get_window_extent(text) for text in texts.values()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    np.testing.assert_allclose(steps.get_ydata(), [0.55, 0.57, 0.60, 0.61])
    assert legend[-1] == "Pareto front"


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
