import threading
import time

import pytest

from shared.once import Once


def test_twenty_threads_that_ask_together_get_one_value_built_once():
    built = []
    together = threading.Barrier(20)

    def build() -> object:
        time.sleep(0.05)
        built.append(object())
        return built[-1]

    once = Once(build)
    got = []

    def ask() -> None:
        together.wait()
        got.append(once())

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert got == built * 20


def test_a_failure_is_raised_and_not_kept():
    outcomes = iter([OSError("the store is down"), "model"])

    def build() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    once = Once(build)
    with pytest.raises(OSError, match="the store is down"):
        once()
    assert not once.ready
    assert once() == "model"
    assert once.ready


def test_a_value_that_is_false_is_built_once_too():
    built = []
    once = Once(lambda: built.append(1))
    assert once() is None
    assert once() is None
    assert built == [1]
