import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import ModelUnavailable, NotReady
from shared.store.lazy import Lazy


def test_twenty_threads_at_the_same_time_build_the_value_once():
    built = []
    together = threading.Barrier(20)

    def build() -> object:
        time.sleep(0.05)
        built.append(object())
        return built[-1]

    lazy = Lazy(build)
    got = []

    def ask() -> None:
        together.wait()
        got.append(lazy())

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert got == built * 20


def failing(times):
    """A build that fails so many times, then gives `model`; and the list of its calls."""
    calls = []

    def build():
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise ModelUnavailable("the store is down")
        return "model"

    return build, calls


def test_a_failure_is_not_cached_and_the_next_call_after_the_back_off_builds_again():
    build, calls = failing(1)
    lazy = Lazy(build, pauses=(0.2,))
    with pytest.raises(ModelUnavailable, match="the store is down") as first:
        lazy()
    assert not isinstance(first.value, NotReady)
    assert first.value.retry_after == 0.2
    assert not lazy.ready
    with pytest.raises(NotReady, match="the last attempt failed: the store is down") as between:
        lazy()
    assert 0 < between.value.retry_after <= 0.2
    assert len(calls) == 1
    time.sleep(0.2)
    assert lazy() == "model"
    assert lazy.ready
    assert len(calls) == 2


def test_the_back_off_grows_with_each_failure_in_a_row():
    build, calls = failing(4)
    lazy = Lazy(build, pauses=(0.01, 0.02, 0.04))
    pauses = []
    while not lazy.ready:
        try:
            lazy()
        except NotReady as error:
            time.sleep(error.retry_after)
        except ModelUnavailable as error:
            pauses.append(error.retry_after)
    assert pauses == [0.01, 0.02, 0.04, 0.04]
    assert len(calls) == 5


def test_waiting_threads_share_the_failure_of_the_attempt():
    go = threading.Event()
    calls = []

    def build():
        calls.append(1)
        go.wait()
        raise OSError("the disk is gone")

    lazy = Lazy(build)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(lazy) for _ in range(8)]
        time.sleep(0.1)
        go.set()
    errors = [answer.exception() for answer in answers]
    assert len(calls) == 1
    assert sum(isinstance(error, OSError) for error in errors) == 1
    assert sum(isinstance(error, NotReady) and "the disk is gone" in str(error) for error in errors) == 7


def test_a_falsy_value_is_built_once_too():
    built = []
    lazy = Lazy(lambda: built.append(1))
    assert lazy() is None
    assert lazy() is None
    assert built == [1]
