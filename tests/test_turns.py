"""Scheduling: slow requests run one at a time, and no quick one waits for them."""

import json
import threading
import time

import pytest
from conftest import ROOT

from shared import budget
from shared.errors import ClientLeft, TimedOut
from shared.turns import QUICK, LeastWork, Turns, turn


def waiting(lock, count):
    while len(lock._waiting) < count:
        pass


def test_the_lock_goes_to_the_least_work_and_of_equal_work_to_the_first():
    lock, order = LeastWork(), []

    def take(index, work):
        with lock.held(work):
            order.append(index)

    threads = [threading.Thread(target=take, args=each) for each in enumerate((5, 9, 5, 1, 9, 1))]
    with lock.held(0):
        for count, thread in enumerate(threads, start=1):
            thread.start()
            waiting(lock, count)
    for thread in threads:
        thread.join()
    assert order == [3, 5, 0, 2, 1, 4]


def test_a_waiter_that_times_out_blocks_nobody():
    lock = LeastWork()
    with lock.held(0), pytest.raises(TimedOut), lock.held(0, 0.01):
        pass
    with lock.held(0, 0):
        pass


def test_slots_are_given_first_come_first_served():
    turns, order = Turns(1), []

    def take(index):
        turns.enter(60)
        order.append(index)
        turns.leave()

    threads = [threading.Thread(target=take, args=(index,)) for index in range(4)]
    turns.enter(0)
    for count, thread in enumerate(threads, start=1):
        thread.start()
        waiting(turns, count)
    with pytest.raises(TimedOut):
        turns.enter(0)
    turns.leave()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    turns.enter(0)


def test_a_slow_request_releases_its_slot_to_a_quick_one():
    turns, deadline = Turns(1), time.monotonic() + 60
    with turns.request(deadline, lambda: None), budget.one_request():
        budget.spend(QUICK, "thing")
        with turn(), pytest.raises(TimedOut):
            turns.enter(0)
        budget.spend(1, "thing")
        with turn(), turn():  # which is one turn
            turns.enter(0)
            turns.leave()
    with turns.request(deadline, lambda: None), pytest.raises(TimedOut):
        turns.enter(0)


def test_an_abandoned_request_does_not_take_its_turn():
    left = []

    def check():
        if left:
            raise ClientLeft("gone")

    turns = Turns(1)
    with turns.request(time.monotonic() + 60, check):
        left.append(True)
        with pytest.raises(ClientLeft), turn(large=True):
            pass
    with turns.slow.held(0, 0):
        pass


def test_nothing_waits_without_a_server():
    with turn(large=True), turn(large=True):
        pass


@pytest.mark.parametrize(
    "slow", [{"instances": ["a\u0301>" * 33_000] * 32}, {"text": ">" * 99_999, "explain": 1}]
)
def test_a_normal_text_does_not_wait_for_long_ones(start, slow):
    """Send half as many again as there are threads."""
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    body = json.dumps(slow).encode()
    server.request("POST", "/predict", b"A film.", "text/plain")
    threads = [
        threading.Thread(target=server.request, args=("POST", "/predict", body, "application/json"))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    waits = []
    while any(thread.is_alive() for thread in threads):
        before = time.monotonic()
        assert server.request("POST", "/predict", b"A film.", "text/plain").status == 200
        waits.append(time.monotonic() - before)
    assert max(waits) < 0.5 * (time.monotonic() - began)


def test_the_texts_of_one_request_share_a_budget(load):
    sent = ["a" * 99_000] * 20 + ["A film."]
    answers = load("review").post("/predict", json={"instances": sent}).get_json()["predictions"]
    codes = [answer.get("code") for answer in answers]
    assert codes == [None] * 15 + ["too_much_work"] * 5 + [None]
    assert "send it in another request" in answers[15]["message"]
