"""Panels of what a head has learned, and their numbers: against laws and plain loops."""

import math
from functools import partial
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from torch.testing import assert_close

from mpsheads.heads import MPSProjectionHead
from mpsheads.mps import entanglement_entropy, ghz_state, product_state, random_mps
from mpsheads.plotting import (
    EntropyProfile,
    angle_histogram,
    angle_histogram_on,
    angle_map_on,
    draw_entropies,
    draw_panels,
    entropy_on,
    entropy_profile,
)

pytestmark = pytest.mark.slow

LIMITS = torch.tensor([1.0, 1.0, 0.0] * 8 + [1.0, 1.0])


@pytest.fixture
def profile(generator):
    return EntropyProfile(torch.rand(40, len(LIMITS), generator=generator) ** 2 * LIMITS, LIMITS)


@pytest.fixture
def z(generator):
    return (torch.randn(300, 24, generator=generator) * 0.4 + math.pi / 2).clamp(0, math.pi)


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def shown(figure) -> list[Text]:
    """All texts of a figure but tick labels outside the limits, which matplotlib keeps unseen."""
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_majorticklabels(), strict=False)
            texts += [label for at, label in ticks if low <= at <= high]
    return [text for text in texts if text.get_text()]


def test_texts_lie_within_the_picture_and_do_not_overlap(profile, z, tmp_path, monkeypatch):
    figures, save, before = [], Figure.savefig, dict(matplotlib.rcParams)
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1]
    )
    every = EntropyProfile(profile.entropies, torch.ones(len(LIMITS)))
    panels = [
        *(partial(entropy_on, each) for each in (profile, every)),
        partial(angle_histogram_on, z),
    ]
    path = draw_panels(panels, tmp_path / "new" / "plot.png", title="A heading", subtitle="mps")
    assert imread(path).std() > 0.05
    assert list(path.parent.iterdir()) == [path]
    angle_histogram(z, tmp_path / "angles.svg")
    draw_entropies(profile, tmp_path / "entropies.pdf")
    assert dict(matplotlib.rcParams) == before
    for figure in figures:
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = {text: Text.get_window_extent(text, renderer) for text in shown(figure)}
        for box in boxes.values():
            assert min(box.x0, box.y0) >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1
        for a, b in combinations(boxes, 2):
            assert not boxes[a].overlaps(boxes[b]), (a, b)
        assert min(text.get_fontsize() for text in boxes) >= 12
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        draw_panels(panels, tmp_path / "plot.docx", title="")


def medians(axes):
    return [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "_"]


def test_entropies_show_their_medians_by_place_or_by_bond(profile, axes):
    places = {1: range(1, 26, 3), 2: range(0, 26, 3)}
    entropy_on(profile, axes)
    values = [[x, np.median(profile.entropies[:, list(bonds)])] for x, bonds in places.items()]
    np.testing.assert_allclose(medians(axes), values)
    entropy_on(EntropyProfile(profile.entropies, torch.ones(len(LIMITS))), axes)
    assert axes.get_xlabel() == "bond"
    with pytest.raises(ValueError, match=r"no bond can carry entanglement"):
        entropy_on(entropy_profile(product_state(torch.tensor([[[1.0, 0.0]] * 4]))), axes)
    with pytest.raises(ValueError, match=r"`states` must have one number of sites, got \[\]"):
        entropy_profile([])
    several = [product_state(torch.tensor([[[1.0, 0.0]] * n])) for n in (4, 5)]
    with pytest.raises(ValueError, match=r"`states` must have one number of sites, got \[4, 5\]"):
        entropy_profile(several)


def test_the_profile_holds_the_entropies_of_all_batches_in_bits(generator):
    states = [random_mps(6, 3, batch_size=n, generator=generator) for n in (2, 3)]
    profile = entropy_profile(iter(states))
    expected = torch.cat([entanglement_entropy(state, base=2) for state in states])
    assert_close(profile.entropies, expected)
    assert (profile.entropies <= profile.limits + 1e-6).all()
    ghz = entropy_profile(ghz_state(5))
    assert_close(ghz.entropies[0].double(), ghz.limits)


def test_a_head_has_one_block_for_each_kept_qubit(generator):
    head = MPSProjectionHead(11, 4, generator=generator)
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=generator)
        profile = entropy_profile(head.state(torch.randn(5, 11, generator=generator)))
    assert profile.blocks == [[0, 1], [3, 4], [6, 7], [9]]
    assert profile.groups == {1: [1, 4, 7, 9], 2: [0, 3, 6]}


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
    angle_map_on(torch.ones(5, 2), Figure().add_subplot())  # equal values can be drawn
    with pytest.raises(ValueError, match=r"`z` must have shape \(texts, outputs\)"):
        angle_map_on(torch.zeros(0, 3), axes)
    with pytest.raises(ValueError, match=r"`z` .*finite"):
        angle_map_on(torch.full((5, 2), torch.nan), axes)
