import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mpsheads.plotting import quality_vs_bytes
from mpsheads.plotting.labels import spread

NUMBERS = st.floats(0, 100, allow_nan=False)


def result(head, size, parameters, mean):
    measures = {"nDCG@10": {"mean": mean, "interval": [mean - 0.02, mean + 0.02]}}
    return {
        "head": head,
        "bytes_per_vector": size,
        "parameters": parameters,
        "measures": measures,
    }


RESULTS = [
    result(None, 1536, 0, 0.61),
    result("mps", 512, 4354, 0.60),
    result("dense", 512, 49280, 0.59),
    result("mps", 192, 4400, 0.50),
    result("dense", 192, 18480, 0.501),
    result("truncation", 192, 0, 0.502),
]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that draws results and returns the figure as it was saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1]
    )

    def draw(results, **options):
        quality_vs_bytes(results, tmp_path / "plot.png", **options)
        return figures[-1]

    return draw


def markers(axes, head):
    """The markers of one head, smallest size first."""
    return next(c for c in axes.collections if c.get_label() == head)


def test_the_picture_is_large_enough_for_a_talk_and_not_blank(tmp_path):
    path = quality_vs_bytes(RESULTS, tmp_path / "new" / "plot.png", subtitle="docstrings")
    picture = imread(path)
    assert picture.shape[0] >= 1000
    assert picture.shape[1] >= 1600
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 50
    assert [file.name for file in path.parent.iterdir()] == ["plot.png"]


def test_every_head_is_named_once_and_no_two_texts_overlap(drawn):
    figure = drawn(RESULTS)
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    assert list(texts) == ["uncompressed 0.610", "MPS head", "Linear + tanh", "truncation"]
    boxes = [Text.get_window_extent(text) for text in texts.values()]  # without the thin lines
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_points_lie_at_their_values_with_their_intervals(drawn):
    axes = drawn(RESULTS).axes[0]
    mps = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(mps.get_ydata(), [0.50, 0.60])
    assert list(mps.get_xdata()) == sorted(mps.get_xdata())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["192", "512", "1,536"]
    low, high = axes.get_ylim()
    assert low < 0.48
    assert high > 0.63


def test_more_parameters_make_a_larger_marker(drawn):
    axes = drawn(RESULTS).axes[0]
    mps, dense, truncation = (
        markers(axes, head).get_sizes() for head in ("mps", "dense", "truncation")
    )
    assert truncation[0] < mps[0] < dense[0] < dense[1]


def test_heads_at_equal_bytes_stand_side_by_side(drawn):
    axes = drawn([result("mps", 512, 1, 0.5), result("dense", 512, 1, 0.5)]).axes[0]
    x = [markers(axes, head).get_offsets()[0][0] for head in ("mps", "dense")]
    assert x[0] < 512 < x[1]


def test_an_unknown_head_gets_a_colour_and_its_own_name(drawn):
    figure = drawn([result("mps", 512, 1, 0.5), result("new", 512, 1, 0.5)])
    colours = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert set(colours) == {"MPS head", "new"}
    assert colours["new"] != colours["MPS head"]


def test_another_measure_can_be_drawn(drawn):
    row = result("mps", 512, 1, 0.5)
    row["measures"]["RR@10"] = {"mean": 0.25, "interval": (0.2, 0.3)}
    assert drawn([row], measure="RR@10").axes[0].get_title(loc="left") == "RR@10"


def test_global_settings_of_matplotlib_stay_as_they_are(tmp_path):
    before = dict(matplotlib.rcParams)
    quality_vs_bytes(RESULTS, tmp_path / "plot.svg")
    assert dict(matplotlib.rcParams) == before


def test_mistakes_are_named_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"at least one head besides uncompressed"):
        quality_vs_bytes(RESULTS[:1], tmp_path / "plot.png")
    with pytest.raises(ValueError, match=r"`results`\[1\] must hold .* fails at KeyError"):
        quality_vs_bytes([RESULTS[1], {"head": "mps"}], tmp_path / "plot.png")
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        quality_vs_bytes(RESULTS, tmp_path / "plot.docx")
    assert not list(tmp_path.iterdir())


@given(wanted=st.lists(NUMBERS, max_size=8), gap=st.floats(0.1, 30))
def test_labels_are_spread_within_bounds_and_keep_their_order(wanted, gap):
    placed = spread(wanted, gap, 0, 100)
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, 100 / max(1, len(wanted) - 1))
    assert (np.diff(np.array(placed)[order]) >= gap - 1e-9).all()
    assert all(-1e-9 <= y <= 100 + 1e-9 for y in placed)


@given(wanted=st.lists(NUMBERS, max_size=6))
def test_labels_that_do_not_crowd_stay_where_they_are(wanted):
    free = [i * 100.0 + y for i, y in enumerate(wanted)]
    gap = min(np.diff(free), default=1.0)
    if gap > 0:
        np.testing.assert_allclose(spread(free, gap / 2, 0, 700), free)


def test_crowded_labels_move_as_little_as_possible():
    np.testing.assert_allclose(spread([50.0, 50.0, 90.0], 10, 0, 100), [45, 55, 90])
    np.testing.assert_allclose(spread([99.0, 98.0], 10, 0, 100), [100, 90])
