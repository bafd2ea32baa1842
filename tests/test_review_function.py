"""Reviews of every kind that people send, through the function."""

import io
import threading

import pytest

from shared.web import readers


@pytest.fixture
def client(load):
    return load("review")


def post(client, value):
    return client.post("/predict", data={"movie_review": value})


def refused(response, status, words):
    assert response.status_code == status, response.text
    assert words in response.get_json()["detail"]


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0\u3000"])
def test_a_blank_text_is_refused(client, blank):
    refused(post(client, blank), 422, "expected a text; it is blank")
    refused(client.post("/", data=blank.encode(), content_type="text/plain"), 422, "it is blank")


def test_a_text_at_the_limit_is_answered_and_one_over_it_is_refused(client):
    assert post(client, "ọ" * readers.MAX_CHARACTERS).status_code == 200
    refused(post(client, "ọ" * (readers.MAX_CHARACTERS + 1)), 413, "this text has 100,001")


LATIN = "Une comédie très drôle".encode("latin-1")


def test_bytes_that_are_not_utf8_are_refused_however_they_come(client):
    refused(client.post("/", data=LATIN, content_type="text/plain"), 400, "expected UTF-8")
    refused(client.post("/", data={"text": (io.BytesIO(LATIN), "review.txt")}), 400, "expected UTF-8")
    kind = "application/x-www-form-urlencoded"
    refused(client.post("/", data=b"text=tr%E8s+dr%F4le", content_type=kind), 400, "expected UTF-8")
    refused(client.post("/", data=b"text=" + LATIN, content_type=kind), 400, "expected UTF-8")
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + LATIN + b"\r\n--x--\r\n"
    refused(
        client.post("/", data=body, content_type="multipart/form-data; boundary=x"), 400, "expected UTF-8"
    )


def test_a_replacement_character_that_was_really_sent_is_text(client):
    assert post(client, "a fine film \ufffd").status_code == 200
    form = {"text": "a fine film \ufffd", "padding": (io.BytesIO(b""), "")}
    assert client.post("/", data=form, content_type="multipart/form-data").status_code == 200


def test_a_file_of_text_is_read_as_the_review(client):
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
        "<br /><br />",
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


def test_eight_threads_get_each_the_answer_to_their_own_review(client):
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


def test_explanations_are_bounded_in_all(client):
    texts = ["a b " * 20_000] * 2
    assert client.post("/", json={"instances": texts}).status_code == 200
    refused(client.post("/", json={"instances": texts, "explain": True}), 413, "where explain is asked for")


def test_a_form_of_a_million_fields_is_refused(client):
    kind = "application/x-www-form-urlencoded"
    refused(client.post("/", data=b"a&" * 1_000_000, content_type=kind), 400, "expected a form")
