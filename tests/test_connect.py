"""Connecting to a server with several addresses: the first that answers, within one deadline."""

import errno
import socket
import time

import faults
import pytest

from shared import connect as connecting
from shared.connect import connect
from shared.web.auth import keys


def soon(seconds=20.0):
    return time.monotonic() + seconds


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def dead():
    with faults.silent_port() as port:
        yield port


def test_the_address_that_answers_is_taken_whatever_comes_before_it(server, dead, monkeypatch):
    monkeypatch.setattr(connecting, "STAGGER", 0.01)
    for ports in ([server], [dead, server], [dead, dead, 9, server, dead], [9, server]):
        faults.resolve_to(monkeypatch, *ports)
        with connect("x.example", 80, soon()) as connection:
            assert connection.getpeername()[1] == server
            assert 0 < connection.gettimeout() <= 20


def test_all_addresses_together_have_one_deadline(server, dead, monkeypatch):
    monkeypatch.setattr(connecting, "STAGGER", 60)
    faults.resolve_to(monkeypatch, dead, dead, server)
    with pytest.raises(TimeoutError):
        connect("x.example", 80, soon(0.2))
    faults.resolve_to(monkeypatch, server)
    with pytest.raises(TimeoutError):
        connect("x.example", 80, soon(-1))


def test_if_all_addresses_refuse_the_last_error_is_raised(monkeypatch):
    faults.resolve_to(monkeypatch, 9, 9)
    with pytest.raises(ConnectionRefusedError):
        connect("x.example", 80, soon())
    faults.resolve_to(monkeypatch)
    with pytest.raises(OSError, match=r"x\.example has no address"):
        connect("x.example", 80, soon())


def test_an_address_without_a_route_fails_at_once(server, monkeypatch):
    connect_ex = socket.socket.connect_ex

    def unreachable(self, address):
        return errno.ENETUNREACH if address[1] == 9 else connect_ex(self, address)

    monkeypatch.setattr(connecting, "STAGGER", 60)
    monkeypatch.setattr(socket.socket, "connect_ex", unreachable)
    faults.resolve_to(monkeypatch, 9, server)
    connect("x.example", 80, soon()).close()
    faults.resolve_to(monkeypatch, 9)
    with pytest.raises(OSError, match="unreachable"):
        connect("x.example", 80, soon())


def test_the_families_of_addresses_take_turns(monkeypatch):
    six, four = (socket.AF_INET6, "six"), (socket.AF_INET, "four")
    found = [(family, 1, 6, "", address) for family, address in (six, six, six, four)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert connecting._addresses("x.example", 80) == [six, four, six, six]


def test_the_keys_of_a_provider_with_a_dead_address_are_fetched(dead, monkeypatch):
    with faults.bucket() as provider:
        provider.fault = faults.status(200, b"keys", **{"Cache-Control": "max-age=9"})
        url = f"{provider.url}/download/storage/v1/b/x/o/x".replace("127.0.0.1", "localhost")
        faults.resolve_to(monkeypatch, dead, provider.server_address[1])
        assert keys.fetch(url) == (b"keys", 9.0)
