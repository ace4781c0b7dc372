"""The Pareto front, the recommendation, the plan, the figure and the page of a frontier."""

import re
import shlex
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mpsheads.experiments.grid import quantiser_notes
from torch.nn.functional import normalize
from torch.testing import assert_close
from typer.main import get_command

from mpsheads import make_head
from mpsheads.cli.app import app
from mpsheads.experiments import (
    DEFAULT_METHODS,
    FRONTIER_METHODS,
    Grid,
    Row,
    code,
    frontier_table,
    label_of,
    make_frontier,
    pareto_front,
    plan_frontier,
    recommend,
    write_frontier,
    written_lines,
)
from mpsheads.experiments.frontier import usage
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
        seeds=(0,),
        seed_means={0: mean},
        mean=mean,
        scores={"mini/a": values},
        **{"bytes": -(-size * bits // 8), **fields},
    )


def labels(rows):
    return [label_of(each) for each in rows]


class TestRecommendation:
    def test_the_best_within_the_budget_is_taken_if_it_is_told_apart(self):
        rows = [
            row("uncompressed", 0.70, 64, 32),
            row("mps", 0.65, 64, parameters=100),
            row("pca", 0.55, 64),
            row("dense", 0.68, 65),
        ]
        chosen = recommend(rows, 64)
        assert (label_of(chosen.row), chosen.best, chosen.tied) == ("mps 64×8", chosen.row, ())
        assert chosen.comparison is None
        assert chosen.kept == pytest.approx(0.65 / 0.70)
        low, high = chosen.interval
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
        assert label_of(chosen.row) == "mps 64×8"
        assert label_of(chosen.best) == "dense 64×8"
        assert labels(chosen.tied) == ["pca 32×8", "mps 64×8"]
        assert chosen.comparison.difference == pytest.approx(-0.002)
        assert chosen.comparison.p_queries >= 0.05
        assert chosen.kept is None
        assert chosen.interval is None

    def test_then_the_one_of_fewest_bytes(self):
        rows = [row("truncation", 0.651, 64), row("truncation", 0.650, 32)]
        assert label_of(recommend(rows, 64).row) == "truncation 32×8"

    def test_what_a_test_tells_apart_is_not_tied_however_near(self):
        rows = [row("mps", 0.650, parameters=9, spread=1e-4), row("pca", 0.649, spread=1e-4)]
        chosen = recommend(rows, 64)
        assert (chosen.row.method, chosen.tied) == ("mps", ())

    def test_with_few_queries_what_is_far_below_is_still_not_tied(self):
        rows = [row("mps", 0.65, queries=3, parameters=9), row("pca", 0.60, 8, queries=3)]
        assert recommend(rows, 64).row.method == "mps"
        assert recommend(rows, 64, margin=0.1).row.method == "pca"

    def test_a_single_query_and_a_single_row_are_no_obstacle(self):
        chosen = recommend([row("mps", 0.65, queries=1), row("pca", 0.655, 8, queries=1)], 64)
        assert label_of(chosen.row) == "pca 8×8"
        alone = recommend([row("mps", 0.65)], 16)
        assert (alone.row.method, alone.tied) == ("mps", ())
        assert alone.sentence.startswith("Within 16 bytes take mps with 16 numbers of 8 bits (16 ")

    def test_uncompressed_vectors_keep_exactly_all(self):
        chosen = recommend([row("uncompressed", 0.7, 16, 32), row("pca", 0.5)], 64)
        assert (chosen.kept, chosen.interval) == (1.0, (1.0, 1.0))

    def test_a_budget_that_nothing_fits_names_the_smallest(self):
        with pytest.raises(ValueError, match=r"Nothing fits `budget` 15.* smallest .* has 16\."):
            recommend([row("mps", 0.65), row("pca", 0.6, 32)], 15)
        with pytest.raises(ValueError, match="nothing was measured"):
            recommend([], 64)
        with pytest.raises(ValueError, match="`budget` must be"):
            recommend([row("mps", 0.65)], 0)

    def test_the_sentence_says_what_how_much_and_with_what_it_is_tied(self):
        rows = [row("uncompressed", 0.7, 64, 32), row("dense", 0.652, 64, parameters=5000)]
        rows += [row("mps", 0.650, 64, 1, parameters=1), row("pca", 0.651, 64, parameters=9)]
        assert re.fullmatch(
            r"Within 64 bytes take mps with 64 numbers of 1 bit \(8 bytes, 1 parameter\): it keeps "
            r"92\.9% \[9\d\.\d%, 9\d\.\d%\] of the uncompressed quality, is not told apart from "
            r"the best, dense 64×8 \(−0\.002\), nor is pca 64×8\.",
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


@pytest.fixture(scope="module")
def made():
    return make_frontier(made_lines(), 8, encoder="minilm", train="pairs:train", notes=["no faiss"])


def p_values(lines):
    frontier = make_frontier(lines, 1000, encoder="m", train="a")
    return {label_of(row): p for row, p in frontier.p_pca.items()}


class TestTable:
    def test_what_is_kept_is_of_uncompressed_float32_vectors(self, made):
        rows = {label_of(row): row for row in made.table.rows}
        plain = rows["uncompressed 48×32"]
        assert plain.kept == 1.0
        assert all(row.kept == pytest.approx(row.mean / plain.mean) for row in rows.values())

    def test_each_row_is_tested_against_uncompressed_and_pca_of_as_many_bytes(self, made):
        rows = {label_of(row): row for row in made.table.rows}
        assert rows["uncompressed 48×32"].comparison is None
        assert rows["mps 16×8"].comparison.p_queries < 0.05
        p_pca = {label_of(row): p for row, p in made.p_pca.items()}
        assert p_pca["pca 16×8"] is None
        assert p_pca["pq 8×8"] < 0.05
        assert p_pca["uncompressed 48×1"] is None
        for row in rows.values():
            low, high = row.interval
            assert low < row.mean < high

    def test_pca_of_the_same_numbers_goes_before_another_of_as_many_bytes(self):
        lines = results("mps", size=8, bits=8, bytes=8)
        other = results("pca", -0.1, size=16, bits=4, bytes=8)
        assert p_values(lines + other)["mps 8×8"] < 0.05
        same = results("pca", size=8, bits=8, bytes=8)
        assert p_values(lines + other + same)["mps 8×8"] > 0.05

    def test_results_of_two_encoders_are_refused(self):
        with pytest.raises(ValueError, match=r"one encoder .* got tiny on pairs, other on pairs"):
            frontier_table(results("mps") + results("mps", encoder="other"))
        with pytest.raises(ValueError, match="got none"):
            frontier_table([])

    def test_a_grid_chooses_among_the_lines_of_a_file(self):
        lines = [line | {"experiment": "frontier"} for line in made_lines()]
        chosen = written_lines(Grid(methods=("mps",), sizes=(8,), bits=(8,)), lines, "tiny")
        assert {(line["method"], line["size"]) for line in chosen} == {
            ("uncompressed", 48),
            ("mps", 8),
        }
        with pytest.raises(ValueError, match="there are tiny on mini/a trained on pairs"):
            written_lines(Grid(), lines, "other")
        with pytest.raises(ValueError, match="of one training collection"):
            written_lines(Grid(), [*lines, lines[0] | {"train": "x"}], "tiny")


@pytest.fixture
def plan(monkeypatch):
    """Plan a grid for a collection of so many embeddings of this width."""

    def make(features=384, documents=1000, **options):
        def load(source, split):
            texts = {f"d{i}": "text" for i in range(documents)}
            return Collection(f"{source}/{split}", texts, {"q": "text"}, {"q": {"d0": 1}})

        monkeypatch.setattr("mpsheads.experiments.grid.load_collection", load)
        runner = SimpleNamespace(
            encoder=SimpleNamespace(features=features),
            trials=lambda experiment: trials_of(experiment, "tiny", features),
        )
        return plan_frontier(Grid(tests=("a", "b"), train="pairs:x@all", **options), runner)

    return make


def cells(made, label, features=384):
    """Size -> bits of one method."""
    trials = [
        trial
        for experiment in made.experiments
        for trial in trials_of(experiment, "tiny", features)
        if trial.method.label == label
    ]
    return {t.size: tuple(dict.fromkeys(line["bits"] for line in t.results)) for t in trials}


class TestPlan:
    def test_every_vector_has_from_8_to_3072_bytes(self, plan):
        assert cells(plan(), "mps") == {
            384: (32, 8, 4, 2, 1),
            192: (32, 8, 4, 2, 1),
            128: (32, 8, 4, 2, 1),
            64: (32, 8, 4, 2, 1),
            32: (32, 8, 4, 2),  # one bit would be four bytes
        }
        wide = plan(1024)
        assert cells(wide, "mps", 1024)[1024] == (8, 4, 2, 1)
        assert cells(wide, "uncompressed", 1024) == {1024: (32, 8, 4, 2, 1)}  # the others' measure

    def test_sizes_that_do_not_fit_a_method_are_left_out_with_a_note(self, plan):
        made = plan(1024, 300)
        assert list(cells(made, "reference", 1024)) == [512]
        assert list(cells(made, "mps", 1024)) == [1024, 512, 341, 170, 85]
        assert list(cells(made, "pca", 1024)) == [170, 85]
        assert "Left out at 341, 170, 85 numbers: reference" in " ".join(made.notes)
        assert "Left out at 1024, 512, 341 numbers: pca" in " ".join(made.notes)

    def test_codes_of_quantisers_divide_the_features(self, plan):
        pytest.importorskip("faiss")
        made = plan()
        assert list(cells(made, "pq")) == [192, 128, 96, 64, 48, 32, 24, 16, 8]
        assert list(cells(made, "opq")) == [96, 64, 48, 32, 24, 16, 8]
        few = plan(documents=100)
        assert cells(few, "pq") == {}
        assert any("at least 256 vectors, and there are 100" in note for note in few.notes)

    def test_without_faiss_quantisers_are_left_out_with_a_note(self, plan, monkeypatch):
        monkeypatch.setitem(sys.modules, "faiss", None)
        notes = plan().notes
        assert any("opq is left out" in n and "mpsheads[experiments]" in n for n in notes)
        with pytest.raises(ImportError, match=r"mpsheads\[experiments\]"):
            plan(methods=("pq", "opq"))

    def test_quantisers_fitted_to_few_vectors_are_told_of(self):
        lines = results("opq", fitted=1400, parameters=245_760) + results("pca")
        (note,) = quantiser_notes(lines)
        assert "fitted to 1,400 vectors, fewer than the 9,984" in note
        assert "703 bytes for each" in note
        assert quantiser_notes(results("opq", fitted=20_000) + results("pca")) == []

    def test_untrained_methods_run_once_and_first(self, plan):
        made = plan(seeds=(3, 4), methods=("mps", "pca"), sizes=(64,), bits=(8,))
        order = [
            (trial.method.label, trial.seed)
            for experiment in made.experiments
            for trial in trials_of(experiment, "tiny", 384)
        ]
        assert order == [("uncompressed", 0), ("pca", 0), ("mps", 3), ("mps", 4)]
        assert cells(made, "uncompressed") == {384: (32,)}

    def test_what_is_not_possible_is_refused(self, plan):
        with pytest.raises(ValueError, match=r"`method` must be one of .*, got 'mpz'"):
            Grid(methods=("mpz",))
        with pytest.raises(ValueError, match="`method` 'mps' is trained"):
            Grid(methods=("mps",), untrained=True)
        with pytest.raises(ValueError, match="either `train` or `untrained`"):
            Grid(train="x", untrained=True)
        with pytest.raises(ValueError, match="`size` must be at most the 384 numbers"):
            plan(sizes=(385,))
        with pytest.raises(ValueError, match="leave nothing to measure"):
            plan(methods=("pca",), sizes=(1,))


class TestUsage:
    @pytest.mark.parametrize("method", ["mps", "reference", "dense", "mps, depth 2"])
    def test_the_command_of_a_trained_head_can_be_parsed(self, method):
        command, text = usage(row(method, 0.6, 64, 4), 384, "my data:train@all", "m")
        program, name, *arguments = shlex.split(command)
        made = get_command(app).commands[name]
        values = made.make_context(name, arguments).params
        assert program == "mpsheads"
        assert (values["dataset"], values["split"], values["pool"]) == ("my data", "train", "all")
        assert (values["out_features"], values["epochs"], values["hard_negatives"]) == (64, 2, 2)
        assert f'load_head("{values["output"]}")' in text
        assert ("head.quantize(z, 4)" in text) == (method != "dense")

    @pytest.mark.parametrize("bits", [8, 1])
    @pytest.mark.parametrize(
        ("method", "size"), [("pca", 8), ("truncation", 8), ("uncompressed", 32)]
    )
    def test_the_code_of_a_fitted_head_gives_what_was_measured(self, method, size, bits, generator):
        from mpsheads import PCAHead

        x = torch.randn(300, 32, generator=generator)
        command, text = usage(row(method, 0.6, size, bits), 32, "a", "m")
        names = {"x": x, "torch": torch, "normalize": normalize, "PCAHead": PCAHead}
        exec(text, names)
        kind = method if size < 32 else "truncation"
        head = make_head(kind, 32, size, documents=x if kind == "pca" else None)
        assert command is None
        assert_close(names["back"], code(head, head(x), head(x), bits))

    @pytest.mark.parametrize("method", ["pq", "opq"])
    def test_the_code_of_a_quantiser_makes_an_index_of_its_bytes(self, method, generator):
        faiss = pytest.importorskip("faiss")
        x = torch.randn(300, 16, generator=generator)
        names = {"x": x, "faiss": faiss, "normalize": normalize}
        exec(usage(row(method, 0.6, 4), 16, "a", "m")[1], names)
        assert names["index"].ntotal == 300
        assert names["index"].sa_code_size() == 4

    def test_every_method_has_a_usage(self):
        for label in FRONTIER_METHODS:
            assert usage(row(label, 0.6, 8, 8), 32, "a", "m")[1]
        assert set(DEFAULT_METHODS) < set(FRONTIER_METHODS)


class TestReport:
    def test_the_figure_names_the_front_and_the_page_has_all_rows(self, made, tmp_path):
        plot = tmp_path / "more" / "plot.pdf"
        files = write_frontier(made, tmp_path / "out", plot)
        names = ["report.md", "frontier.svg", "frontier.png", "plot.pdf"]
        assert [file.name for file in files] == names
        assert all(file.stat().st_size for file in files)
        text = files[0].read_text(encoding="utf-8")
        assert made.recommendation.sentence in text
        front, every = text.split("## All rows")
        lines = [line for line in every.splitlines() if line.startswith("| ")]
        assert len(lines) == len(made.table.rows) + 2
        assert front.count("\n| uncompressed | 48 | 1 | 6 |") == 1
        assert "- no faiss" in front
        assert f"```python\n{made.code}\n```" in front

    def test_what_json_holds_names_the_front(self, made):
        rows = made.as_dict()["rows"]
        front = [label_of(row) for row in pareto_front(made.table.rows)]
        assert sorted(row["label"] for row in rows if row["on_front"]) == sorted(front)
        assert made.as_dict()["recommendation"]["budget"] == 8

    def test_one_row_without_uncompressed_vectors_is_drawn(self, tmp_path):
        made = make_frontier(results("mps", bytes=16, bits=8), 64, encoder="m", train="a")
        assert write_frontier(made, tmp_path)[1].exists()
