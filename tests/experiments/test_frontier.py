"""The Pareto front, the recommendation, the plan, the figure and the page of a frontier."""

import re
import zlib

import numpy as np
import pytest

from mpsheads.experiments import (
    Row,
    frontier_experiment,
    frontier_table,
    recommend,
    write_frontier,
)
from mpsheads.experiments.trials import trials_of
from mpsheads.retrieval import Collection
from tests.experiments.made_up import results, uncompressed

QUERIES = 60


def row(method, mean, size=16, bits=8, *, parameters=0, spread=0.05, queries=QUERIES, **fields):
    """A row of this mean whose queries differ from those of other rows by `spread`."""
    common = np.random.default_rng(7).uniform(0.3, 0.7, queries)
    label = f"{method} {size} {bits}"
    own = np.random.default_rng(zlib.crc32(label.encode())).normal(0, spread, queries)
    values = common + own
    values += mean - values.mean()
    return Row(
        method=method,
        label=method,
        trained="nothing",
        size=size,
        bits=bits,
        fraction=1.0,
        epoch=0,
        parameters=parameters,
        seed_means={0: mean},
        mean=mean,
        scores={"mini/a": values},
        **{"bytes": -(-size * bits // 8), **fields},
    )


def labels(rows):
    return [str(each) for each in rows]


class TestRecommendation:
    def test_the_best_within_the_budget_is_taken_if_it_is_told_apart(self):
        rows = [
            row("uncompressed", 0.70, 64, 32),
            row("mps", 0.65, 64, parameters=100),
            row("pca", 0.55, 64),
            row("dense", 0.68, 65),
        ]
        chosen = recommend(rows, 64)
        assert (str(chosen.row), chosen.best, chosen.tied) == ("mps 64×8", chosen.row, ())
        assert chosen.comparison is None
        low, high = chosen.kept_interval
        assert low < 0.65 / 0.70 < high
        assert high - low < 0.06

    def test_of_tied_rows_the_one_of_fewest_parameters_is_taken(self):
        rows = [
            row("dense", 0.652, 64, parameters=5000),
            row("mps", 0.650, 64, parameters=200),
            row("pca", 0.651, 32, parameters=4000),
            row("truncation", 0.40, 64),
        ]
        chosen = recommend(rows, 64)
        assert str(chosen.row) == "mps 64×8"
        assert str(chosen.best) == "dense 64×8"
        assert labels(chosen.tied) == ["pca 32×8", "mps 64×8"]
        assert chosen.comparison.difference == pytest.approx(-0.002)
        assert chosen.comparison.p_queries >= 0.05
        assert chosen.kept_interval is None

    def test_then_the_one_of_fewest_bytes(self):
        rows = [row("truncation", 0.651, 64), row("truncation", 0.650, 32)]
        assert str(recommend(rows, 64).row) == "truncation 32×8"

    def test_what_a_test_tells_apart_is_not_tied_however_near(self):
        rows = [row("mps", 0.650, parameters=9, spread=1e-4), row("pca", 0.649, spread=1e-4)]
        chosen = recommend(rows, 64)
        assert (chosen.row.method, chosen.tied) == ("mps", ())

    def test_with_few_queries_what_is_far_below_is_still_not_tied(self):
        rows = [row("mps", 0.65, queries=3, parameters=9), row("pca", 0.60, 8, queries=3)]
        assert recommend(rows, 64).row.method == "mps"

    def test_a_single_query_and_a_single_row_are_no_obstacle(self):
        chosen = recommend([row("mps", 0.65, queries=1), row("pca", 0.655, 8, queries=1)], 64)
        assert str(chosen.row) == "pca 8×8"
        alone = recommend([row("mps", 0.65)], 16)
        assert (alone.row.method, alone.tied) == ("mps", ())
        assert alone.sentence.startswith("Within 16 bytes take mps with 16 numbers of 8 bits (16 ")

    def test_uncompressed_vectors_keep_exactly_all(self):
        chosen = recommend([row("uncompressed", 0.7, 16, 32), row("pca", 0.5)], 64)
        assert chosen.kept_interval == (1.0, 1.0)

    def test_a_budget_that_nothing_fits_names_the_smallest(self):
        with pytest.raises(ValueError, match=r"Nothing fits `budget` 15.* smallest .* has 16\."):
            recommend([row("mps", 0.65), row("pca", 0.6, 32)], 15)
        with pytest.raises(ValueError, match="`budget` must be"):
            recommend([row("mps", 0.65)], 0)

    def test_the_sentence_says_what_how_much_and_with_what_it_is_tied(self):
        rows = [row("uncompressed", 0.7, 64, 32), row("dense", 0.652, 64, parameters=5000)]
        rows += [row("mps", 0.650, 64, 1, parameters=1, kept=0.65 / 0.7)]
        rows += [row("pca", 0.651, 64, parameters=9)]
        assert re.fullmatch(
            r"Within 64 bytes take mps with 64 numbers of 1 bit \(8 bytes, 1 parameters\): it has "
            r"0\.650, 92\.9% \[9\d\.\d%, 9\d\.\d%\] of the uncompressed quality\. It is not told "
            r"apart from the best, dense 64×8 \(−0\.002\)\. Also not told apart from the best: "
            r"pca 64×8\.",
            recommend(rows, 64).sentence,
        )


def made_lines():
    lines = uncompressed() + uncompressed(0.04, bits=1, bytes=6)
    for size in (16, 8):
        for bits in (32, 8):
            fields = {"size": size, "bits": bits, "bytes": size * bits // 8}
            lines += results("mps", 0.02, **fields) + results("dense", 0.01, **fields)
            lines += results("pca", size / 1000, seeds=1, trained="nothing", **fields)
    return lines + results("pq", 0.03, size=8, bits=8, bytes=8, seeds=1, trained="nothing")


class TestTable:
    def test_rows_are_compared_with_pca_of_as_many_bytes_and_with_what_is_uncompressed(self):
        rows = {str(row): row for row in frontier_table(made_lines()).rows}
        plain = rows["uncompressed 48×32"]
        assert plain.kept == 1.0
        assert all(row.kept == pytest.approx(row.mean / plain.mean) for row in rows.values())
        assert rows["pq 8×8"].comparison.p_queries < 0.05
        assert rows["pca 16×8"].comparison is rows["uncompressed 48×1"].comparison is None
        for row in rows.values():
            low, high = row.interval
            assert low < row.mean < high

    def test_results_of_two_encoders_are_refused(self):
        with pytest.raises(ValueError, match=r"one encoder .* of tiny trained on pairs, other"):
            frontier_table(results("mps") + results("mps", encoder="other"))
        with pytest.raises(ValueError, match="of none"):
            frontier_table([])


@pytest.fixture
def plan(monkeypatch):
    """The experiment for a collection of so many embeddings of this width, and its notes."""

    def make(features=384, documents=1000, **options):
        def load(source, split):
            texts = {f"d{i}": "text" for i in range(documents)}
            return Collection(f"{source}/{split}", texts, {"q": "text"}, {"q": {"d0": 1}})

        monkeypatch.setattr("mpsheads.experiments.frontier.load_collection", load)
        return frontier_experiment(("a", "b"), "tiny", features, **{"train": "xx:y@all"} | options)

    return make


def cells(experiment, label, features=384):
    """Size -> bits of one method."""
    trials = [t for t in trials_of(experiment, "tiny", features) if t.method.label == label]
    return {t.size: tuple(dict.fromkeys(line["bits"] for line in t.results)) for t in trials}


class TestExperiment:
    def test_every_size_is_measured_in_every_number_of_bits(self, plan):
        bits = (32, 8, 4, 2, 1)
        assert cells(plan()[0], "mps") == dict.fromkeys((384, 192, 128, 64, 32), bits)
        assert list(cells(plan()[0], "codes")) == [192, 128, 96, 64, 48, 32, 24, 16, 8]
        assert cells(plan(1024)[0], "uncompressed", 1024) == {1024: bits}  # the others' measure

    def test_sizes_that_do_not_fit_a_method_are_left_out_with_a_note(self, plan):
        made, notes = plan(1024, 300)
        assert list(cells(made, "reference", 1024)) == [512]
        assert list(cells(made, "mps", 1024)) == [1024, 512, 341, 170, 85]
        assert list(cells(made, "pca", 1024)) == [170, 85]
        assert "reference cannot have 341, 170, 85 numbers" in " ".join(notes)
        assert "pca cannot have 1024, 512, 341 numbers" in " ".join(notes)
        _, notes = plan(sizes=(8,), bits=(32,), methods=("pca", "turboquant"))
        assert notes == ["turboquant can have none of these numbers of bytes."]

    def test_codes_of_quantisers_divide_the_features(self, plan):
        pytest.importorskip("faiss")
        made, notes = plan()
        assert list(cells(made, "pq")) == [192, 128, 96, 64, 48, 32, 24, 16, 8, 4]
        assert list(cells(made, "opq")) == [96, 64, 48, 32, 24, 16, 8, 4]
        assert list(cells(made, "rabitq")) == [384 // 8 + 8]
        assert "pq is fitted to few vectors, 1,000, and partly remembers them." in notes
        few, notes = plan(documents=100)
        assert cells(few, "pq") == {}
        assert "opq needs 384 vectors, and there are 100." in notes

    def test_without_faiss_quantisers_are_left_out_with_a_note(self, plan, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert any("opq needs `pip install" in note for note in plan()[1])

    def test_untrained_methods_run_once_and_first(self, plan):
        made, _ = plan(seeds=(3, 4), methods=("mps", "pca"), sizes=(64,), bits=(8,))
        order = [(trial.method.label, trial.seed) for trial in trials_of(made, "tiny", 384)]
        assert order == [("uncompressed", 0), ("pca", 0), ("mps", 3), ("mps", 4)]
        assert cells(made, "uncompressed") == {384: (32, 8)}

    def test_what_is_not_possible_is_refused(self, plan):
        for message, options in {
            r"`method` must be one of .*, got 'mpz'": {"methods": ("mpz",)},
            "leave nothing to measure": {"methods": ("pca",), "documents": 1},
            "`size` must be at most the 384 numbers": {"sizes": (385,)},
            "either `train` or `untrained`": {"untrained": True},
        }.items():
            with pytest.raises(ValueError, match=message):
                plan(**options)
        with pytest.raises(ValueError, match="leave nothing to measure"):
            plan(methods=("mps",), untrained=True, train=None)


@pytest.mark.slow
def test_the_figure_is_drawn_and_the_page_has_all_rows(tmp_path):
    lines = made_lines()
    table = frontier_table(lines)
    chosen = recommend(table.rows, 8)
    files = write_frontier(lines, table, chosen, tmp_path / "out", notes=["no faiss"])
    assert [file.name for file in files] == ["report.md", "frontier.svg"]
    assert all(file.stat().st_size for file in files)
    text = files[0].read_text(encoding="utf-8")
    assert chosen.sentence in text
    assert "\nno faiss\n" in text
    assert text.count("\n| ") == len(table.rows) + 2


def test_one_row_without_uncompressed_vectors_is_drawn(tmp_path):
    lines = results("mps", bytes=16, bits=8)
    table = frontier_table(lines)
    assert write_frontier(lines, table, recommend(table.rows, 64), tmp_path)[1].exists()
