"""The review model: its n-grams, formats and folds, and its answers to plain sentences."""

import json
import random
import sys
import time
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from classifiers import SETTINGS, answer, labels_of, load, second_probabilities
from conftest import ROOT
from scipy.sparse import csr_matrix
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from functions.review.classifier import Classifier
from functions.review.language import OPINION, Languages
from functions.review.linear import Linear
from functions.review.ngrams import Ngrams, clean, code_points, with_unmarked
from models.review import data as reviews
from models.review import lexicon, short, train, translation
from models.review.vectoriser import NgramVectoriser, pipeline, quantised
from shared.errors import ModelUnavailable, Unusable
from shared.pin import Pin
from shared.store import fetch

PIN = Pin.read(ROOT / "functions" / "review" / "model.json")
WEIGHTS = ROOT / "models" / PIN.file
LABELS = ["Negative", "Positive"]

HOSTILE = {
    "empty": "",
    "spaces": " \t\r\n ",
    "one letter": "a",
    "emoji": "\U0001f600" * 50 + " \U0001f468\u200d\U0001f469\u200d\U0001f467 <3 :-) :(((",
    "NUL": "good\0bad\0\0\0",
    "100 kB of one letter": "a" * 100_000,
    "100 kB of words": "very bad film " * 7_500,
    "100 kB of open tags": "<a" * 50_000,
    "100 kB of smileys": ":)" * 50_000,
    "right to left": "\u05e1\u05e8\u05d8 \u05e0\u05d4\u05d3\u05e8 \u202e \u0641\u064a\u0644\u0645",
    "combining marks": "z" + "\u0301\u0323" * 500 + " o\u0323\u0300 o\u0301\u0323",
    "half a surrogate": "a \ud83d b",
    "tags and entities": "<br /><br/>I &lt;3 it &amp;#33; &#0; &#x110000; <b>great</b",
    "every control character": "".join(map(chr, range(256))),
    "line separators": "good\u2028bad\u2029\x85 film",
}
SAID = {
    "en": ("A wonderful film, great acting, I loved it!", "A terrible film, a waste of time."),
    "pcm": (
        "Dis film sweet well well, di actors do beta work.",
        "Dis film bad well well, e just waste my time.",
    ),
    "ha": ("Fim mai kyau sosai, na ji daɗin kallon shi.", "Fim mara kyau, ɓata lokaci ne kawai."),
    "ig": ("Ihe nkiri a mara mma nke ukwuu, ọ tọrọ m ụtọ.", "Ihe nkiri a jọgburu onwe ya, ọ dịghị mma."),
    "yo": ("Fíìmù yìí dára gan-an, mo gbádùn rẹ̀.", "Fíìmù yìí burú jáì, ó fi àkókò ṣòfò."),
}


@pytest.fixture(scope="module")
def served() -> Classifier:
    return Classifier.load(fetch.fetch(PIN, SETTINGS), PIN)


@pytest.fixture(scope="module")
def shipped() -> Any:
    return pipeline(Linear.read(WEIGHTS.read_bytes()))


def invented(count: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Reviews of made-up words, of which some are good and some bad."""
    rng = random.Random(5)
    words = ["".join(rng.choices("abdeghiklmnoọprstuwyz", k=rng.randint(2, 9))) for _ in range(400)]
    positive = np.arange(count) % 2
    texts = [
        " ".join(
            rng.choices(words, k=rng.randint(1, 60)) + rng.choices(words[:20] if good else words[20:40], k=4)
        )
        for good in positive
    ]
    return texts, positive


def agree(classifier: Classifier, model: Any, texts: list[str]) -> bool:
    ours = second_probabilities(classifier, texts)
    return bool(np.abs(np.array(ours) - model.predict_proba(texts)[:, 1]).max() < 1.1e-6)


def slow_hash(ngram: str, bits: int, table: int) -> int:
    """Compute the hash naively, one character after the other."""
    limit, prime = 1 << 64, 0x9E3779B97F4A7C15
    value = sum(ord(letter) * prime**place for place, letter in enumerate(ngram))
    value = (value + (0x243F6A8885A308D3, 0x13198A2E03707344)[table]) % limit
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % limit
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % limit
    return (value >> (64 - bits)) + (table << bits)


def slow_buckets(text: str, ngrams: Ngrams) -> tuple[list[int], list[int]]:
    line = code_points(text).tobytes().decode("utf-32-le", "surrogatepass")
    tokens = line[1:-1].split(" ")
    words = [" ".join(tokens[i : i + n]) for n in ngrams.words for i in range(len(tokens) - n + 1)]
    chars = [line[i : i + n] for n in ngrams.chars for i in range(len(line) - n + 1)]
    return [slow_hash(one, ngrams.bits, 0) for one in words], [
        slow_hash(one, ngrams.bits, 1) for one in chars
    ]


@pytest.mark.parametrize("name", [name for name in HOSTILE if "100 kB" not in name] + list(SAID))
def test_the_vectorised_hash_is_the_plain_one_n_gram_by_n_gram(name):
    text = HOSTILE.get(name) if name in HOSTILE else SAID[name][0]
    ngrams = Ngrams(bits=15)
    words, chars = ngrams.buckets(code_points(text))
    assert (words.tolist(), chars.tolist()) == slow_buckets(text, ngrams)


def test_a_long_text_hashes_as_its_parts_do():
    part = code_points("a fine film")
    ngrams = Ngrams(words=(1,), chars=(4,))
    long = ngrams.features("a fine film " * 2_000)
    assert set(long[0].tolist()) == set(ngrams.buckets(part)[0].tolist())
    assert set(ngrams.buckets(part)[1].tolist()) <= set(long[1].tolist())


def test_n_grams_are_spread_evenly_over_the_buckets():
    ngrams = Ngrams(words=(1,), chars=(1,), bits=10)
    found, _ = ngrams.buckets(code_points(" ".join(f"word{number}" for number in range(50_000))))
    counts = np.bincount(found, minlength=1 << 10)
    assert abs(counts.var() / counts.mean() - 1) < 0.3


def test_features_are_distinct_and_sorted_and_each_family_keeps_to_its_table():
    words, chars = Ngrams(bits=12).features("so good so good so good, a good good film")
    for buckets in (words, chars):
        assert np.all(np.diff(buckets.astype(np.int64)) > 0)
    assert words.max() < 1 << 12 <= chars.min()
    assert chars.max() < Ngrams(bits=12).size


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Great<br /><br />FILM", "great film"),
        ("it&#39;s <b>bad</b> &amp; long", "it's bad & long"),
        ("8/10!", "8\u204410 !"),
        ("3 out of 10 or 4.5/5 stars", "3\u204410 or 9\u204410"),
        ("8 a cikin 10, 7 n'ime 10, 6 nínú 10", "8\u204410 , 7\u204410 , 6\u204410"),
        (
            "\u2605\u2605\u2605\u2605\u2606 \u2b50\ufe0f\u2b50\ufe0f five-star film",
            "8\u204410 4\u204410 10\u204410 film",
        ),
        ("24/10 10/10/2020 the two stars \u2b50", "24 / 10 10 / 10 / 2020 the two stars \u2b50"),
        (
            "5 / 5 / 2020 2020/ 5/ 5 5/5-2020 3/4/21 24/7 9/11",
            "5 / 5 / 2020 2020 / 5 / 5 5 / 5-2020 3 / 4 / 21 24 / 7 9 / 11",
        ),
        ("seen on 5/10: 8 / 10 - 4.5/5", "seen on 5 / 10 : 8\u204410 - 9\u204410"),
        ("\U0001f44d\U0001f3fe \u2764\ufe0f </3", "\U0001f44d \u2764 </3"),
        ("nice :-) <3", "nice :-) <3"),
        ("2 < 3 and 4 > 3", "2 < 3 and 4 > 3"),
        ("_so_ well-made", "so well-made"),
        ("\u201cdon\u2019t\u201d", '" don\'t "'),
        ("o\u0323\u0301 O\u0301\u0323", "ọ\u0301 ọ\u0301"),
        ("", ""),
        ("go\u00adod fi\u200blm \u202egood\u202c \ufeffbad", "good film good bad"),
        ("\U0001f468\u200d\U0001f469 a\u200db", "\U0001f468 \u200d \U0001f469 ab"),
        ("see https://x.org/a?b=1, (www.imdb.com) me@x.co.uk!", "see , ( ) !"),
        ("WWW.IMDB.COM is @home 8@9", "is @ home 8 @ 9"),
        ("\uff27\uff4f\uff4f\uff44 \U0001d418\U0001d41e\U0001d42c \u24bc \ufb01lm", "good yes g film"),
        ("\uff26i\u0301lm p\u00fap\u1ecd\u0300", "f\u00edlm p\u00fap\u1ecd\u0300"),
    ],
)
def test_cleaning_drops_markup_and_keeps_what_has_a_meaning(text, cleaned):
    assert clean(text) == cleaned


def test_every_format_character_inside_a_word_is_dropped():
    found = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]
    assert len(found) > 100
    assert [ascii(each) for each in found if clean(f"go{each}od") != "good"] == []


def test_cleaning_a_hostile_text_takes_no_longer():
    plain = count(lambda: clean("a fine film, I say. " * 5_000))
    for text in ("a.", "a@", "http://", "www.", "x-", "@", "\u200d", "\uff41"):
        assert count(lambda text=text: clean((text * 100_000)[:100_000])) < 50 * plain, text
    assert count(lambda: clean("http://" + "." * 100_000)) < 50 * plain


def count(work) -> float:
    """Return the CPU seconds of a call, the least of three."""
    spent = []
    for _ in range(3):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Dára púpọ̀!", " dára púpọ̀ ! dara pupo ! "),
        ("ɗan ƙasa", " ɗan ƙasa dan kasa "),
        ("plain words", " plain words "),
        ("\U0001f600 \u4f60", " \U0001f600 \u4f60 "),
        ("", "  "),
    ],
)
def test_a_line_with_marks_is_followed_by_one_without(text, line):
    assert with_unmarked(code_points(text)).tobytes().decode("utf-32-le") == line


def test_a_review_without_its_marks_shares_all_its_n_grams_with_the_marked_one():
    ngrams = Ngrams()
    pairs = zip(ngrams.features("Fiimu yii dara pupo"), ngrams.features("Fíìmù yìí dára púpọ̀"), strict=True)
    assert all(set(bare.tolist()) < set(marked.tolist()) for bare, marked in pairs)


def test_composed_and_decomposed_tone_marks_are_the_same_review(served):
    composed, decomposed = (
        answer(served, text)
        for text in (
            "Fíìmù yìí dára púpọ̀",
            "Fi\u0301i\u0300mu\u0300 yi\u0300i\u0301 da\u0301ra pu\u0301po\u0323\u0300",
        )
    )
    assert composed == decomposed


def test_a_long_drawn_letter_is_cut_to_two(served):
    assert answer(served, "sooooo goooood") == answer(served, "soo good")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_gets_probabilities_and_the_pipeline_gives_the_same(served, shipped, text):
    if not clean(text):
        with pytest.raises(Unusable, match="only links, tags or invisible characters"):
            answer(served, text)
        return
    found = answer(served, text)
    assert found["label"] in LABELS
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert agree(served, shipped, [text])


def served_of(weights: np.ndarray[Any, Any], intercept: float, ngrams: Ngrams) -> Linear:
    """A model of these weights that knows all words, in one language."""
    rounded, scales = quantised(weights)
    buckets = np.arange(ngrams.size // 2, dtype=np.uint32)
    languages = Languages(
        ("en", "ha"),
        np.zeros((1 << 10, 3), np.int8),
        1.0,
        np.array([9.0, 0.0, -9.0]),
        buckets,
        np.full(buckets.size, 1 | OPINION, np.uint8),
        ngrams.bits,
    )
    calibration = {"": (1.0, 0.0), "en": (1.2, 0.1), "ha": (1.0, 0.0)}
    return Linear(ngrams, rounded, scales, intercept, short.NOTHING, languages, calibration)


def test_the_exported_weights_give_the_probability_of_the_pipeline_they_came_from(tmp_path):
    texts, positive = invented(400)
    ngrams = Ngrams(bits=14)
    features = NgramVectoriser(ngrams).transform(texts)
    made = train.fit(features, positive, np.ones(len(texts)), train.Recipe(ngrams))
    linear = served_of(made.weights, made.intercept, ngrams)
    linear.save(tmp_path / "linear.npz")
    joblib.dump(pipeline(linear), tmp_path / "pipeline.joblib")

    ours = load(Classifier, tmp_path / "linear.npz", LABELS)
    theirs = load(Classifier, tmp_path / "pipeline.joblib", LABELS)
    assert second_probabilities(ours, texts) == pytest.approx(second_probabilities(theirs, texts), abs=1.1e-6)
    right = [label == LABELS[p] for label, p in zip(labels_of(ours, texts), positive, strict=True)]
    assert np.mean(right) > 0.95


def test_a_translated_word_has_the_weight_of_its_english_words():
    pairs = [
        ("good film", "fim kyau"),
        ("bad film", "fim muní"),
        ("good story", "kyau labari"),
        ("bad story", "labari muní"),
        ("the story", "labari ne"),
    ] * 4
    ngrams = Ngrams(bits=14)
    words = translation.unmarked_words([text for pair in pairs for text in pair], ngrams)
    english = np.arange(0, words.shape[0], 2)
    names = ("good", "bad", "kyau", "muni", "fim")
    bucket = dict(zip(names, translation.unmarked_words(names, ngrams).indices, strict=True))
    worth = np.zeros(words.shape[1])
    worth[[bucket["good"], bucket["bad"]]] = 1, -1
    found = translation.translated_worth(words, english + 1, english, worth)
    assert found[bucket["kyau"]] > 0.5
    assert found[bucket["muni"]] < -0.5
    assert abs(found[bucket["fim"]]) < 0.1
    assert found[bucket["good"]] == 0


def test_the_expert_of_english_reads_words_alone_and_those_that_tell():
    texts = ["a good film", "a bad film", "good acting", "bad acting"] * 10
    positive = np.array([1, 0, 1, 0] * 10)
    ngrams = Ngrams(bits=14)
    features = NgramVectoriser(ngrams).transform(texts)
    weights = train.expert_fit(features, positive, train.Recipe(ngrams)).weights
    single = Ngrams(words=(1,), chars=(1,), bits=ngrams.bits)
    good, bad, film = (single.features(word)[0][0] for word in ("good", "bad", "film"))
    assert weights[good] > 0.5
    assert weights[bad] < -0.5
    assert abs(weights[film]) < 0.01
    assert not weights[ngrams.size // 2 :].any()


def test_a_word_that_is_common_in_heavily_weighted_reviews_is_not_rare():
    rows = csr_matrix(np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]))
    heavy = np.array([10.0, 10.0, 1.0, 1.0, 1.0])
    kept, idf = train.document_frequency(rows, heavy, train.Recipe())
    assert kept.tolist() == [0, 1, 3]  # the third is in one review alone
    assert idf[2] == 0 < idf[0] < idf[1]


def test_the_same_model_is_saved_as_the_same_bytes(tmp_path):
    linear = Linear.read(WEIGHTS.read_bytes())
    linear.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == WEIGHTS.read_bytes()


def test_on_thousands_of_real_reviews_the_served_file_and_the_pipeline_agree(data, served, shipped):
    everything = reviews.read(data / "nollysenti", "NollySenti")
    everything += random.Random(1).sample(reviews.read(data / "aclImdb_train.tar.xz", "IMDB"), 1_500)
    assert len(everything) > 5_000
    assert agree(served, shipped, [review.text for review in everything if clean(review.text)])


@pytest.mark.parametrize(
    "text", ["<br>", "&nbsp;", "\u200b", "http://x.org/a www.y.org", " me@x.co.uk ", "\u2800"]
)
def test_a_text_without_words_is_not_a_review(served, text):
    with pytest.raises(Unusable, match="only links, tags or invisible characters"):
        answer(served, text)


@pytest.mark.parametrize("language", SAID)
def test_plain_praise_is_positive_and_plain_blame_is_negative(served, language):
    assert labels_of(served, SAID[language]) == ["Positive", "Negative"]


def test_the_label_follows_the_threshold(served):
    strict = Classifier.load(WEIGHTS.read_bytes(), replace(PIN, threshold=1.0))
    found, other = answer(served, "a wonderful film"), answer(strict, "a wonderful film")
    assert (found["label"], other["label"]) == ("Positive", "Negative")
    assert found["probabilities"] == other["probabilities"]


def test_an_empty_batch_gives_an_empty_list(served):
    assert served.predict([]) == []


def test_many_threads_get_the_same_answers_as_one(served):
    texts = [text for said in SAID.values() for text in said] + list(HOSTILE.values())[:5]
    texts = [served.decode(text) for text in texts if clean(text)]
    alone = served.predict(texts)
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: served.predict(texts), range(40)):
            assert together == alone


@pytest.mark.parametrize("classifier", [LogisticRegression(), SGDClassifier(loss="log_loss", random_state=0)])
def test_a_users_pipeline_and_pair_are_served(tmp_path, classifier):
    texts, positive = invented(100)
    model = make_pipeline(TfidfVectorizer(), classifier).fit(texts, positive)
    expected = model.predict_proba(texts)[:, 1]
    for dumped in (model, (model[0], model[1]), [model[0], model[1]]):
        joblib.dump(dumped, tmp_path / "own.joblib")
        found = second_probabilities(load(Classifier, tmp_path / "own.joblib", LABELS), texts)
        assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_classifier_without_probabilities_is_served_through_the_logistic_function(tmp_path):
    texts, positive = invented(100)
    model = make_pipeline(TfidfVectorizer(), LinearSVC()).fit(texts, positive)
    joblib.dump(model, tmp_path / "own.joblib")
    found = second_probabilities(load(Classifier, tmp_path / "own.joblib", LABELS), texts)
    expected = 1 / (1 + np.exp(-model.decision_function(texts)))
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_model_of_another_scikit_learn_is_refused_with_both_versions(tmp_path, monkeypatch):
    path = tmp_path / "old.joblib"
    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)

    def warn(_: Any) -> None:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name="LogisticRegression",
                current_sklearn_version="1.9.1",
                original_sklearn_version="0.22.1",
            ),
            stacklevel=1,
        )

    monkeypatch.setattr(joblib, "load", warn)
    with pytest.raises(ModelUnavailable, match=r"0\.22\.1.*1\.9\.1.*scikit-learn==0\.22\.1"):
        load(Classifier, path, LABELS)


@pytest.mark.parametrize(("module", "package"), [("joblib", "joblib")])
def test_a_missing_package_is_named_as_requirements_txt_names_it(tmp_path, monkeypatch, module, package):
    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "own.joblib")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelUnavailable, match=rf"package {package}: add it to"):
        load(Classifier, tmp_path / "own.joblib", LABELS)


@pytest.mark.parametrize("kind", ["linear", "joblib"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 broken", b"\x80\x04."])
def test_a_file_of_the_wrong_kind_is_refused_by_name(tmp_path, kind, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"model\.bin is not"):
        load(Classifier, tmp_path / "model.bin", LABELS, format=kind)


def test_a_linear_file_with_a_pickle_or_weights_of_another_shape_is_refused(tmp_path):
    with np.load(WEIGHTS) as file:
        arrays = dict(file)
    for name, wrong in (
        ("word_weights", np.array([object()])),
        ("word_weights", np.zeros(7, np.int8)),
        ("word_weights", np.zeros(1 << 21)),
        ("char_weights", np.zeros(7, np.int8)),
        ("word_kinds", np.zeros(7, np.uint8)),
        ("short_weights", np.zeros(7, np.int8)),
        ("language_weights", np.zeros((1 << 14, 4), np.int8)),
    ):
        np.savez(tmp_path / "bad.npz", **(arrays | {name: wrong}))
        with pytest.raises(ModelUnavailable, match=r"bad\.npz is not of the format 'linear'"):
            load(Classifier, tmp_path / "bad.npz", LABELS)


def test_a_joblib_file_without_a_classifier_is_refused_with_what_was_expected(tmp_path):
    joblib.dump({"weights": 1}, tmp_path / "dict.joblib")
    with pytest.raises(ModelUnavailable, match="expected a scikit-learn pipeline, or a pair"):
        load(Classifier, tmp_path / "dict.joblib", LABELS)


def test_a_pin_of_an_unknown_format_or_without_two_labels_is_refused():
    with pytest.raises(ModelUnavailable, match="expected the format linear with two labels, or joblib"):
        load(Classifier, WEIGHTS, LABELS, format="tflite")
    with pytest.raises(ModelUnavailable, match="got 'linear' with 3"):
        load(Classifier, WEIGHTS, [*LABELS, "Neutral"])


def write_nollysenti(folder: Path) -> None:
    for language in [*reviews.LANGUAGES, "mt_en_ha"]:
        rows = {"en": 1302, "yo": 900}.get(language, 410)
        (folder / language).mkdir()
        for part, count in (("train", rows), ("dev", 100), ("test", 20)):
            lines = [f"{language} {part} {row}\t{('negative', 'positive')[row % 2]}" for row in range(count)]
            (folder / language / f"{part}.tsv").write_text("\n".join(["review\tsentiment", *lines, ""]))


def test_a_review_and_its_translations_are_in_one_fold(tmp_path):
    write_nollysenti(tmp_path)
    found = reviews.read(tmp_path, "NollySenti", ("train", "dev"))
    folds = reviews.assigned(reviews.samples(found), 5, seed=0)
    fold_of = {review.text: fold for review, fold in zip(found, folds, strict=True)}
    for language in ("pcm", "ha", "ig", "mt_en_ha"):
        for row, source in ((0, 0), (149, 149), (150, 400), (359, 609), (360, 850), (409, 899)):
            assert fold_of[f"{language} train {row}"] == fold_of[f"en train {source}"]
    assert all(fold_of[f"yo train {row}"] == fold_of[f"en train {row}"] for row in range(900))
    assert all(fold_of[f"ig dev {row}"] == fold_of[f"en dev {row}"] for row in range(100))
    assert set(np.bincount(folds) > 500) == {True}
    assert not any("test" in review.text or "mt_en_ha dev" in review.text for review in found)


def test_the_same_words_are_one_sample_whatever_their_row():
    found = [
        reviews.Review(text, 1, "en", source)
        for text, source in (
            ("Best  film", "train/1"),
            ("best film", "train/2"),
            ("other", "train/3"),
            ("o", "train/2"),
        )
    ]
    first, second, third, fourth = reviews.samples(found)
    assert first == second == fourth != third


def test_the_published_translations_have_the_labels_of_the_rows_they_are_matched_with(data):
    found = reviews.read(data / "nollysenti", "NollySenti", ("train", "dev"))
    english = {review.source: review for review in found if review.corpus == "en"}
    assert len(found) == 5_572
    assert all(review.positive == english[review.source].positive for review in found)
    pairs = [(len(r.text), len(english[r.source].text)) for r in found if r.corpus == "pcm"]
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.95


def test_imdb_is_read_as_published_and_without_its_unlabelled_reviews(tmp_path):
    for folder in ("train/pos", "train/neg", "train/unsup", "test/pos"):
        (tmp_path / "aclImdb" / folder).mkdir(parents=True)
        (tmp_path / "aclImdb" / folder / "0_9.txt").write_text(folder)
    found = reviews.read(tmp_path / "aclImdb", "IMDB", ("train",))
    assert [(review.text, review.positive) for review in found] == [("train/neg", 0), ("train/pos", 1)]


def test_interrupted_training_resumes_and_exports_what_the_function_loads(tmp_path, monkeypatch):
    texts, positive = invented(350)
    for language in reviews.LANGUAGES:
        ending = "" if language == "en" else language
        rows = [
            " ".join(word + ending for word in text.split()) + f"\t{('negative', 'positive')[good]}"
            for text, good in zip(texts[:150], positive, strict=False)
        ]
        (tmp_path / "data" / language).mkdir(parents=True)
        (tmp_path / "data" / language / "train.tsv").write_text("\n".join(["review\tsentiment", *rows]))
    for row in range(150, 350):
        folder = tmp_path / "aclImdb" / "train" / ("neg", "pos")[positive[row]]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}_1.txt").write_text(texts[row])
    out = tmp_path / "out"
    places = {"--imdb": tmp_path / "aclImdb", "--nollysenti": tmp_path / "data", "--out": out}
    monkeypatch.setattr("sys.argv", ["train", *(str(word) for pair in places.items() for word in pair)])
    recipe = train.Recipe(Ngrams(bits=14))
    monkeypatch.setattr(train, "TOLERANCE", 1e-4)
    monkeypatch.setattr(train, "Recipe", lambda: recipe)
    monkeypatch.setattr(train, "ASSIGNMENTS", 2)
    monkeypatch.setattr(train, "FOLDS", 3)
    monkeypatch.setattr("models.review.short.ITERATIONS", 5)
    monkeypatch.setattr("models.review.short.COMMON", 20)
    monkeypatch.setattr("models.review.language.PIECES", (5,))
    monkeypatch.setattr("models.review.language.MADE_UP", 2)
    said = [lexicon.Example("en", text, chance) for text, chance in (("good", 0.9), ("bad", 0.1))]
    monkeypatch.setattr(lexicon, "read", lambda: said)
    monkeypatch.setattr(train, "SHARES", (0.5, 1.0))
    monkeypatch.setattr("models.report.RESAMPLES", 20)
    fit, fits = train.fit, []

    def stop_at_the_eighth(*arguments):
        fits.append(arguments)
        if len(fits) == 8:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(train, "fit", stop_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        train.main()
    train.main()
    # Three teachers and three models an assignment; half the reviews; three teachers of all, their model.
    assert len(fits) - 1 == 2 * (3 + 3) + 1 + 3 + 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert [each["seed"] for each in metrics["assignments"]] == [train.SEED, train.SEED + 1]
    assert metrics["nollysenti_mean_accuracy"] > 0.8
    assert metrics["imdb"]["accuracy"] > 0.8
    served = load(Classifier, out / "review.npz", LABELS)
    assert agree(served, joblib.load(out / "review.joblib"), texts)
    assert all((out / f"{plot}.png").exists() for plot in ("roc", "confusion", "reliability", "learning"))


def test_a_folder_without_data_says_what_to_download_and_which_option_to_use(tmp_path):
    with pytest.raises(SystemExit, match=r"aclImdb_v1\.tar\.gz.*--imdb PATH"):
        reviews.read(tmp_path / "nowhere", reviews.IMDB_IS)
    with pytest.raises(SystemExit, match=r"NollySenti.*--nollysenti PATH"):
        reviews.read(tmp_path, reviews.NOLLYSENTI_IS)
