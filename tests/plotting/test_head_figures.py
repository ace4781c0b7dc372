"""Figures of what a head has learned: they show the numbers, fit, and leave nothing behind."""

import math
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mpsheads.mps import product_state, random_mps
from mpsheads.plotting import (
    EntropyProfile,
    PairDistances,
    angle_histogram,
    angle_histogram_on,
    angle_map_on,
    block_entropy_on,
    code_bits_on,
    code_entropy,
    distance_distributions,
    distance_distributions_on,
    entanglement_entropy,
    entanglement_entropy_on,
    overview,
    quality_vs_bytes_on,
)

LIMITS = torch.tensor([1.0, 1.0, 0.0] * 8 + [1.0, 1.0])
DOCX = r"must end in one of .*\.png"


def _row(head, size, mean):
    measures = {"nDCG@10": {"mean": mean, "interval": [mean - 0.02, mean + 0.02]}}
    return {"head": head, "bytes_per_vector": size, "parameters": 9, "measures": measures}


RESULTS = [
    _row(None, 1536, 0.69),
    *(_row("mps", size, 0.5 + size / 4000) for size in (16, 32, 64, 128, 512)),
    *(_row("truncation", size, 0.49 + size / 4000) for size in (16, 32, 64, 128, 512)),
]


@pytest.fixture
def profile(generator):
    entropies = torch.rand(40, len(LIMITS), generator=generator) ** 2 * LIMITS
    return EntropyProfile(entropies, LIMITS, tuple(range(2, 27, 3)))


@pytest.fixture
def z(generator):
    return (torch.randn(300, 24, generator=generator) * 0.4 + math.pi / 2).clamp(0, math.pi)


@pytest.fixture
def pairs(generator):
    near, far = torch.rand(200, generator=generator), torch.rand(900, generator=generator) + 0.7
    queries = {"relevant_queries": torch.arange(200), "other_queries": torch.arange(900) // 5}
    return [
        PairDistances("1 − cosine", near, far, "before: 384 numbers"),
        PairDistances("−log fidelity", 20 * near, 20 * far, "after: 128 numbers", **queries),
    ]


@pytest.fixture
def drawings(profile, z, pairs):
    """Name -> a function that draws to a path."""
    return {
        "entanglement": lambda path, **o: entanglement_entropy(profile, path, **o),
        "angles": lambda path, **o: angle_histogram(z, path, **o),
        "distances": lambda path, **o: distance_distributions(pairs, path, **o),
        "overview": lambda path, **o: overview(
            path,
            states=profile,
            z=z,
            output_range=(0, math.pi),
            distances=pairs,
            results=RESULTS,
            **o,
        ),
    }


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """A function that draws and returns the figure as it was saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1]
    )

    def draw(function, **options):
        function(tmp_path / "plot.png", **options)
        return figures[-1]

    return draw


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def shown(figure) -> list[Text]:
    """All texts of a figure but tick labels outside the limits, which matplotlib keeps unseen."""
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        texts += [axes.title, axes._left_title, axes._right_title]
        texts += axes.get_legend().get_texts() if axes.get_legend() else []
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_majorticklabels(), strict=False)
            there = axis.get_tick_params().get("labelleft", True)
            texts += [label for at, label in ticks if there and low <= at <= high]
    return texts


NAMES = ["entanglement", "angles", "distances", "overview"]


@pytest.mark.parametrize("name", NAMES)
def test_texts_lie_within_the_picture_and_do_not_overlap(name, drawings, saved):
    figure = saved(drawings[name], title="A heading", subtitle="mps head, 384 to 128 numbers; d")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = {
        text: Text.get_window_extent(text, renderer) for text in shown(figure) if text.get_text()
    }
    assert {"A heading", "mps head, 384 to 128 numbers; d"} <= {t.get_text() for t in boxes}
    outside = [
        t.get_text()
        for t, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    assert not outside
    together = [
        (a.get_text(), b.get_text())
        for a, b in combinations(boxes, 2)
        if boxes[a].overlaps(boxes[b])
    ]
    assert not together
    assert min(text.get_fontsize() for text in boxes) >= 12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_every_format_can_be_written(name, ending, drawings, tmp_path):
    path = tmp_path / "new" / f"plot.{ending}"
    assert drawings[name](path) == path
    start = path.read_bytes()[:300]
    assert {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[ending] in start
    if ending == "png":
        assert imread(path).std() > 0.05
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_format_leaves_no_file_and_settings_stay(name, drawings, tmp_path):
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match=DOCX):
        drawings[name](tmp_path / "plot.docx")
    drawings[name](tmp_path / "plot.svg")
    assert [file.name for file in tmp_path.iterdir()] == ["plot.svg"]
    assert dict(matplotlib.rcParams) == before


def test_the_register_shows_mean_and_limit_of_each_block(profile, axes):
    entanglement_entropy_on(profile, axes)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["mean"], profile.strongest.mean(dim=0))
    np.testing.assert_allclose(lines["limit"], 1)
    assert axes.get_xlabel() == "block"


def test_a_chain_without_blocks_is_one_panel_with_every_bond(saved, generator):
    state = random_mps(9, 4, batch_size=12, generator=generator)
    (axes,) = saved(lambda path: entanglement_entropy(state, path)).axes
    assert axes.get_xlabel() == "bond"
    limit = next(line for line in axes.lines if line.get_label() == "limit")
    np.testing.assert_allclose(limit.get_ydata(), [1, 2, 2, 2, 2, 2, 2, 1])


def test_the_blocks_show_the_median_at_each_distance(profile, axes):
    block_entropy_on(profile, axes)
    medians = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "_"]
    expected = [[d, float(np.median(v))] for d, v in profile.by_distance.items()]
    np.testing.assert_allclose(medians, expected)


def test_products_cannot_be_drawn(tmp_path):
    state = product_state(torch.tensor([[[1.0, 0.0]] * 4]))
    with pytest.raises(ValueError, match=r"`states` are products: no bond can carry"):
        entanglement_entropy(state, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


def test_the_histogram_shares_add_up_and_the_map_has_a_column_an_output(z, axes):
    angle_histogram_on(z, axes)
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "π/2", "π"]
    other = Figure().add_subplot()
    angle_map_on(z, other)
    picture = other.images[0].get_array()
    assert picture.shape[1] == 24
    np.testing.assert_allclose(picture.sum(axis=0), 300)


def test_low_values_are_at_the_bottom_of_the_map(axes):
    angle_map_on(torch.full((10, 3), 0.01), axes)
    picture, extent = axes.images[0].get_array(), axes.images[0].get_extent()
    assert axes.images[0].origin == "lower"
    assert (picture[0] == 10).all()
    assert extent == [-0.5, 2.5, 0, math.pi]


def test_the_bars_are_the_bits_in_use(z, axes):
    code_bits_on(z, axes, bits=(8, 2))
    heights = [bar.get_height() for bar in axes.patches]
    used = [float(code_entropy(z, bits).mean()) for bits in (8, 2)]
    np.testing.assert_allclose(heights, [8, used[0], 2, used[1]])
    assert [text.get_text() for text in axes.texts] == [f"≥{used[0]:.1f}", f"{used[1]:.1f}"]


def test_another_range_is_said_at_the_axis_and_codes_can_be_left_out(saved, generator):
    z = torch.rand(50, 6, generator=generator) * 2 - 1
    options = {"low": -1.0, "high": 1.0, "bits": (), "name": "Bloch component"}
    figure = saved(lambda path: angle_histogram(z, path, **options))
    assert len(figure.axes) == 2
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["-1", "0", "1"]
    assert figure.axes[0].get_ylabel() == "Bloch component"


def test_both_distributions_have_the_same_area_and_the_numbers_are_stated(pairs, axes):
    after = pairs[1]
    distance_distributions_on(after, axes)
    outlines = {
        s.get_label(): s for s in axes.patches if s.get_label() in ("relevant pairs", "other pairs")
    }
    assert set(outlines) == {"relevant pairs", "other pairs"}
    for outline in outlines.values():
        density, edges, _ = outline.get_data()
        assert (density * np.diff(edges)).sum() == pytest.approx(1)
    (said,) = axes.texts
    assert said.get_text() == (
        f"overlap {after.overlap:.3f}\nAUC {after.auc:.3f}\n"
        f"within queries {after.auc_within_queries:.3f}"
    )
    assert after.threshold in [line.get_xdata()[0] for line in axes.lines]


def test_equal_distances_can_be_drawn(axes):
    distance_distributions_on(PairDistances("d", torch.ones(3), torch.ones(4)), axes)
    assert axes.get_xlim() == (0.5, 1.5)
    assert all(np.isfinite(outline.get_data()[0]).all() for outline in axes.patches)


def test_quality_into_axes_shows_every_head_and_the_uncompressed(axes):
    quality_vs_bytes_on(RESULTS, axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["MPS head", "truncation"]
    assert 0.69 in [line.get_ydata()[0] for line in axes.lines]
    assert any(len(line.get_ydata()) == 5 for line in axes.lines)
    with pytest.raises(ValueError, match=r"at least one head"):
        quality_vs_bytes_on(RESULTS[:1], axes)


def test_the_overview_leaves_out_what_is_not_given(saved, z, pairs, tmp_path):
    assert len(saved(lambda path: overview(path, z=z)).axes) == 1
    assert len(saved(lambda path: overview(path, z=z, output_range=(0, math.pi))).axes) == 2
    figure = saved(lambda path: overview(path, z=z, distances=pairs, results=RESULTS))
    assert len(figure.axes) == 4
    with pytest.raises(ValueError, match=r"Give at least one of `states`"):
        overview(tmp_path / "empty.png")


def test_nothing_to_compare_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"`distances` must hold at least one"):
        distance_distributions([], tmp_path / "plot.png")
    assert not Path(tmp_path / "plot.png").exists()
