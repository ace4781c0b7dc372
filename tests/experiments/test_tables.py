"""Rows, their statistics, and which rows are compared."""

from itertools import pairwise

import numpy as np
import pytest

from mpsheads.experiments import compare, make_tables
from mpsheads.experiments.tables import compare_all
from mpsheads.experiments.wording import number, probability, signed
from mpsheads.retrieval import bootstrap_interval, paired_test
from tests.experiments.made_up import TESTS, results, uncompressed
from tests.later import Later

stats = Later("scipy.stats")


def table(lines):
    (only,) = make_tables(lines)
    return only


def row(found, label, **fields):
    (only,) = (
        row
        for row in found.rows
        if row.label == label and all(getattr(row, name) == v for name, v in fields.items())
    )
    return only


def only(lines):
    (single,) = table(lines).rows
    return single


def by_seed(lines):
    """Seed -> test -> scores."""
    values = {}
    for line in lines:
        values.setdefault(line["seed"], {})[line["test"]] = list(line["scores"].values())
    return values


def test_a_row_has_the_mean_over_tests_and_its_deviation_over_seeds():
    lines = results("mps", seeds=4)
    means = [[np.mean(x) for x in tests.values()] for tests in by_seed(lines).values()]
    found = only(lines)
    assert found.mean == pytest.approx(np.mean(means))
    assert found.sd == pytest.approx(np.std(np.mean(means, axis=1), ddof=1))
    assert found.scores.keys() == TESTS.keys()
    assert only(results("mps", seeds=1)).sd is None


def test_a_seed_that_lacks_a_test_counts_in_the_other_test_alone():
    lines = results("mps", seeds=4)
    few = [line for line in lines if (line["seed"], line["test"]) != (3, "mini/b")]
    assert list(only(few).seed_means) == [0, 1, 2]
    assert only(few).sd == pytest.approx(only(results("mps", seeds=3)).sd)
    assert only(few).scores["mini/a"].mean() == only(lines).scores["mini/a"].mean()


def test_on_one_test_the_comparison_is_that_of_the_retrieval_room():
    a, b = (only(results(m, e, seeds=4, tests={"t": 30})) for m, e in (("a", 0.01), ("b", 0.0)))
    difference = a.scores["t"] - b.scores["t"]
    comparison = compare(a, b)
    assert comparison.difference == pytest.approx(difference.mean())
    assert comparison.p_queries == paired_test(difference)
    assert comparison.interval == bootstrap_interval(difference)
    assert a.interval == bootstrap_interval(a.scores["t"])


def test_each_test_counts_the_same_however_many_queries_it_has():
    tests = {"small": 10, "large": 200}
    a, b = (only(results(m, e, tests=tests)) for m, e in (("a", 0.03), ("b", 0.0)))
    comparison = compare(a, b)
    assert comparison.difference == pytest.approx(a.mean - b.mean)
    low, high = comparison.interval
    assert low < a.mean - b.mean < high


def test_the_p_value_over_seeds_is_the_paired_t_test_of_the_seeds_that_both_have():
    a, b = only(results("a", 0.01, seeds=4)), only(results("b", seeds=3))
    x, y = ([each.seed_means[seed] for seed in range(3)] for each in (a, b))
    assert compare(a, b).p_seeds == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert compare(a, only(results("b", seeds=1))).p_seeds is None
    same = [line | {"seed": seed} for seed in range(3) for line in results("c", seeds=1)]
    assert compare(only(same), only(same)).p_seeds is None  # nothing depends on the seed


def test_a_single_query_has_no_p_value():
    a, b = (only(results(m, seeds=1, tests={"t": 1})) for m in "ab")
    assert compare(a, b).p_queries is None


@pytest.mark.slow
def test_under_chance_alone_p_values_below_5_percent_are_about_5_percent():
    tests = {"t": 12, "u": 12}
    rows = [only(results(f"m{i}", seeds=1, tests=tests, noise=0.0)) for i in range(60)]
    random = np.random.default_rng(0)
    for each in rows:  # `results` centres what is added to the queries
        each.scores.update({test: random.normal(size=12) for test in tests})
    p_values = [compare(a, b).p_queries for a, b in pairwise(rows)]
    assert np.mean(np.array(p_values) < 0.05) < 0.15


def test_correction_counts_queries_and_seeds_apart_and_leaves_none_out():
    base = only(results("b", seeds=3))
    rows = [only(results("a", 0.006, seeds=3)), only(results("c", 0.004, seeds=1)), base]
    alone = [compare(each, base) for each in rows[:2]]
    both = compare_all(rows, [base, base, None])
    assert both[2] is None
    assert both[0].p_queries == pytest.approx(min(1, 2 * alone[0].p_queries))
    assert both[0].p_seeds == pytest.approx(alone[0].p_seeds)
    assert both[1].p_seeds is None


def test_other_queries_are_refused():
    a, b = only(results("a")), only(results("b", tests={"mini/a": 30}))
    with pytest.raises(ValueError, match="must hold the same queries"):
        compare(a, b)
    lines = results("dense") + results("mps", tests={"mini/a": 30, "mini/b": 44})
    with pytest.raises(ValueError, match="same queries of mini/b: of compression, dense has 45"):
        make_tables(lines)


def test_the_family_of_comparisons_is_the_experiment_with_all_its_encoders():
    lines = results("dense") + results("mps", 0.006)
    alone = row(table(lines), "mps").comparison.p_queries
    other = [line | {"encoder": "other"} for line in lines]
    elsewhere = [line | {"experiment": "frozen"} for line in lines]
    first, second, third = make_tables(lines + other + elsewhere)
    assert row(first, "mps").comparison.p_queries == pytest.approx(2 * alone)
    assert row(second, "mps").comparison.p_queries == pytest.approx(2 * alone)
    assert row(third, "mps").comparison.p_queries == pytest.approx(alone)


def test_rows_of_the_same_size_and_training_are_compared():
    lines = results("dense", 0.05, trained="layers") + results("dense")
    lines += results("mps", trained="layers") + results("mps")
    lines += results("pca", trained="nothing", seeds=1)
    lines += results("pca", trained="nothing", size=8, seeds=1)
    found = table(lines)
    for trained, expected in (("layers", -0.05), ("head", 0.0)):
        difference = row(found, "mps", trained=trained).comparison.difference
        assert difference == pytest.approx(expected, abs=0.01)
    assert row(found, "pca", size=8).comparison is None
    untrained = row(found, "pca", size=16).comparison  # with the one that trains least
    assert abs(untrained.difference) < 0.01 or untrained.difference == pytest.approx(
        -0.05, abs=0.01
    )


def test_what_is_kept_of_uncompressed_vectors_is_a_part_of_their_mean():
    found = table(uncompressed() + results("dense", -0.05))
    plain, dense = row(found, "uncompressed"), row(found, "dense")
    assert dense.kept == pytest.approx(dense.mean / plain.mean)
    assert plain.kept == 1.0
    nothing = [line | {"scores": dict.fromkeys(line["scores"], 0.0)} for line in results("dense")]
    assert row(table(uncompressed() + nothing), "dense").kept == 0.0
    other = results("uncompressed, fidelity", 0.01, size=48, seeds=1, trained="nothing")
    found = table(uncompressed() + other)  # without the baseline these take its place
    assert found.baseline == "uncompressed"
    comparison = row(found, "uncompressed, fidelity").comparison
    assert comparison.difference == pytest.approx(-0.04, abs=0.005)


def test_methods_that_differ_in_settings_are_rows_of_their_own():
    lines = results("dense", settings={"bias": True})
    for depth in (1, 2):
        lines += results("mps", settings={"depth": depth, "axes": "y"})
    assert [row.label for row in table(lines).rows] == ["dense", "mps, depth 1", "mps, depth 2"]
    lines = results("mps", settings={"learning_rate": 0.03})
    lines += results("mps", settings={"learning_rate": 4e-5}, trained="layers")
    assert [row.label for row in table(lines).rows] == ["mps", "mps"]


def test_the_last_epoch_of_a_method_is_compared_at_equal_epochs():
    lines = results("dense", epochs=(1, 2, 3)) + results("mps", epochs=(1, 2))
    for line in lines:
        if line["epoch"] == 3:
            line["scores"] = {q: score + 0.3 for q, score in line["scores"].items()}
    found = table(lines)
    assert len(found.rows) == 5
    assert row(found, "mps", epoch=1).comparison is None
    assert abs(row(found, "mps", epoch=2).comparison.difference) < 0.05


def test_the_last_of_two_lines_with_one_key_counts():
    lines = results("dense", seeds=1)
    again = [line | {"scores": dict.fromkeys(line["scores"], 0.25)} for line in lines]
    assert only(lines + again).mean == 0.25


def test_numbers_never_round_across_the_level_or_show_a_signed_zero():
    texts = [probability(p) for p in (0.04999, 0.05, 0.0004, 0.3, 1.0)]
    assert texts == ["0.0500", "0.050", "<0.001", "0.30", "1.00"]
    assert [number(x) for x in (-0.0001, -0.2, None)] == ["0.000", "−0.200", "–"]
    assert [signed(x) for x in (0.2, -0.2, 0.0001, None)] == ["+0.200", "−0.200", "0.000", "–"]
