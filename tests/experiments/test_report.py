import re

import pytest

from mpsheads.experiments import append_result, make_tables, read_results, write_report
from tests.experiments.made_up import results, uncompressed


def sweep():
    """All that a report tells apart: sizes, training queries, epochs, ways of training."""
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
    """The folder of a report written from a file of results alone."""
    folder = tmp_path_factory.mktemp("report")
    for line in sweep():
        append_result(folder / "results.jsonl", line | {"versions": {"mpsheads": "1.2"}})
    write_report(read_results(folder / "results.jsonl"), folder / "out")
    return folder / "out"


def test_the_report_says_what_was_run(written):
    text = (written / "report.md").read_text()
    assert "- Tests: mini/a (30 queries), mini/b (45 queries)\n- Versions: mpsheads 1.2\n" in text
    assert [file.name for file in written.iterdir()] == ["report.md"]


@pytest.mark.slow
def test_every_line_of_a_markdown_table_has_as_many_cells_as_its_heading(written):
    text = (written / "report.md").read_text()
    widths = set()
    for block in text.split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1
            widths |= cells
    assert len(widths) > 1
    assert r"a \| b, \<i>odd\</i> \*label\*" in text


def test_what_is_fitted_to_a_part_of_the_queries_says_to_which(tmp_path):
    lines = [line for n in (300, 1000) for line in results("dense", fraction=n)]
    lines += results("mps", fraction=1000, trained="nothing")
    text = write_report(lines, tmp_path).read_text()
    assert len(re.findall(r"\| (?:dense|mps) \|.*\| 1,000 \|", text)) == 2


def test_the_same_results_give_the_same_files(tmp_path):
    lines = [line for line in sweep() if line["experiment"] == "data size"]
    for name in ("a", "b"):
        write_report(lines, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.slow
def test_an_interrupted_sweep_gives_a_report_of_what_is_there(tmp_path):
    left = [
        line
        for line in sweep()
        if (line["method"], line["size"], line["test"]) != ("mps", 6, "mini/b")
        and (line["method"], line["size"], line["seed"]) != ("dense", 12, 2)
    ]
    text = write_report(left, tmp_path).read_text()
    assert "| mps | 6 | head | 24 | 100 | 3 | 0.50" in text
    rows = {(row.label, row.size, row.trained): row for row in make_tables(left)[0].rows}
    half = rows["mps", 6, "head"]
    assert (half.mean, half.comparison, half.kept) == (None, None, None)
    assert "mini/a" in half.scores
    assert list(rows["dense", 12, "head"].seed_means) == [0, 1]


@pytest.mark.parametrize("kept", [0, 56])
def test_the_first_results_of_a_sweep_give_a_report(tmp_path, kept):
    assert f"- Results: {kept}\n" in write_report(sweep()[:kept], tmp_path).read_text()


def test_one_query_and_one_seed_give_a_report(tmp_path):
    lines = []
    for method in ("dense", "mps"):
        lines += results(method, seeds=1, tests={"mini/a": 1})
    text = write_report(lines, tmp_path).read_text()
    assert "| mps | 16 " in text
    assert "| p |" not in text  # there is no test of a single query


@pytest.mark.slow
def test_each_measure_and_training_collection_has_its_own_table(tmp_path):
    lines = results("dense", size=16) + results("mps", size=8) + results("mps")
    lines += [line | {"measure": "R@100"} for line in lines]
    lines += [line | {"train": "other"} for line in lines]
    assert [(t.train, t.measure, len(t.rows)) for t in make_tables(lines)] == [
        ("pairs", "nDCG@10", 3),
        ("pairs", "R@100", 3),
        ("other", "nDCG@10", 3),
        ("other", "R@100", 3),
    ]
    assert write_report(lines, tmp_path).read_text().count("\n## ") == 5  # and how to read them


def test_tests_are_headed_by_split_or_by_collection_where_the_split_says_little(tmp_path):
    tests = {"trec/dl19": 5, "trec/dl20": 5, "cranfield/test": 5, "cisi/test": 5}
    text = write_report(results("dense", tests=tests), tmp_path).read_text()
    assert "| seeds | cisi/test | cranfield/test | dl19 | dl20 | mean |" in text
    text = write_report(results("dense", tests={"a/dl19": 5, "b/dl19": 5}), tmp_path).read_text()
    assert "| seeds | a/dl19 | b/dl19 |" in text


def test_uncompressed_vectors_say_what_is_trained(tmp_path):
    lines = uncompressed() + uncompressed(trained="layers")
    text = write_report(lines, tmp_path).read_text()
    for trained in ("nothing", "layers"):
        assert text.count(f"| uncompressed | 48 | {trained} |") == 1
