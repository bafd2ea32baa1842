"""Connect to a server that may have several addresses, within one deadline."""

import errno
import os
import selectors
import socket
import time
from itertools import chain, zip_longest
from typing import Any

STAGGER = 0.25
"""Seconds between the attempts to connect to two addresses: the delay that RFC 8305 recommends."""


def connect(host: str, port: int, end: float) -> socket.socket:
    """Connect to the address that answers first (Happy Eyeballs, RFC 8305).

    A dead address, such as that of a broken IPv6 route, delays the others by `STAGGER` only. The timeout of
    the returned socket is the time left.

    Args:
        host: the server's name or address. Only the resolver limits the time of its lookup.
        port: the server's TCP port.
        end: the deadline for all addresses together, by `time.monotonic()`.

    Raises:
        OSError: every address refuses the connection, or there is none.
        TimeoutError: none has accepted it by the deadline.
    """
    _left(end)  # after the deadline there is not even a lookup
    waiting = _addresses(host, port)
    failure = OSError(f"{host} has no address")
    with selectors.DefaultSelector() as pending:
        try:
            while waiting or pending.get_map():
                if waiting:
                    failure = _begin(pending, *waiting.pop(0)) or failure
                    if not pending.get_map():
                        continue
                for key, _ in pending.select(min(_left(end), STAGGER) if waiting else _left(end)):
                    pending.unregister(key.fileobj)
                    if code := key.data.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        key.data.close()
                        failure = OSError(code, os.strerror(code))
                    else:
                        key.data.settimeout(_left(end))
                        return key.data  # type: ignore[no-any-return]
        finally:
            for key in pending.get_map().values():
                key.data.close()
    raise failure


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Return (family, address) pairs: the families take turns, in the order that the resolver prefers."""
    families: dict[int, list[tuple[int, Any]]] = {}
    for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        families.setdefault(family, []).append((family, address))
    return [each for each in chain.from_iterable(zip_longest(*families.values())) if each]


def _begin(pending: selectors.BaseSelector, family: int, address: Any) -> OSError | None:
    """Begin to connect to one address; return the error if that fails at once."""
    try:
        attempt = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # a kernel without IPv6
        return error
    attempt.setblocking(False)
    code = attempt.connect_ex(address)
    if code in (0, errno.EINPROGRESS):
        pending.register(attempt, selectors.EVENT_WRITE, attempt)
        return None
    attempt.close()
    return OSError(code, os.strerror(code))


def _left(end: float) -> float:
    """Return the seconds until the deadline.

    Raises:
        TimeoutError: it has passed.
    """
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError("timed out")
    return left
