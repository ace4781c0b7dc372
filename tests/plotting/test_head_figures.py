"""Figures of what a head has learned: they show the numbers, fit, and leave nothing behind."""

import math
from functools import partial
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
    code_bits_on,
    code_entropy,
    distance_distributions,
    distance_distributions_on,
    draw_panels,
    entanglement_entropy,
    entanglement_entropy_on,
)
from mpsheads.similarity import quantize

LIMITS = torch.tensor([1.0, 1.0, 0.0] * 8 + [1.0, 1.0])
DOCX = r"must end in one of .*\.png"


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
def codes(z):
    return [quantize(z, bits) for bits in (8, 4, 2, 1)]


@pytest.fixture
def drawings(profile, z, codes, pairs):
    """Name -> a function that draws to a path."""
    panels = [
        partial(entanglement_entropy_on, profile, by="place"),
        partial(angle_histogram_on, z),
        partial(code_bits_on, codes),
        *(partial(distance_distributions_on, pair) for pair in pairs),
    ]
    return {
        "entanglement": partial(entanglement_entropy, profile),
        "angles": partial(angle_histogram, z, codes=codes),
        "distances": partial(distance_distributions, pairs),
        "panels": partial(draw_panels, panels, title="A heading"),
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


NAMES = ["entanglement", "angles", "distances", "panels"]


@pytest.mark.parametrize("name", NAMES)
def test_texts_lie_within_the_picture_and_do_not_overlap(name, drawings, saved):
    figure = saved(drawings[name], subtitle="mps head, 384 to 128 numbers; d")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = {
        text: Text.get_window_extent(text, renderer) for text in shown(figure) if text.get_text()
    }
    assert "mps head, 384 to 128 numbers; d" in {t.get_text() for t in boxes}
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
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_format_can_be_written(name, ending, drawings, tmp_path):
    path = tmp_path / "new" / f"plot.{ending}"
    assert drawings[name](path) == path
    start = path.read_bytes()[:300]
    assert {"png": b"\x89PNG", "svg": b"<svg"}[ending] in start
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


def medians(axes):
    return [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "_"]


def test_entropies_show_their_medians_by_place_and_by_block(profile, axes):
    entanglement_entropy_on(profile, axes, by="place")
    values = {d: profile.entropies[:, b] for d, b in profile.bonds_by_distance.items()}
    np.testing.assert_allclose(medians(axes), [[d, np.median(v)] for d, v in values.items()])
    other = Figure().add_subplot()
    entanglement_entropy_on(profile, other, by="block")
    strongest = profile.entropies[:, profile.strongest]
    np.testing.assert_allclose(medians(other), list(enumerate(np.median(strongest, axis=0))))
    with pytest.raises(ValueError, match=r"`by` must be one of"):
        entanglement_entropy_on(profile, other, by="text")


def test_a_chain_without_blocks_is_one_panel_with_every_bond(saved, generator):
    state = random_mps(9, 4, batch_size=12, generator=generator)
    (axes,) = saved(lambda path: entanglement_entropy(state, path)).axes
    assert axes.get_xlabel() == "bond"
    assert [x for x, _ in medians(axes)] == list(range(8))


def test_products_cannot_be_drawn(tmp_path):
    state = product_state(torch.tensor([[[1.0, 0.0]] * 4]))
    with pytest.raises(ValueError, match=r"`states` are products: no bond can carry"):
        entanglement_entropy(state, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


def test_the_histogram_shares_add_up_and_the_map_has_a_column_an_output(z, axes):
    angle_histogram_on(z, axes)
    (steps,) = axes.patches
    assert steps.get_data().values.sum() == pytest.approx(100)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "π/2", "π"]
    other = Figure().add_subplot()
    angle_map_on(z, other)
    picture = other.images[0].get_array()
    assert picture.shape[1] == 24
    np.testing.assert_allclose(picture.sum(axis=0), 300)


def test_low_values_are_at_the_bottom_of_the_map(axes):
    z = torch.stack([torch.full((10,), -1.0), torch.full((10,), 1.0)], dim=1)
    angle_map_on(z, axes)
    picture, extent = axes.images[0].get_array(), axes.images[0].get_extent()
    assert axes.images[0].origin == "lower"
    assert (picture[0, 0], picture[-1, 1]) == (10, 10)
    assert extent == [-0.5, 1.5, -1, 1]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["-1", "0", "1"]
    angle_map_on(torch.ones(5, 2), Figure().add_subplot())  # equal values can be drawn
    with pytest.raises(ValueError, match=r"`z` must have shape \(texts, outputs\)"):
        angle_map_on(torch.zeros(0, 3), axes)


def test_the_bars_are_the_bits_in_use(codes, axes):
    code_bits_on([codes[0], codes[2]], axes)
    heights = [bar.get_height() for bar in axes.patches]
    used = [float(code_entropy(code).mean()) for code in (codes[0], codes[2])]
    np.testing.assert_allclose(heights, [8, used[0], 2, used[1]])
    assert [text.get_text() for text in axes.texts] == [f"≥{used[0]:.1f}", f"{used[1]:.1f}"]


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


def test_nothing_to_compare_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"`distances` must hold at least one"):
        distance_distributions([], tmp_path / "plot.png")
    assert not Path(tmp_path / "plot.png").exists()
