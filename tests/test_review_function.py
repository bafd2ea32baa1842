"""Reviews of every kind that users send, through the function."""

import io
import threading

import pytest
from fuzzing import FUZZED, TEXTS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions.review.ngrams import Ngrams, clean, token_spans
from shared.web.readers import MAX_CHARACTERS


@pytest.fixture
def client(load):
    return load("review")


def post(client, value):
    return client.post("/predict", data={"movie_review": value})


def refused(response, status, words):
    assert response.status_code == status, response.text
    assert words in response.get_json()["detail"]


def test_a_text_at_the_limit_is_answered_and_one_over_it_is_refused(client):
    assert post(client, "ọ" * MAX_CHARACTERS).status_code == 200
    refused(post(client, "ọ" * (MAX_CHARACTERS + 1)), 413, "this text has 100,001")


def test_a_text_file_is_read_as_the_review(client):
    form = {"movie_review": (io.BytesIO("\ufeffA brilliant film, I loved it.".encode()), "review.txt")}
    assert client.post("/predict", data=form).get_json()["review_sentiment"] == "Positive"


def test_a_form_field_over_half_a_megabyte_is_a_problem_in_json_and_not_html(client):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"long " * 200_000 + b"\r\n--x--\r\n"
    )
    response = client.post("/", data=body, content_type="multipart/form-data; boundary=x")
    refused(response, 413, "expected at most 100,000 characters; this text has 1,000,000")
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "🎬🔥",
        "مراجعة فيلم رائعة",
        "o\u0323\u0301" * 500,
        "<script>alert(1)</script>",
        "a" * 50_000,
        "1",
    ],
)
def test_strange_text_is_answered(client, text):
    response = post(client, text)
    assert response.status_code == 200, response.text
    assert sum(response.get_json()["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A brilliant film. The acting was wonderful and I loved every minute of it.", "Positive"),
        ("A terrible waste of time. The plot is boring and the acting is awful.", "Negative"),
        ("Dis film sweet well well, di actors try well, I go watch am again.", "Positive"),
        ("Dis film no make sense at all, e just waste my time, di acting bad.", "Negative"),
    ],
)
def test_plain_reviews_get_their_sentiment(client, text, label):
    assert post(client, text).get_json()["review_sentiment"] == label


def test_each_of_eight_threads_gets_the_answer_to_its_own_review(client):
    words = ["wonderful", "awful", "brilliant", "boring", "sweet", "bad", "great", "waste"]
    reviews = [f"This film was {word}. " * (index + 1) for index, word in enumerate(words)]
    expected = [post(client, review).get_json()["probabilities"] for review in reviews]
    together = threading.Barrier(len(reviews))
    wrong = []

    def ask(index):
        own = client.application.test_client()
        together.wait()
        for _ in range(25):
            got = post(own, reviews[index]).get_json()["probabilities"]
            if got != expected[index]:
                wrong.append((index, got))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(reviews))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_total_size_of_explanations_is_limited(client):
    texts = ["a b " * 20_000] * 2
    assert client.post("/", json={"instances": texts}).status_code == 200
    refused(
        client.post("/", json={"instances": texts, "explain": True}), 413, "with explain, expected at most"
    )


@FUZZED
@given(text=TEXTS)
@example(text="&#" + "9" * 4301)
@example(text="&#" + "0" * 4301 + "65;")
def test_any_text_is_cleaned_traced_and_hashed(text):
    tokens, spans = clean(text).split(" ") if clean(text) else [], token_spans(text)
    assert len(tokens) == len(spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    for buckets in Ngrams(bits=10).features(text):
        assert (buckets[1:] > buckets[:-1]).all()


@pytest.mark.parametrize("zeros", [10, 4300, 10_000])
@pytest.mark.parametrize(
    ("reference", "character"),
    [
        ("&#{}65;", "a"),
        ("&#{}65", "a"),
        ("&#{}233 ", "é"),
        ("&#x{}41;", "a"),
        ("&#{};", "\ufffd"),
        ("&#9{};", "\ufffd"),
        ("&#x9{};", "\ufffd"),
    ],
)
def test_a_reference_of_many_digits_is_the_character_it_stands_for(reference, character, zeros):
    text = reference.format("0" * zeros)
    assert clean(text) == character
    assert token_spans(text) == [(0, len(text.rstrip()))]


@settings(FUZZED, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_no_text_causes_an_internal_error_or_affects_another(client, texts):
    texts = [text[:20_000] for text in texts]  # as many as are explained together
    response = client.post("/?explain=1", json={"instances": ["A fine film.", *texts]})
    assert response.status_code == 200
    first, *others = response.get_json()["predictions"]
    assert first["error"] == "0"
    assert all(one["error"] == "0" or one["code"] == "unusable_input" for one in others)
