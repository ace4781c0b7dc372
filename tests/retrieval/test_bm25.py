"""BM25 against its formula, written out."""

import math
import sys

import pytest
import torch
from torch.testing import assert_close

from mpsheads.retrieval import BM25

TEXTS = ["red red fish", "a blue fish swims far away", "birds", "the running dogs"]


def by_formula(texts, query, k1=1.5, b=0.75):
    """One score a text; words are the runs of two or more letters."""
    split = [[word for word in text.lower().split() if len(word) > 1] for text in texts]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for words in split:
        score = 0.0
        for word in query.split():
            holders = sum(word in other for other in split)
            rarity = math.log(1 + (len(split) - holders + 0.5) / (holders + 0.5))
            count = words.count(word)
            score += rarity * count / (count + k1 * (1 - b + b * len(words) / mean))
        scores.append(score)
    return torch.tensor(scores)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["red", "red fish", "fish fish swims", "the birds"])
def test_scores_are_those_of_the_formula(query):
    scores = BM25(TEXTS, language=None).scores([query])
    assert_close(scores[0], by_formula(TEXTS, query))


def test_words_are_stemmed_and_stop_words_dropped():
    index = BM25(TEXTS)
    scores = index.scores(["he runs with a bird", "the"])
    assert (scores[0] > 0).tolist() == [False, False, True, True]
    assert (scores[1] == 0).all()
    german = BM25(["viele Katzen", "the cat"], language="german").scores(["die Katze", "the"])
    assert (german > 0).tolist() == [[True, False], [False, True]]


def test_what_shares_no_word_scores_nothing():
    scores = BM25([*TEXTS, ""]).scores(["", "unheard", "!?", "fish"])
    assert (scores[:3] == 0).all()
    assert (scores[3] > 0).tolist() == [True, True, False, False, False]


def test_a_batch_equals_its_members_and_earlier_queries_change_nothing():
    queries = ["red fish", "dog", "unheard swimming"]
    index = BM25(TEXTS)
    together = index.scores(queries)
    assert len(together) == 3
    alone = torch.cat([BM25(TEXTS).scores([query]) for query in queries])
    assert_close(together, alone, rtol=0, atol=0)
    assert_close(index.scores(queries), alone, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "`texts` must be a sequence of at least one text"),
        (TEXTS, {"language": "klingon"}, "`language` must be one of .*english.*, got 'klingon'"),
    ],
)
def test_bad_arguments_are_named(texts, options, message):
    with pytest.raises(ValueError, match=message):
        BM25(texts, **options)


@pytest.mark.parametrize("package", ["bm25s", "Stemmer"])
def test_without_the_package_the_error_names_the_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"`{package}`.*mpsheads\[retrieval\]"):
        BM25(TEXTS)
