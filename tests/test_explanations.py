"""The explanations: the tokens of a review, the heatmap of a cell."""

import base64
import io
import random
import unicodedata

import numpy as np
import pytest
from classifiers import answer, load
from conftest import ROOT
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from test_review_model import HOSTILE, LABELS, SAID, invented

from functions.malaria.classifier import Classifier as Malaria
from functions.malaria.heatmap import BOLDEST, HOTTEST, explain, heatmap
from functions.review.classifier import Classifier
from functions.review.linear import Contribution, Explanation, Linear
from functions.review.ngrams import Ngrams, clean, code_points, token_spans, with_unmarked
from models.review import data as reviews
from shared.pin import Pin
from shared.runtimes import images

PINS = {name: Pin.read(ROOT / "functions" / name / "model.json") for name in ("malaria", "review")}
WEIGHTS = (ROOT / "models" / PINS["review"].file).read_bytes()
CELLS = ROOT / "models" / "malaria" / "examples"

STRANGE = HOSTILE | {
    "only tags": "<br /><b></b>",
    "links and addresses": "see https://x.org/a, (www.imdb.com) me@x.co.uk! &lt;http://y.org&gt;",
    "letters in another dress": "\uff27\uff4f\uff4f\uff44 \U0001d418\U0001d41e \ufb01lm \uff26i\u0301",
    "invisible characters": "go\u00adod \u200b \u202efilm\u202c \ufeff a\u200db \U0001f468\u200d\U0001f469",
    "an ampersand and no entity": "AT&T & R&D &; &#; & good",
    "an open tag": "a <b and <c",
    "a letter that grows": "İYİ \u0130 film",
    "marks that NFC orders and composes": "e\u0301\u0323 \u05e9\u05bc\u05c1\u05dc\u05d5\u05b9 e\u0323\u0301",
    "marks alone": "\u0301 a \u0301\u0323 \u0301 \u00e9",
    "a character of two tokens": "\u0958 &NotEqualTilde;",
    "entities of no character": "go&#1;od &#1; bad",
    "entities without an end": "&copyright &notit; &ampfoo &lt3",
    "two halves of a surrogate": "\ud83d\ude00 \ude00\ud83d",
    "Hangul in parts": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "100 kB of entities": "&lt;b&gt;" * 11_000,
    "100 kB of marks out of order": "\u0301\u0323" * 50_000,
}
ALPHABET = [
    *"aE3dpΣς :)-'_<>&;\n\0",
    "e\u0301",
    "o\u0323\u0300",
    "\u0301",
    "İ",
    "&amp;",
    "&#39;",
    "&#1;",
    "&notit;",
]
ALPHABET += [
    "<br/>",
    "\u2019",
    "\u0958",
    "\uac00",
    "\u1100\u1161",
    "\u05b8\u05bc",
    "\u064e",
    "\U0001f600\u200d",
    "\ud83d",
]


@pytest.fixture(scope="module")
def served():
    return Classifier.load(WEIGHTS, PINS["review"])


@pytest.fixture(scope="module")
def linear():
    return Linear.read(WEIGHTS)


@pytest.fixture(scope="module")
def malaria():
    return Malaria.load((ROOT / "models" / PINS["malaria"].file).read_bytes(), PINS["malaria"])


def explained(served, text):
    """The explanation of an answer, with its tokens as objects."""
    if not clean(text):  # which is refused
        return served._linear.explain(text)
    found = answer(served, text, explain=True)["explanation"]
    return Explanation(**{**found, "tokens": [Contribution(**token) for token in found["tokens"]]})


def check(served, linear, text):
    """Check the properties of every text's explanation."""
    explanation = explained(served, text)
    total = explanation.intercept + sum(token.log_odds for token in explanation.tokens)
    assert total == pytest.approx(linear.log_odds(text), abs=1e-9)
    assert explanation.log_odds == pytest.approx(linear.log_odds(text), abs=1e-9)
    assert all(text[token.start : token.end] == token.text != "" for token in explanation.tokens)
    bounds = [place for token in explanation.tokens for place in (token.start, token.end)]
    assert bounds == sorted(bounds)
    assert len(token_spans(text)) == len(clean(text).split())
    return explanation


def parts(served, text):
    return {token.text: token.log_odds for token in explained(served, text).tokens}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_the_tokens_of_any_text_sum_to_its_log_odds(served, linear, text):
    check(served, linear, text)


def test_the_tokens_of_random_scraps_sum_to_their_log_odds(served, linear):
    rng = random.Random(7)
    for _ in range(1_000):
        check(served, linear, "".join(rng.choices(ALPHABET, k=rng.randint(0, 12))))


def test_the_tokens_of_real_reviews_sum_to_their_log_odds_however_they_are_written(data, served, linear):
    found = reviews.read(data / "nollysenti", "NollySenti", ("dev",))
    found += random.Random(1).sample(reviews.read(data / "aclImdb_train.tar.xz", "IMDB"), 200)
    for review in found:
        check(served, linear, review.text)
        check(served, linear, unicodedata.normalize("NFD", review.text))


@pytest.mark.parametrize("text", [text for said in SAID.values() for text in said])
def test_the_probability_is_the_logistic_of_the_log_odds_that_are_explained(served, linear, text):
    explanation = check(served, linear, text)
    assert [token.text.lower() for token in explanation.tokens] == clean(text).split()
    probability = answer(served, text)["probabilities"]["Positive"]
    assert probability == pytest.approx(1 / (1 + np.exp(-explanation.log_odds)), abs=1e-6)


@pytest.mark.parametrize("text", ["", " \n", "<br /><b>", "&#1;"])
def test_a_text_without_tokens_is_explained_by_the_intercept_alone(served, text):
    explanation = explained(served, text)
    assert explanation.tokens == []
    assert explanation.intercept == explanation.log_odds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Great<br/>FILM!", ["Great", "FILM", "!"]),
        ("it&#39;s b&amp;d &lt;3", ["it&#39;s", "b", "&amp;", "d", "&lt;3"]),
        ("_so_ don\u2019t :-)", ["so", "don\u2019t", ":-)"]),
        ("&copyright &semi; &amp", ["&copy", "right", "&semi;", "&amp"]),
        ("soooo goo", ["soooo", "goo"]),
        ("(pu\u0301po\u0300\u0323)", ["(", "pu\u0301po\u0300\u0323", ")"]),
        ("\u0130Y\u0130 \u1112\u1161\u11ab", ["\u0130Y\u0130", "\u1112\u1161\u11ab"]),
        ("a\u0958b \u0958", ["a\u0958", "b", "\u0958"]),
        ("\U0001f468\u200d\U0001f469", ["\U0001f468", "\u200d", "\U0001f469"]),
    ],
)
def test_a_token_is_the_text_as_it_was_sent(served, text, found):
    assert [token.text for token in explained(served, text).tokens] == found


def test_praise_counts_for_the_label_and_blame_against_it(served):
    found = parts(served, "The story is wonderful but the sound is terrible")
    assert found["wonderful"] > 0.5
    assert found["terrible"] < -0.5
    assert abs(found["story"]) < min(found["wonderful"], -found["terrible"])


def test_a_word_without_its_marks_counts_in_the_same_direction(served):
    marked, bare = parts(served, "Fíìmù yìí dára púpọ̀"), parts(served, "Fiimu yii dara pupo")
    assert list(bare) == ["Fiimu", "yii", "dara", "pupo"]
    assert list(marked) == ["Fíìmù", "yìí", "dára", "púpọ̀"]
    assert marked["dára"] > 0 < bare["dara"]


def test_composed_and_decomposed_marks_are_explained_alike(served):
    text = "Fíìmù yìí dára púpọ̀!"
    one, other = (explained(served, unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))
    assert [token.log_odds for token in one.tokens] == [token.log_odds for token in other.tokens]
    assert [token.text for token in other.tokens] == [*unicodedata.normalize("NFD", text[:-1]).split(), "!"]


def test_a_bucket_is_shared_equally_by_its_occurrences(served):
    first, second, third = [token.log_odds for token in explained(served, "bad bad bad").tokens]
    assert first == pytest.approx(third, rel=0.5)
    assert max(first, second, third) < 0


def slow_shares(line, words, chars, ngrams):
    """Compute `Ngrams.shares` naively, one n-gram after the other."""
    spaces = [place for place, code in enumerate(line) if code == 32]
    count = len(spaces) - 1
    word_of = [min(sum(space <= place for space in spaces), count) - 1 for place in range(len(line))]
    shares, words, chars = [0.0] * count, iter(words), iter(chars)
    for n in ngrams.words:
        for start in range(count - n + 1):
            value = next(words) / n
            for word in range(start, start + n):
                shares[word] += value
    for n in ngrams.chars:
        for start in range(len(line) - n + 1):
            places = [place for place in range(start, start + n) if line[place] != 32] or [start]
            value = next(chars) / len(places)
            for place in places:
                shares[word_of[place]] += value
    assert next(words, None) is next(chars, None) is None
    return shares


@pytest.mark.parametrize("text", ["", "a", "a fine film", "Dára púpọ̀!", "\u0301 é \u0301\u0323 \u0301"])
def test_the_vectorised_shares_are_the_plain_ones_n_gram_by_n_gram(text):
    ngrams = Ngrams(words=(1, 2, 3), chars=(1, 2, 5), bits=8)
    line = with_unmarked(code_points(text))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=buckets.size) for buckets in ngrams.buckets(line)]
    np.testing.assert_allclose(ngrams.shares(line, *values), slow_shares(line, *values, ngrams), atol=1e-12)


def test_marks_out_of_order_are_composed_as_unicodedata_does():
    rng = random.Random(2)
    marks = "\u0301\u0323\u0344\u0f73\u05b8\u0345\u3099"
    for letters in (marks, marks + "\u1fb3\uac00\u1100\u1161\u11a8\u304b\u0958\u1ecd"):
        text = "".join(rng.choices(letters, k=6_000))
        assert clean(text).replace(" ", "") == unicodedata.normalize("NFC", text).lower()


def test_a_pickled_model_gives_no_explanation(tmp_path):
    joblib = pytest.importorskip("joblib")
    texts, positive = invented(20)
    joblib.dump(
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, positive), tmp_path / "own.joblib"
    )
    own = load(Classifier, tmp_path / "own.joblib", LABELS)
    assert answer(own, "a film", explain=True)["explanation"] is None
    assert "explanation" not in answer(own, "a film")


def drawn(attention, size=(100, 100)):
    picture = heatmap(np.asarray(attention, np.float32), size)
    assert len(picture) < 10_000
    image = Image.open(io.BytesIO(picture))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", size[::-1])
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("size", [(100, 100), (64, 48)])
@pytest.mark.parametrize("value", [0.0, -0.1, -50.0])
def test_a_map_against_an_infection_is_transparent(value, size):
    assert drawn(np.full((13, 13), value), size)[..., 3].max() == 0


def test_the_hotter_the_redder_and_the_more_opaque():
    cool, warm, hot, beyond = (
        drawn(np.full((13, 13), share * HOTTEST))[50, 50].tolist() for share in (0.2, 0.6, 1.0, 3.0)
    )
    assert hot == beyond == [255, 0, 0, BOLDEST]
    assert 0 < cool[3] < warm[3] < hot[3]
    assert cool[1] > warm[1] > hot[1]


def test_the_hot_spot_is_drawn_where_the_map_has_it():
    attention = np.full((13, 13), -5.0)
    attention[3, 9] = HOTTEST
    opacity = drawn(attention)[..., 3]
    row, column = np.unravel_index(opacity.argmax(), opacity.shape)
    assert abs(row - 3.5 * 100 / 13) < 4
    assert abs(column - 9.5 * 100 / 13) < 4
    assert opacity[60:].max() == 0


def test_the_drawn_parasite_is_hot_and_the_normal_cell_is_not(malaria):
    images = [malaria.decode((CELLS / f"{name}.png").read_bytes()) for name in ("infected", "normal")]
    infected, normal = malaria.predict(images)
    for prediction in (infected, normal):
        probability = prediction.probabilities[1]
        logit = np.log(probability / (1 - probability))
        assert prediction.map.mean() == pytest.approx(logit, abs=1e-4)
        picture = malaria.encode(prediction, explain=True)["explanation"]["heatmap"]
        assert base64.b64decode(picture.partition(",")[2]) == heatmap(prediction.map, malaria.size)
    assert drawn(infected.map)[..., 3].max() == BOLDEST
    assert drawn(normal.map)[..., 3].max() < 20


def test_a_network_without_a_map_gives_no_explanation():
    assert explain(images.Prediction(np.array([0.9, 0.1])), (100, 100)) is None
