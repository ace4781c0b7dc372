import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mpsheads.experiments import append_result, key_of, make_report, read_results, write_report
from tests.experiments.made_up import results, uncompressed


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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report written from a file of results alone, and the folder that it lies in."""
    folder = tmp_path_factory.mktemp("report")
    for line in sweep():
        append_result(folder / "results.jsonl", line | {"versions": {"mpsheads": "1.2"}})
    report = make_report(read_results(folder / "results.jsonl"))
    write_report(report, folder / "out")
    return report, folder / "out"


def test_the_report_says_what_was_run_and_draws_what_varies(written):
    report, folder = written
    assert report.facts["Tests"] == "mini/a (30 queries), mini/b (45 queries)"
    assert (report.facts["Seeds"], report.facts["Versions"]) == ("0 to 2", "mpsheads 1.2")
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (folder / "report.md").read_text())
    assert figures == [
        "compression-tiny-size.svg",
        "data-size-tiny-training-queries.svg",
        "epochs-tiny-epochs.svg",
        "frozen-tiny-methods.svg",
    ]
    assert {file.name for file in folder.iterdir()} == {"report.md", "report.html", *figures}
    for name in figures:
        assert ElementTree.parse(folder / name).getroot().tag.endswith("svg")
    assert (folder / "report.html").read_text().count("<svg") == 4


def test_every_line_of_a_markdown_table_has_as_many_cells_as_its_heading(written):
    text = (written[1] / "report.md").read_text()
    widths = set()
    for block in text.split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1
            widths |= cells
    assert len(widths) > 1
    assert r"a \| b, \<i>odd\</i> \*label\*" in text


def test_the_page_is_well_formed_asks_nothing_of_the_network_and_repeats_no_id(written):
    text = (written[1] / "report.html").read_text()
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
    lines = [line for name in "abcdefg" for line in results(name, seeds=1)]
    lines += [line for name in ("mps", "pca", "truncation") for line in results(name, seeds=1)]
    _, file = write_report(make_report(lines + results("dense")), tmp_path)
    svgs = "".join(re.findall(r"<svg.*?</svg>", file.read_text(), re.DOTALL))
    assert "var(--blue)" in svgs
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", svgs)) == set()


def test_the_same_results_give_the_same_files(tmp_path):
    lines = [line for line in sweep() if line["experiment"] == "data size"]
    for name in ("a", "b"):
        write_report(make_report(lines), tmp_path / name)
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
        "compression, tiny: mps at 6 numbers, 32 bit, head trained: results missing: 3 "
        "(seeds 0 to 2; mini/b)"
    ) in report.missing
    assert "| mps | 6 | head | 24 | 100 | 3 | 0.50" in text
    rows = {(row.label, row.size, row.trained): row for row in report.tables[0].rows}
    half = rows["mps", 6, "head"]
    assert (half.mean, half.comparison, half.kept) == (None, None, None)
    assert "mini/a" in half.tests
    assert "Not compared, as tests are missing: mps." in text
    assert rows["dense", 12, "head"].seeds == (0, 1)


@pytest.mark.parametrize("kept", [0, 56])
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
    assert "| mps | 16 | 3 |" in markdown.read_text()


def test_one_query_and_one_seed_give_a_report(tmp_path):
    lines = []
    for method in ("dense", "mps"):
        lines += results(method, seeds=1, tests={"mini/a": 1})
    markdown, _ = write_report(make_report(lines), tmp_path)
    assert re.search(r"no difference is shown at .*a single query, no test\)", markdown.read_text())


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


def test_tests_are_headed_by_split_or_by_collection_where_the_split_says_little(tmp_path):
    tests = {"trec/dl19": 5, "trec/dl20": 5, "cranfield/test": 5, "cisi/test": 5}
    text = write_report(make_report(results("dense", tests=tests)), tmp_path)[0].read_text()
    assert "| seeds | cisi/test | cranfield/test | dl19 | dl20 | mean ± sd |" in text
    text = write_report(make_report(results("dense", tests={"a/dl19": 5, "b/dl19": 5})), tmp_path)[
        0
    ].read_text()
    assert "| seeds | a/dl19 | b/dl19 |" in text
