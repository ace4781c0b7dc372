from dataclasses import replace

import numpy as np
import pytest
from mpsheads.experiments.statistics import mean_interval
from scipy import stats

from mpsheads.experiments import compare, correct, summarise
from mpsheads.retrieval import bootstrap_interval, paired_test
from tests.experiments.made_up import TESTS, scores


def method(name, effect=0.0, seeds=range(4), tests=TESTS, noise=0.02):
    return {
        seed: {test: scores(name, seed, test, n, effect, noise) for test, n in tests.items()}
        for seed in seeds
    }


def test_the_summary_is_the_mean_and_deviation_over_seeds_of_the_mean_over_tests():
    a = method("a")
    means = [[np.mean(list(row.values())) for row in tests.values()] for tests in a.values()]
    summary = summarise(a)
    assert summary.mean == pytest.approx(np.mean(means))
    assert summary.sd == pytest.approx(np.std(np.mean(means, axis=1), ddof=1))
    assert summary.tests == pytest.approx(dict(zip(TESTS, np.mean(means, axis=0), strict=True)))
    assert summary.seeds == (0, 1, 2, 3)


def test_one_seed_has_no_deviation():
    assert summarise(method("a", seeds=[5])).sd is None


def test_a_seed_that_lacks_a_test_counts_in_the_other_test_alone():
    a = method("a")
    del a[3]["mini/b"]
    summary = summarise(a)
    assert summary.seeds == (0, 1, 2)
    assert summary.sd == summarise(method("a", seeds=range(3))).sd
    assert summary.tests["mini/a"] == summarise(method("a")).tests["mini/a"]


def test_on_one_test_the_comparison_is_that_of_the_retrieval_room():
    tests = {"mini/a": 30}
    a, b = method("a", 0.01, tests=tests), method("b", tests=tests)
    x, y = (
        [np.mean([found[seed]["mini/a"][f"q{q}"] for seed in found]) for q in range(30)]
        for found in (a, b)
    )
    comparison = compare(a, b)
    difference = np.subtract(x, y)
    assert comparison.difference == pytest.approx(difference.mean())
    assert comparison.p_queries == paired_test(x, y).p_value
    assert comparison.effect_size == pytest.approx(difference.mean() / difference.std(ddof=1))
    expected = bootstrap_interval(difference.tolist())
    assert comparison.interval == pytest.approx(expected, abs=0.001)  # other random numbers


def test_each_test_counts_the_same_however_many_queries_it_has():
    tests = {"small": 10, "large": 200}
    a = {0: {"small": dict.fromkeys("abcde", 0.5), "large": dict.fromkeys(range(200), 0.1)}}
    b = {0: {"small": dict.fromkeys("abcde", 0.1), "large": dict.fromkeys(range(200), 0.1)}}
    assert compare(a, b).difference == pytest.approx(0.2)
    a, b = method("a", 0.03, tests=tests), method("b", tests=tests)
    summaries = summarise(a).mean - summarise(b).mean
    comparison = compare(a, b)
    assert comparison.difference == pytest.approx(summaries)
    low, high = comparison.interval
    assert low < summaries < high


def test_the_interval_over_queries_is_drawn_within_each_test():
    flat = {0: {"low": dict.fromkeys("abcdefgh", 0.2), "high": dict.fromkeys("abcd", 0.8)}}
    assert mean_interval(flat) == pytest.approx((0.5, 0.5))


def test_the_p_value_over_seeds_is_the_paired_t_test_of_their_means():
    a, b = method("a", 0.01), method("b", seeds=range(1, 6))
    x, y = (
        [
            np.mean([np.mean(list(row.values())) for row in found[seed].values()])
            for seed in (1, 2, 3)
        ]
        for found in (a, b)
    )
    assert compare(a, b).p_seeds == pytest.approx(stats.ttest_rel(x, y).pvalue)


def test_fewer_than_two_common_seeds_and_methods_without_randomness_have_no_p_over_seeds():
    a = method("a")
    assert compare(a, method("b", seeds=[3, 8])).p_seeds is None
    assert compare(a, method("b", seeds=[8, 9])).p_seeds is None
    same = dict.fromkeys(range(4), a[0])
    other = {seed: method("b")[0] for seed in range(4)}
    assert compare(same, other).p_seeds is None


def test_a_true_difference_is_found_and_an_absent_one_is_not():
    found = [compare(method(f"a{i}", 0.015), method(f"b{i}")).p_queries for i in range(10)]
    absent = [compare(method(f"a{i}"), method(f"b{i}")).p_queries for i in range(10)]
    assert max(found) < 0.01
    assert min(absent) > 0.05


def test_under_chance_alone_p_values_below_5_percent_are_about_5_percent():
    random = np.random.default_rng(0)
    p_values = []
    for _ in range(150):
        x, y = random.normal(size=(2, 20)), random.normal(size=(2, 20))
        a, b = ({0: {"t": dict(enumerate(v[0])), "u": dict(enumerate(v[1]))}} for v in (x, y))
        p_values.append(compare(a, b).p_queries)
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.12


def test_a_single_query_has_no_p_value_and_no_effect_size():
    comparison = compare({0: {"t": {"q": 0.5}}}, {0: {"t": {"q": 0.25}}})
    assert (comparison.p_queries, comparison.p_seeds, comparison.effect_size) == (None, None, None)
    assert comparison.difference == 0.25


def test_correction_counts_queries_and_seeds_apart_and_leaves_none_out():
    base = compare(method("a"), method("b"))
    found = correct(
        [
            replace(base, p_queries=0.01, p_seeds=None),
            replace(base, p_queries=0.04, p_seeds=0.03),
            replace(base, p_queries=0.03, p_seeds=0.01),
        ]
    )
    assert [c.p_queries for c in found] == pytest.approx([0.03, 0.06, 0.06])
    assert [c.p_seeds for c in found] == [None, 0.03, 0.02]
    assert correct([]) == []


def test_other_tests_or_queries_are_refused():
    a = method("a")
    with pytest.raises(ValueError, match="the same tests"):
        compare(a, method("b", tests={"mini/a": 30}))
    with pytest.raises(ValueError, match="same queries of mini/b, got 45 and 40, of which 40"):
        compare(a, method("b", tests={"mini/a": 30, "mini/b": 40}))
    a[0]["mini/a"].popitem()
    with pytest.raises(ValueError, match="seeds must hold the same queries"):
        summarise(a)
    with pytest.raises(ValueError, match="at least one query"):
        summarise({})
