import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from mpsheads.experiments.sentences import number, probability, sentences, signed

from mpsheads.experiments import append_result, key_of, make_report, read_results, write_report
from mpsheads.experiments.figures import draw, styles
from tests.experiments.made_up import results, uncompressed


def table(lines, **options):
    (only,) = make_report(lines, **options).tables
    return only


def row(found, label, **fields):
    (only,) = (
        row
        for row in found.rows
        if row.label == label and all(getattr(row, name) == v for name, v in fields.items())
    )
    return only


class Page(HTMLParser):
    """What an HTML page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.open, self.unbalanced = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.unbalanced.append(tag)


def test_a_true_difference_is_claimed_with_its_p_value():
    found = table(results("dense") + results("mps", 0.02))
    assert row(found, "mps").comparison.p_queries < 0.01
    (sentence,) = sentences(found)
    pattern = (
        r"At 16 of 48 numbers mps is 0\.0\d\d above dense \(p < 0\.001\): a difference is shown\."
    )
    assert re.fullmatch(pattern, sentence)


def test_an_absent_difference_is_not_claimed():
    found = table(results("dense") + results("mps"))
    assert row(found, "mps").comparison.p_queries > 0.05
    (sentence,) = sentences(found)
    assert re.search(r"\(p = [01]\.\d+\): no difference is shown\.$", sentence)
    assert ": a difference" not in sentence


def test_a_difference_that_only_the_uncorrected_p_value_shows_is_not_claimed():
    two = results("dense") + results("mps", 0.006)
    alone = row(table(two), "mps").comparison
    assert alone.p_queries < 0.05
    others = [line for name in "abcdefghijklmnopqrst" for line in results(name)]
    found = table(two + others)
    assert row(found, "mps").comparison.difference == alone.difference
    assert row(found, "mps").comparison.p_queries > 0.05
    assert "no difference is shown" in next(s for s in sentences(found) if " mps " in s)


def test_the_family_of_comparisons_is_the_experiment_with_all_its_encoders():
    lines = results("dense") + results("mps", 0.006)
    alone = row(table(lines), "mps").comparison.p_queries
    other = [line | {"encoder": "other"} for line in lines]
    elsewhere = [line | {"experiment": "frozen"} for line in lines]
    first, second, third = make_report(lines + other + elsewhere).tables
    assert row(first, "mps").comparison.p_queries == pytest.approx(2 * alone)
    assert row(second, "mps").comparison.p_queries == pytest.approx(2 * alone)
    assert row(third, "mps").comparison.p_queries == pytest.approx(alone)


def test_several_sizes_are_told_in_one_sentence_a_method():
    lines = []
    for size, effect in ((24, 0.0), (12, 0.03), (6, -0.03)):
        lines += results("dense", size=size, seeds=1) + results("mps", effect, size=size)
    (sentence,) = sentences(table(lines))
    pattern = (
        r"mps against dense: above at 12 \(\+0\.0\d+, p < 0\.001\) of 48 numbers; "
        r"below at 6 \(−0\.0\d+, p < 0\.001\) of 48 numbers; "
        r"no difference is shown at 24 \([+−]?0\.0\d+, p = [\d.]+\) of 48 numbers\."
    )
    assert re.fullmatch(pattern, sentence)


def test_a_difference_that_seeds_do_not_show_is_told_with_that():
    lines = results("dense", seeds=2) + results("mps", 0.02, seeds=2)
    lines = [line | {"scores": dict(line["scores"])} for line in lines]
    for line in lines:
        shift = 0.2 if line["seed"] == 0 and line["method"] == "mps" else 0.0
        line["scores"] = {q: score + shift for q, score in line["scores"].items()}
    found = table(lines)
    assert row(found, "mps").comparison.p_seeds > 0.05
    assert re.search(r"p < 0\.001; over seeds 0\.\d+, not shown", sentences(found)[0])


def test_rows_of_the_same_size_and_training_are_compared():
    lines = results("dense", 0.05, trained="layers") + results("dense")
    lines += results("mps", trained="layers") + results("mps")
    lines += results("pca", trained="nothing", seeds=1) + results("pca", size=8, seeds=1)
    found = table(lines)
    for trained, expected in (("layers", -0.05), ("head", 0.0)):
        difference = row(found, "mps", trained=trained).comparison.difference
        assert difference == pytest.approx(expected, abs=0.01)
    untrained = row(found, "pca", size=16)
    assert untrained.comparison.difference == pytest.approx(0.0, abs=0.01)
    assert untrained.comparison.p_seeds is None
    assert row(found, "pca", size=8).comparison is None


def test_what_is_kept_of_uncompressed_vectors_is_a_part_of_their_mean():
    found = table(uncompressed() + results("dense", -0.05))
    plain, dense = row(found, "uncompressed"), row(found, "dense")
    assert dense.kept == pytest.approx(dense.mean / plain.mean)
    assert 0.7 < dense.kept < 0.9
    assert plain.kept == 1.0


def test_without_the_baseline_uncompressed_vectors_take_its_place():
    other = results("uncompressed, fidelity", 0.01, size=48, seeds=1, trained="nothing")
    found = table(uncompressed() + other)
    assert found.baseline == "uncompressed"
    (sentence,) = sentences(found)
    assert re.fullmatch(
        r"uncompressed, fidelity is 0\.04\d below uncompressed \(p < 0\.001\): a difference .*",
        sentence,
    )


def test_methods_that_differ_in_settings_are_rows_of_their_own():
    lines = results("dense", settings={"bias": True})
    for depth in (1, 2):
        lines += results("mps", settings={"depth": depth, "axes": "y"})
    assert [row.label for row in table(lines).rows] == ["dense", "mps, depth 1", "mps, depth 2"]


def test_training_layers_with_other_settings_does_not_change_the_label():
    lines = results("mps", settings={"learning_rate": 0.03})
    lines += results("mps", settings={"learning_rate": 4e-5}, trained="layers")
    assert [row.label for row in table(lines).rows] == ["mps", "mps"]


def test_the_table_shows_the_last_epoch_and_compares_at_equal_epochs():
    lines = results("dense", epochs=(1, 2, 3))
    lines += results("mps", epochs=(1, 2))
    for line in lines:
        if line["epoch"] == 3:
            line["scores"] = {q: score + 0.3 for q, score in line["scores"].items()}
    found = table(lines)
    assert (row(found, "dense").epoch, row(found, "mps").epoch) == (3, 2)
    assert abs(row(found, "mps").comparison.difference) < 0.05
    assert len(found.curves) == 5


def test_seeds_with_other_best_epochs_stand_in_one_row():
    lines = [line | {"epoch": line["seed"] + 1} for line in results("dense")]
    (only,) = table(lines).rows
    assert only.seeds == (0, 1, 2)
    assert only.epoch is None


def test_the_last_of_two_lines_with_one_key_counts_and_the_report_says_so():
    lines = results("dense", seeds=1)
    again = [line | {"scores": dict.fromkeys(line["scores"], 0.25)} for line in lines]
    report = make_report(lines + again)
    assert report.tables[0].rows[0].mean == 0.25
    assert report.notes == (
        "2 results were measured more than once; the last line of each counts.",
    )


def test_results_on_different_queries_are_refused():
    lines = results("dense") + results("mps", tests={"mini/a": 30, "mini/b": 44})
    with pytest.raises(ValueError, match="same queries of mini/b: of compression, dense has 45"):
        make_report(lines)


def sweep():
    """All figures that a report has: sizes, training queries, epochs, one size."""
    lines = uncompressed() + uncompressed(experiment="data size")
    for size in (24, 12, 6):
        lines += results("pca", -0.05, size=size, seeds=1, trained="nothing")
        for trained, gain in (("head", 0.0), ("layers", 0.02)):
            lines += results("dense", gain, size=size, trained=trained)
            lines += results("mps", gain + 0.01, size=size, trained=trained)
    for fraction in (0.01, 0.1, 1.0):
        for method in ("dense", "mps"):
            lines += results(method, fraction / 10, experiment="data size", fraction=fraction)
    lines += results("dense", experiment="epochs", epochs=(1, 2, 3))
    lines += results("a | b, <i>odd</i> *label*", experiment="frozen") + results(
        "dense", experiment="frozen"
    )
    return lines


def test_the_report_is_written_from_a_file_of_results_alone(tmp_path):
    for line in sweep():
        append_result(tmp_path / "results.jsonl", line | {"versions": {"mpsheads": "1.2"}})
    report = make_report(read_results(tmp_path / "results.jsonl"))
    assert report.facts["Tests"] == "mini/a (30 queries), mini/b (45 queries)"
    assert (report.facts["Seeds"], report.facts["Versions"]) == ("0 to 2", "mpsheads 1.2")
    markdown, page = write_report(report, tmp_path / "out")
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown.read_text())
    assert figures == [
        "compression-tiny-size.svg",
        "data-size-tiny-training-queries.svg",
        "epochs-tiny-epochs.svg",
        "frozen-tiny-methods.svg",
    ]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "report.md",
        "report.html",
        *figures,
    }
    for name in figures:
        assert ElementTree.parse(tmp_path / "out" / name).getroot().tag.endswith("svg")
    assert page.read_text().count("<svg") == 4


def test_every_line_of_a_markdown_table_has_as_many_cells_as_its_heading(tmp_path):
    markdown, _ = write_report(make_report(sweep()), tmp_path)
    widths = set()
    for block in markdown.read_text().split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1
            widths |= cells
    assert len(widths) > 1
    assert r"a \| b, \<i>odd\</i> \*label\*" in markdown.read_text()


def test_the_page_is_well_formed_asks_nothing_of_the_network_and_repeats_no_id(tmp_path):
    _, file = write_report(make_report(sweep()), tmp_path)
    text = file.read_text()
    page = Page(text)
    assert not page.unbalanced
    assert not page.open
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\((?!#)|@import|<script|<link", text)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "<i>" not in text
    assert "prefers-color-scheme: dark" in text


def test_no_colour_of_a_figure_stays_fixed_on_a_dark_page(tmp_path):
    lines = [line for name in "abcdef" for line in results(name)] + sweep()
    _, file = write_report(make_report(lines), tmp_path)
    svgs = "".join(re.findall(r"<svg.*?</svg>", file.read_text(), re.DOTALL))
    assert "var(--blue)" in svgs
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", svgs)) == set()


def test_the_same_results_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        write_report(make_report(sweep()), tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_an_interrupted_sweep_gives_a_report_that_says_what_is_missing(tmp_path):
    lines = sweep()
    expected = [key_of(line) for line in lines]
    left = [
        line
        for line in lines
        if (line["method"], line["size"], line["test"]) != ("mps", 6, "mini/b")
        and (line["method"], line["size"], line["seed"]) != ("dense", 12, 2)
    ]
    report = make_report(left, expected=expected)
    text = write_report(report, tmp_path)[0].read_text()
    lost = len(lines) - len(left)
    assert f"not complete: {lost} of the {len(lines)} expected ones are missing" in text
    assert (
        "compression, tiny: mps at 6 numbers, 32 bit, head trained: 3 results "
        "(seeds 0 to 2; mini/b)"
    ) in report.missing
    assert "| mps | 6 | head | 24 | 100 | 3 | 0.50" in text
    half = row(report.tables[0], "mps", size=6, trained="head")
    assert (half.mean, half.comparison, half.kept) == (None, None, None)
    assert "mini/a" in half.tests
    assert "Not compared, as tests are missing: mps." in text
    assert row(report.tables[0], "dense", size=12, trained="head").seeds == (0, 1)


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_the_first_results_of_a_sweep_give_a_report(tmp_path, kept):
    lines = sweep()
    report = make_report(lines[:kept], expected=map(key_of, lines))
    markdown, page = write_report(report, tmp_path)
    assert ("There are no results yet." in markdown.read_text()) == (kept == 0)
    assert not Page(page.read_text()).unbalanced


def test_a_line_with_nothing_but_the_needed_fields_gives_a_report(tmp_path):
    needed = ("experiment", "encoder", "method", "size", "seed", "test", "measure", "scores")
    lines = [{name: line[name] for name in needed} for line in results("dense") + results("mps")]
    markdown, _ = write_report(make_report(lines), tmp_path)
    assert "| mps | 16 | – | – | 3 |" in markdown.read_text()


def test_one_query_and_one_seed_give_a_report(tmp_path):
    lines = []
    for method in ("dense", "mps"):
        lines += results(method, seeds=1, tests={"mini/a": 1})
    markdown, _ = write_report(make_report(lines), tmp_path)
    assert re.search(r"dense \(a single query, no test\): no difference", markdown.read_text())


def test_each_measure_and_training_collection_has_its_own_table(tmp_path):
    lines = results("dense") + results("mps")
    lines += [line | {"measure": "R@100"} for line in lines]
    lines += [line | {"train": "other"} for line in lines]
    lines += results("pca", seeds=1, trained="nothing", train=None)
    report = make_report(lines)
    assert [(t.train, t.measure, len(t.rows)) for t in report.tables] == [
        ("pairs", "nDCG@10", 3),
        ("other", "nDCG@10", 3),
        ("pairs", "R@100", 2),
        ("other", "R@100", 2),
    ]
    write_report(report, tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == 4


def test_a_method_has_one_colour_in_all_figures_and_the_known_ones_their_own():
    style = styles(["dense", "x", "mps", "y", "reference"])
    assert style["mps"] == styles(["mps", "dense"])["mps"] == ("#0072B2", "o")
    assert len(set(style.values())) == 5
    many = styles([str(i) for i in range(30)])
    assert len(set(many.values())) == 30


def test_figures_show_means_and_deviations_of_the_rows():
    found = table([line for line in sweep() if line["experiment"] == "data size"])
    (figure,) = draw(found, styles([row.label for row in found.rows])).values()
    (axes,) = figure.axes
    (curve,) = (line for line in axes.lines if line.get_color() == "#0072B2")
    rows = sorted((r for r in found.rows if r.label == "mps"), key=lambda r: r.fraction)
    assert list(curve.get_xdata()) == [1.0, 10.0, 100.0]
    assert list(curve.get_ydata()) == [r.mean for r in rows]
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(max(r.mean + r.sd for r in rows))
    assert axes.get_xscale() == "log"


def test_numbers_never_round_across_the_level_or_show_a_signed_zero():
    assert [probability(p) for p in (0.04999, 0.05, 0.0004, 0.3, 1.0)] == [
        "0.0500",
        "0.050",
        "<0.001",
        "0.30",
        "1.00",
    ]
    assert [number(x) for x in (-0.0001, -0.2, None)] == ["0.000", "−0.200", "–"]
    assert [signed(x) for x in (0.2, -0.2, 0.0001, None)] == ["+0.200", "−0.200", "0.000", "–"]


def test_tests_are_headed_by_split_or_by_collection_where_the_split_says_little(tmp_path):
    tests = {"trec/dl19": 5, "trec/dl20": 5, "cranfield/test": 5, "cisi/test": 5}
    text = write_report(make_report(results("dense", tests=tests)), tmp_path)[0].read_text()
    assert "| seeds | cisi | cranfield | dl19 | dl20 | mean ± sd |" in text
    text = write_report(make_report(results("dense", tests={"a/dl19": 5, "b/dl19": 5})), tmp_path)[
        0
    ].read_text()
    assert "| seeds | a/dl19 | b/dl19 |" in text
