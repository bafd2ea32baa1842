"""Negation and contrast in short texts: which words they turn or weaken, and what the model makes of it."""

import numpy as np
import pytest
from classifiers import SETTINGS
from conftest import ROOT

from functions.review.linear import Linear
from functions.review.ngrams import Ngrams, clean, code_points, with_unmarked
from functions.review.shifters import CONCEDED, NEGATED, factors
from models.review import lexicon
from shared.pin import Pin
from shared.store import fetch

PIN = Pin.read(ROOT / "functions" / "review" / "model.json")


@pytest.fixture(scope="module")
def linear():
    return Linear.read(fetch.fetch(PIN, SETTINGS))


def turned(text, language):
    """The words of a text that a negation turns, and those that a contrast weakens."""
    tokens = clean(text).split(" ")
    bare = clean(lexicon.unmarked(text)).split(" ")
    found = factors(tokens, bare, language) or [1.0] * len(tokens)
    return (
        [token for token, factor in zip(tokens, found, strict=True) if factor < 0],
        [
            token
            for token, factor in zip(tokens, found, strict=True)
            if abs(factor) in (CONCEDED, -NEGATED * CONCEDED)
        ],
    )


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "never boring", ["boring"]),
        ("en", "not a waste of time", ["a", "waste", "of", "time"]),
        ("en", "It wasn't good, it was awful", ["good"]),
        ("en", "it isn\u2019t funny and I left", ["funny"]),
        ("en", "not only good", []),
        ("en", "without a doubt the best", []),
        ("en", "never fails to impress", ["fails"]),
        ("en", "never seen such a bad film", []),
        ("en", "couldn't finish this boring film", ["finish"]),
        ("en", "not so good", ["so", "good"]),
        ("en", "I have never enjoyed a film more", []),
        ("en", "not better", ["better"]),
        ("en", "far from perfect", ["perfect"]),
        ("en", "anything but dull", ["dull"]),
        ("en", "a good film", []),
        ("pcm", "e no sweet", ["sweet"]),
        ("ha", "bai yi ky\u00e0u ba sosai", ["yi", "ky\u00e0u"]),
        ("ha", "fim mara kyau", ["kyau"]),
        ("ha", "ya ba da mamaki", []),
        ("ha", "fim mai ban sha'awa", []),
        ("ha", "ban taba ganin fim mai kyau haka ba", []),
        ("ig", "\u1ecd d\u1ecbgh\u1ecb mma", ["mma"]),
        ("ig", "mara mma", []),
        ("yo", "k\u00f2 d\u00e1ra", ["d\u00e1ra"]),
        ("yo", "mi o gbadun re", ["gbadun", "re"]),
        ("yo", "o dara", []),
        ("yo", "A k\u1ecd \u00ect\u00e0n n\u00e1\u00e0 d\u00e1ad\u00e1a", []),
        ("yo", "k\u00f2 til\u1eb9\u0300 d\u00f9n", ["til\u1eb9\u0300", "d\u00f9n"]),
    ],
)
def test_a_negation_turns_the_words_after_it(language, text, words):
    assert turned(text, language) == (words, [])


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "slow but good", ["slow"]),
        ("en", "although slow, it is good", ["although", "slow"]),
        ("en", "good although slow", ["although", "slow"]),
        ("en", "but good", []),
        ("ha", "ya yi tsayi amma ya yi da\u0257i", ["ya", "yi", "tsayi"]),
        ("ig", "o toro ogologo mana \u1ecd mara mma", ["o", "toro", "ogologo"]),
        ("yo", "\u00f3 g\u00f9n \u1e63\u00f9gb\u1ecd\u0301n \u00f3 d\u00f9n", ["\u00f3", "g\u00f9n"]),
    ],
)
def test_a_contrast_weakens_what_it_concedes(language, text, words):
    assert turned(text, language) == ([], words)


@pytest.mark.parametrize("text", ["not good", "k\u00f2 d\u00e1ra r\u00e1r\u00e1", "a \u0300 not"])
def test_an_n_gram_counts_as_much_as_its_least_turned_word(text):
    ngrams, codes = Ngrams(bits=12), with_unmarked(code_points(text))
    line = codes.tobytes().decode("utf-32-le")
    words = line[1:-1].split(" ")
    values = np.arange(len(words)) / -2
    owner = np.repeat(values, [len(word) + 1 for word in words])
    found = ngrams.greatest(codes, values)
    windows = [values[i : i + n] for n in ngrams.words for i in range(len(words) - n + 1)]
    assert found[0].tolist() == [window.max() for window in windows]
    pieces = [(i, i + n) for n in ngrams.chars for i in range(len(line) - n + 1)]
    expected = [
        max((owner[max(place - 1, 0)] for place in range(*piece) if line[place] != " "), default=values.min())
        for piece in pieces
    ]
    assert found[1].tolist() == expected


def test_a_long_text_has_no_turned_words(linear):
    short, long = "not a good film", "not a good film " + "I watched it with my two brothers last week " * 2
    assert linear.weigh(code_points(short))[1].factors is not None
    assert linear.weigh(code_points(long))[1].factors is None


@pytest.mark.parametrize(
    "text",
    [
        "Never boring!",
        "slow but not bad",
        "k\u00f2 d\u00e1ra \u1e63\u00f9gb\u1ecd\u0301n \u00f3 d\u00f9n",
        "not not not good good",
    ],
)
def test_the_tokens_of_a_turned_text_sum_to_its_log_odds(linear, text):
    found = linear.explain(text)
    assert linear.weigh(code_points(text))[1].factors is not None
    assert found.log_odds == pytest.approx(linear.log_odds(text), abs=1e-9)
    assert found.intercept + sum(token.log_odds for token in found.tokens) == pytest.approx(
        found.log_odds, abs=1e-9
    )
