"""The review model on texts that it knows little about: short ones, other languages, ratings, emoji."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from classifiers import SETTINGS, answer
from conftest import ROOT

from functions.review.classifier import WARNINGS, Classifier
from functions.review.linear import Linear
from functions.review.ngrams import Ngrams, code_points
from models.review import data as reviews
from models.review import lexicon, opinions, short, translation
from shared.pin import Pin
from shared.store import fetch

PIN = Pin.read(ROOT / "functions" / "review" / "model.json")


def table(name):
    """The project's own texts; the half "choose" served to choose, the half "report" only to report."""
    with (ROOT / "tests" / "data" / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def linear():
    return Linear.read(fetch.fetch(PIN, SETTINGS))


@pytest.fixture(scope="module")
def served(linear):
    return Classifier(linear, PIN)


def positive(found):
    return found["probabilities"]["Positive"]


def warned(found):
    return [warning["code"] for warning in found.get("warnings", [])]


def test_a_warning_has_its_code_and_a_sentence_that_says_what_to_do(served):
    [warning] = answer(served, "12345")["warnings"]
    assert warning == {"code": "too_short", "message": WARNINGS["too_short"]}


@pytest.mark.parametrize(
    "text",
    ["?", "...", "12345", "1 2 3", "2026", "-", "!", "\x00", "zzxq", "\U0001f98a", "\u4e00"],
)
def test_a_text_without_evidence_is_near_even_and_gets_a_warning(served, text):
    found = answer(served, text)
    assert 0.4 <= positive(found) <= 0.6
    assert warned(found) == ["too_short"]
    assert found["language"] is None


def test_no_number_is_a_known_word_by_chance(served):
    numbers = [str(number) for number in range(2100)]
    signs = [*"!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~"]
    dates = ["9/11", "9 / 11", "11/9/2001", "5 / 5 / 2020", "10/10/2020", "3/4/21", "24/7", "2020/ 5/ 5"]
    for text in [*numbers, *dates, *signs]:
        assert warned(answer(served, text)) == ["too_short"], text
    assert warned(answer(served, "9/10")) == []


@pytest.mark.parametrize(
    "text",
    [
        *("The", "the", "film", "of the", "and", "It is a film", "I watched it yesterday", "ok", "yes", "?"),
        *("Di film", "fim ne", "ihe nkiri", "my brother and I went to the cinema"),
        *("Ramsey Nouah and Genevieve Nnaji", "Mercy Johnson", "Ali Nuhu", "Kunle Afolayan", "Lagos"),
    ],
)
def test_without_an_opinion_there_is_no_verdict(served, text):
    found = answer(served, text)
    assert 0.38 <= positive(found) <= 0.62
    assert warned(found) in (["too_short"], ["undecided"], ["unknown_language"])


def test_most_texts_without_an_opinion_have_no_verdict(served):
    kinds = ("neutral", "name")
    rows = [row for row in table("short_reviews") if row["half"] == "choose" and row["kind"] in kinds]
    said = [answer(served, row["text"]) for row in rows]
    assert len(said) > 100
    assert np.mean([0.4 <= positive(found) <= 0.6 for found in said]) > 0.85
    assert np.mean([bool(warned(found)) for found in said]) > 0.9


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("good", "bad"),
        ("Great!", "Awful!"),
        ("E sweet", "E no sweet"),
        ("mai kyau", "mara kyau"),
        ("ọ dị mma", "ọ dịghị mma"),
        ("ó dára", "kò dára"),
        ("mo gbádùn rẹ̀", "mi ò gbádùn rẹ̀"),
        ("\U0001f60d", "\U0001f44e"),
        ("\U0001f44d\U0001f3fe", "\U0001f44e\U0001f3fe"),
        (":-)", ":-("),
        ("<3", "</3"),
        ("5/5", "1/5"),
        ("9 out of 10", "3 out of 10"),
        ("\u2605\u2605\u2605\u2605\u2606", "\u2605\u2606\u2606\u2606\u2606"),
        ("five stars", "one star"),
        ("na ba shi 9/10", "na ba shi 2/10"),
        ("not bad", "not good"),
        ("never boring", "never funny"),
        ("not a waste of time", "a waste of time"),
        ("wasn't boring", "wasn't interesting"),
        ("You will not regret it", "I did not enjoy it"),
        ("without a dull moment", "without any talent"),
        ("bad but good", "good but bad"),
        ("slow but beautiful", "beautiful but dull"),
        ("e no dull", "e no sweet"),
        ("bai gundure ni ba", "bai burge ni ba"),
        ("\u1ecd j\u1ecdgh\u1ecb nj\u1ecd", "amas\u1ecbgh\u1ecb m"),
        ("k\u00f2 bur\u00fa", "mi \u00f2 gb\u00e1d\u00f9n r\u1eb9\u0300"),
        ("mo gbadun re", "mi o gbadun re"),
    ],
)
def test_short_clear_texts_are_right(served, good, bad):
    assert positive(answer(served, good)) > 0.6
    assert positive(answer(served, bad)) < 0.4


def test_most_held_out_short_texts_are_classified_correctly(served):
    rows = [row for row in table("short_reviews") if row["half"] == "report"]
    said = [answer(served, row["text"]) for row in rows]
    clear = [(row, found) for row, found in zip(rows, said, strict=True) if row["label"] != "neither"]
    right = [found["label"] == row["label"] for row, found in clear]
    unwarned = [found["label"] == row["label"] for row, found in clear if not warned(found)]
    assert len(table("short_reviews")) >= 400
    assert np.mean(right) > SHORT_RIGHT
    assert np.mean(unwarned) > UNWARNED_RIGHT


SHORT_RIGHT, UNWARNED_RIGHT = 0.84, 0.88


def test_other_languages_are_recognised_and_get_no_verdict(served):
    said = [answer(served, row["text"]) for row in table("other_languages")]
    assert np.mean([warned(found) in (["unknown_language"], ["too_short"]) for found in said]) >= 0.93
    for found in said:
        if warned(found) == ["unknown_language"]:
            assert 0.4 <= positive(found) <= 0.6
            assert found["language"] is None


def test_ordinary_reviews_are_in_a_language_that_the_model_knows(data, served):
    found = reviews.read(data / "nollysenti", "NollySenti", ("dev",))
    found = [review for review in found if len(review.text.split()) >= 6]
    said = [answer(served, review.text) for review in found]
    doubtful = [code for one in said for code in warned(one) if code not in ("undecided", "mixed")]
    assert len(doubtful) <= 0.03 * len(found)
    named = [
        (one["language"], review.corpus) for one, review in zip(said, found, strict=True) if one["language"]
    ]
    assert len(named) > 0.9 * len(found)
    assert np.mean([language == corpus for language, corpus in named]) > 0.98


def test_an_answer_in_the_middle_is_undecided_or_mixed(served, linear):
    wide = Classifier(replace(linear, limits=replace(linear.limits, undecided=(0.0, 1.0))), PIN)
    assert warned(answer(wide, "I saw it on a Tuesday with my two brothers")) == ["undecided"]
    assert warned(answer(wide, "I saw it")) == ["too_short"]
    even = replace(linear.limits, undecided=(0.0, 1.0), strong=0.0, even=0.0)
    mixed = Classifier(replace(linear, limits=even), PIN)
    assert warned(answer(mixed, "The acting is excellent and the story is terrible")) == ["mixed"]
    assert (
        warned(answer(served, "A brilliant film. The acting was wonderful and I loved every minute of it."))
        == []
    )


def test_the_weights_for_short_texts_leave_long_ones_alone(linear):
    without = replace(linear, short=short.NOTHING)
    long = "I watched this film with my family and it was a good film with a good story."
    assert linear.log_odds(long) == without.log_odds(long)
    assert linear.log_odds("good") != without.log_odds("good")


def test_each_language_has_its_own_calibration(linear):
    text = "Fim ɗin ya yi kyau sosai, kuma 'yan wasan sun yi ƙoƙari a cikin labarin."
    scale = linear.weigh(code_points(text))[1]
    slope, offset = linear.calibration["ha"]
    assert scale.language == "ha"
    assert (scale.factor, scale.intercept) == pytest.approx((slope, slope * linear.intercept + offset))


def test_words_of_another_language_have_little_weight(linear):
    trusting = replace(linear, limits=replace(linear.limits, known=-1.0))
    text = "Une histoire magnifique avec des acteurs excellents et une fin que je n'oublierai jamais"
    slope, _ = linear.calibration[""]
    assert linear.weigh(code_points(text))[1].factor == pytest.approx(linear.limits.doubt * slope)
    assert abs(linear.log_odds(text)) < abs(trusting.log_odds(text))


def test_common_words_get_their_observed_chance():
    texts = ["good film", "good story", "bad film", "bad story"] * 20
    found = {one.text: one.chance for one in short.common(texts, np.array([1, 1, 0, 0] * 20), "en")}
    assert found["good"] > 0.8
    assert found["bad"] < 0.2
    assert found["film"] == pytest.approx(0.5, abs=0.01)
    assert "good film" in found


def test_the_lexicon_says_where_each_text_is_from_and_denies_what_it_praises():
    with lexicon.LEXICON.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {row["source"] for row in rows} == {"VADER", "the project"}
    chances = {(one.language, one.text): one.chance for one in lexicon.read()}
    assert chances["en", "good"] == lexicon.CLEAR
    assert chances["en", "not good"] == pytest.approx(1 - lexicon.CLEAR)
    assert 0.5 < chances["en", "not bad"] < lexicon.CLEAR
    assert chances["any", "9/10"] > 0.9
    assert chances["any", "2/10"] < 0.1


def test_a_word_is_an_opinion_if_its_reviews_are_clearly_on_one_side_and_no_name():
    ngrams = Ngrams(bits=14)
    texts = ["a superb and fine film"] * 60 + ["a awful and fine film"] * 60 + ["they left"] * 1200
    words = translation.unmarked_words(texts, ngrams)
    positive = np.array([1] * 60 + [0] * 60 + [1, 0] * 600)
    said = [lexicon.Example("en", "fine", 0.5), lexicon.Example("en", "no plot", 0.1)]
    neutral = opinions.neutral(said, ngrams)
    found = set(opinions.weighty(words, positive, neutral).tolist())
    assert found == {bucket(word, ngrams) for word in ("superb", "awful")}
    assert bucket("ada", ngrams) in opinions.names(["We met Ada today, and Ada left"], ngrams)
    assert bucket("film", ngrams) not in opinions.names(["The Film, a film, this film"], ngrams)
    listed = set(opinions.listed(said, ngrams).tolist())
    assert listed == {bucket("no", ngrams), bucket("plot", ngrams)}


def bucket(word, ngrams):
    return int(ngrams.buckets(code_points(word))[0][0])


def test_a_word_that_other_languages_have_too_is_half_known(linear):
    def share(text):
        return linear._reading(linear.line(code_points(text))).share

    assert share("wonderful zzxq") == pytest.approx(2 / 3)
    assert share("film zzxq") == pytest.approx(1.5 / 2.5)
    assert share("bellissimo zzxq") == 0
