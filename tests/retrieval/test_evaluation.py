"""Measures against their definitions, intervals and tests against SciPy."""

import itertools
import math
import random
import re
import sys

import numpy as np
import pytest

from mpsheads.retrieval import bootstrap_interval, check_measures, evaluate, holm, paired_test

pytest.importorskip("pytrec_eval")

QRELS = {"q1": {"a": 3, "b": 1, "c": 0, "d": 2}, "q2": {"a": 1}, "q3": {"b": 0}}


def make_run(order: str) -> dict[str, float]:
    return {doc_id: float(len(order) - i) for i, doc_id in enumerate(order)}


def ndcg(order: str, grades: dict[str, int], cut: int) -> float:
    """By its definition: linear gains, discount log2(rank + 1)."""
    gains = [grades.get(doc_id, 0) for doc_id in order][:cut]
    ideal = sorted(grades.values(), reverse=True)[:cut]
    total, best = (sum(g / math.log2(i + 2) for i, g in enumerate(row)) for row in (gains, ideal))
    return total / best if best else 0.0


def one(order: str, measure: str, qrels=QRELS) -> float:
    return evaluate({"q1": make_run(order)}, {"q1": qrels["q1"]}, [measure]).mean[measure]


@pytest.mark.parametrize("order", ["adbc", "xcbda", "bxxa", "cx", "dbaxyzuvwst"])
@pytest.mark.parametrize("cut", [1, 2, 3, 10])
def test_ndcg_agrees_with_its_definition(order: str, cut: int) -> None:
    order = "".join(dict.fromkeys(order))
    assert one(order, f"nDCG@{cut}") == pytest.approx(ndcg(order, QRELS["q1"], cut))


@pytest.mark.parametrize(
    ("order", "measure", "expected"),
    [
        ("cxb", "RR@10", 1 / 3),
        ("cxb", "RR@2", 0.0),
        ("cxb", "RR", 1 / 3),
        ("cbxa", "RR(rel=2)@10", 1 / 4),
        ("cbxa", "RR(rel=2)@3", 0.0),
        ("cbxa", "R@2", 1 / 3),
        ("cbxa", "R@100", 2 / 3),
        ("cbxa", "R(rel=2)@100", 1 / 2),
        ("cbxa", "P@4", 1 / 2),
        ("cbxa", "P(rel=3)@4", 1 / 4),
        ("cbxa", "AP", (1 / 2 + 2 / 4) / 3),
        ("cbxa", "AP@2", (1 / 2) / 3),
        ("cbxa", "AP(rel=3)", 1 / 4),
        ("cbxa", "Success@1", 0.0),
        ("cbxa", "Success@2", 1.0),
        ("ab", "nDCG", ndcg("ab", QRELS["q1"], 10)),
    ],
)
def test_a_measure_agrees_with_its_definition(order: str, measure: str, expected: float) -> None:
    assert one(order, measure) == pytest.approx(expected)


def test_queries_without_a_ranking_or_a_relevant_document_count_zero() -> None:
    run = {"q1": make_run("adbc"), "q7": make_run("a"), "q2": {}}
    result = evaluate(run, {**QRELS, "unjudged": {}}, ["nDCG@10"])
    assert result.per_query == {
        "q1": {"nDCG@10": 1.0},
        "q2": {"nDCG@10": 0.0},
        "q3": {"nDCG@10": 0.0},
    }
    assert result.mean["nDCG@10"] == pytest.approx(1 / 3)
    assert result.values("nDCG@10") == [1.0, 0.0, 0.0]


def test_a_measure_of_two_names_has_its_value_under_both() -> None:
    mean = evaluate({"q1": make_run("xa")}, {"q1": QRELS["q1"]}, ["RR@10", "P@1", "MRR@10"]).mean
    assert mean == {"RR@10": 0.5, "P@1": 0.0, "MRR@10": 0.5}


def test_an_empty_run_scores_zero() -> None:
    assert evaluate({}, QRELS).mean == {"nDCG@10": 0.0, "RR@10": 0.0, "R@100": 0.0}


def test_equal_scores_are_ordered_as_by_trec_eval_and_nearly_equal_ones_by_score() -> None:
    near = {"q1": {"a": 0.5, "z": 0.5 + 1e-12}}
    assert evaluate(near, {"q1": {"a": 1}}, ["RR@10"]).mean["RR@10"] == 0.5


@pytest.mark.parametrize("scores", [[i / 512 for i in range(512)], [0.25, 0.5], [0.0]])
def test_a_large_run_with_ties_agrees_with_pytrec_eval_used_directly(scores) -> None:
    import pytrec_eval

    source = random.Random(0)
    documents = [f"d{i}" for i in range(300)]
    qrels = {
        f"q{i}": {d: source.randrange(4) for d in source.sample(documents, 40)} for i in range(9)
    }
    run = {q: {d: source.choice(scores) for d in source.sample(documents, 200)} for q in qrels}
    ours = evaluate(run, qrels, ["nDCG@10", "R@100", "AP", "P@5"])
    names = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map", "P@5": "P_5"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut", "recall", "map", "P"}).evaluate(run)
    for query_id, row in ours.per_query.items():
        assert row == pytest.approx({m: theirs[query_id][name] for m, name in names.items()})


@pytest.mark.parametrize(
    "measure", ["ndcg@10", "nDCG(rel=2)@10", "R", "RR@0", "nDCG@", "ERR@10", "import os", ""]
)
def test_an_unknown_measure_is_named(measure: str) -> None:
    message = rf"`measures` holds {re.escape(repr(measure))}, which .* such as nDCG@10"
    with pytest.raises(ValueError, match=message):
        check_measures(["AP", measure])


def test_other_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="`measures` must name at least one"):
        evaluate({}, QRELS, [])
    with pytest.raises(ValueError, match="`qrels` must hold at least one judgment"):
        evaluate({}, {})
    with pytest.raises(ValueError, match=r"`measure` must be one of \['AP'\], got 'RR'"):
        evaluate({}, QRELS, ["AP"]).values("RR")
    with pytest.raises(ValueError, match="The score of document 'a' is NaN"):
        evaluate({"q1": {"a": math.nan}}, QRELS)


def test_without_pytrec_eval_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(ImportError, match=r"mpsheads\[retrieval\]"):
        evaluate({"q1": make_run("a")}, QRELS)


def test_the_bootstrap_is_seeded_and_holds_the_mean() -> None:
    values = [0.1, 0.5, 0.9, 0.3, 0.7]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    assert 0.1 < low < 0.5 < high < 0.9
    assert bootstrap_interval([0.4]) == (0.4, 0.4)
    assert bootstrap_interval([0.4], [0.2, 0.2]) == pytest.approx((0.3, 0.3))


def test_the_interval_of_several_tests_is_that_of_the_mean_of_their_means() -> None:
    source = np.random.default_rng(0)
    tests = [source.random(10), source.random(400) / 2]
    drawn = [x[source.integers(len(x), size=(20_000, len(x)))].mean(axis=1) for x in tests]
    expected = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    # the Monte Carlo error of a quantile of 10,000 resamples
    assert bootstrap_interval(*tests) == pytest.approx(expected, abs=0.006)


def all_patterns(difference: np.ndarray) -> float:
    """The share of sign patterns whose mean is at least as far from 0 as the one seen."""
    patterns = itertools.product([-1, 1], repeat=len(difference))
    means = [np.dot(signs, difference) / len(difference) for signs in patterns]
    return float(np.mean(np.abs(means) >= abs(difference.mean()) - 1e-12))


def test_the_randomisation_test_agrees_with_all_sign_patterns() -> None:
    difference = np.array([0.4, -0.1, 0.2, 0.05, 0.5, 0.05, -0.1])
    assert paired_test(difference) == pytest.approx(all_patterns(difference), abs=0.02)
    a, b = np.random.default_rng(2).random((2, 12)) + np.array([[0.15], [0.0]])
    # over 3 standard errors of 10,000 patterns
    assert paired_test(a - b) == pytest.approx(all_patterns(a - b), abs=0.02)


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_systems_do_not_differ_and_a_constant_shift_does() -> None:
    assert paired_test([0.0] * 3) == 1.0
    assert paired_test([0.1, 0.2, 0.3, -0.6] * 2) == 1.0  # their sum is 1e-16
    assert paired_test([1.0] * 30) == 1 / 10_001


def test_wrong_samples_are_named() -> None:
    with pytest.raises(ValueError, match="`values` must be a non-empty list"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match=r"`values`\[1\] is not finite"):
        bootstrap_interval([0.0, math.nan])
    with pytest.raises(ValueError, match="at least 2 queries, got 1"):
        paired_test([0.1])
