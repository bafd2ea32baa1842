"""The malaria function, called as the cloud calls it."""

import io
import threading

import cells
import pytest
from conftest import ROOT

from shared.runtimes import images

INFECTED = ROOT / "models" / "malaria" / "examples" / "infected.png"
NORMAL = ROOT / "models" / "malaria" / "examples" / "normal.png"


@pytest.fixture
def client(load):
    return load("malaria")


def post(client, data):
    return client.post("/classify", data={"malaria_cell_image": (io.BytesIO(data), "cell")})


def probability(response):
    assert response.status_code == 200, response.text
    return response.get_json()["probabilities"]["Infected"]


def test_both_drawn_examples_get_their_label(client):
    for path, label in ((INFECTED, "Infected"), (NORMAL, "Normal")):
        assert post(client, path.read_bytes()).get_json()["classification"] == label


def refused(response, status, words):
    assert response.status_code == status, response.text
    assert words in response.get_json()["detail"]


def test_an_empty_file_is_refused(client):
    refused(post(client, b""), 422, "the file is empty")


def test_a_batch_answers_each_image_in_order_even_if_some_are_bad(client):
    contents = [INFECTED.read_bytes(), b"<svg/>", NORMAL.read_bytes(), INFECTED.read_bytes()[:500], b""]
    files = {"image": [(io.BytesIO(data), f"{index}.png") for index, data in enumerate(contents)]}
    answer = client.post("/classify", data=files).get_json()
    assert [one.get("classification") for one in answer["predictions"]] == [
        "Infected",
        None,
        "Normal",
        None,
        None,
    ]
    assert [one.get("code") for one in answer["predictions"]] == [
        None,
        "unsupported_type",
        None,
        "unusable_input",
        "unusable_input",
    ]
    alone = post(client, INFECTED.read_bytes()).get_json()
    assert answer["predictions"][0]["probabilities"] == alone["probabilities"]


def test_each_of_eight_threads_gets_the_answer_to_its_own_image(load):
    client = load("malaria")
    images = [cells.encode(cells.draw(seed % 2 == 0, seed)) for seed in range(8)]
    expected = [probability(post(client, image)) for image in images]
    assert len(set(expected)) == len(expected)
    wrong = []
    together = threading.Barrier(len(images))

    def ask(index):
        own = client.application.test_client()
        together.wait()
        for _ in range(25):
            got = probability(post(own, images[index]))
            if got != expected[index]:
                wrong.append((index, got))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_model_is_built_once_by_threads_that_arrive_together(load, monkeypatch):
    client = load("malaria")
    import main

    built = []
    original = main.Classifier.load

    def load_once(path, pin):
        built.append(path)
        return original(path, pin)

    monkeypatch.setattr(main.Classifier, "load", load_once)
    together = threading.Barrier(12)
    answers = []

    def ask():
        own = client.application.test_client()
        together.wait()
        answers.append(post(own, INFECTED.read_bytes()).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert len(built) == 1


def test_no_request_waits_for_a_lock_that_another_holds_while_it_decodes(load, monkeypatch):
    client = load("malaria")
    post(client, INFECTED.read_bytes())
    original = images.Classifier.decode
    together = threading.Barrier(4, timeout=30)

    def decode(self, data):
        together.wait()  # passes only when four requests decode at the same time
        return original(self, data)

    monkeypatch.setattr(images.Classifier, "decode", decode)
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                post(client.application.test_client(), INFECTED.read_bytes()).status_code
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
