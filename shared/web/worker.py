"""A gunicorn worker that slow clients cannot block: spare threads, and time limits for each request.

functions-framework starts gunicorn itself and passes no options on. So this class replaces gunicorn's default
worker, and sets the options that functions-framework does not set.
"""

import contextlib
import inspect
import logging
import math
import mmap
import os
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
from flask import Flask, Request, Response
from functions_framework import execution_id
from gunicorn import config
from gunicorn.http import errors as refusals
from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

from .. import logs
from ..errors import BadRequest, HeadersTooLarge, LineTooLong
from .client import KEY, Client
from .responses import problem, serialized

REQUEST_LINE = 8190
"""Bytes; gunicorn's own maximum. functions-framework removes the limit, and gunicorn scans the whole line
again at each read: a line of 100 MB takes minutes of CPU."""
SPARE = 64
"""Threads beyond `THREADS` that may wait for slow clients; work that takes memory and CPU is limited to
`THREADS`."""
GRACEFUL_SECONDS = 9
"""From SIGTERM to the end; the platform kills the process after ten."""
LINGER_SECONDS = 2.0
"""How long an answer may take to reach a client that is still sending a body which nobody reads."""
TICK_SECONDS = 0.25
STAY_SECONDS = 0.01
"""How long a thread waits for its connection's next request, which then needs no handover."""
STAYING = SPARE // 2
"""A thread may wait like this only if fewer clients than this are served."""
YIELD_SECONDS = 0.001
"""How long a worker leaves a new connection to a worker that has fewer."""

Function = Callable[[Request], Response]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def install(function: Function) -> None:
    """Make `Worker` the class that functions-framework's gunicorn uses; to be called before it starts.

    Args:
        function: the function to serve.
    """
    Worker.function = staticmethod(function)
    Worker.loads = Loads()

    class WorkerClass(config.WorkerClass):  # type: ignore[misc] # gunicorn keeps the last of each name
        validator = config.validate_class
        default = Worker
        desc = "The worker class of shared.web."


class Loads:
    """How many connections each worker has, in shared memory. This is only a hint; nothing depends on it."""

    SLOTS = 32
    FRESH_SECONDS = 4 * TICK_SECONDS

    def __init__(self) -> None:
        """Allocate the memory; call this before the workers are forked."""
        self._cells = memoryview(mmap.mmap(-1, 16 * self.SLOTS)).cast("d")

    def set(self, worker: int, count: int) -> None:
        """Note how many connections a worker has; the note expires unless it is repeated."""
        place = 2 * (worker % self.SLOTS)
        self._cells[place], self._cells[place + 1] = time.monotonic(), count

    def fewest(self, besides: int) -> float:
        """The fewest connections that any other worker has; infinity if there is no other."""
        since, cells = time.monotonic() - self.FRESH_SECONDS, self._cells.tolist()
        pairs = zip(cells[::2], cells[1::2], strict=True)
        others = [pair for slot, pair in enumerate(pairs) if slot != besides % self.SLOTS]
        return min((count for stated, count in others if stated > since), default=math.inf)


class Worker(ThreadWorker):  # type: ignore[misc] # untyped
    """gunicorn's threaded worker, with a limit on each step of a request."""

    function: Function
    loads: Loads

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg.set("limit_request_line", REQUEST_LINE)
        self.cfg.set("graceful_timeout", GRACEFUL_SECONDS)
        self.clients: dict[socket.socket, Client] = {}
        self.requests: dict[socket.socket, Any] = {}
        self.stopped: float | None = None

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.cfg.threads + SPARE)

    def init_process(self) -> None:
        self.log.error_log.handlers = list(logging.getLogger().handlers)
        threading.Thread(target=self.watch, daemon=True).start()
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # As plain attributes: gunicorn reads twenty settings for each request, each through `__getattr__`.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self.direct = needs_no_flask(self.wsgi, self.function)
        self.application = direct(self.function) if self.direct else self.wsgi
        self.wsgi: Any = self.call

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.stopped = self.stopped or time.monotonic()
        super().handle_exit(sig, frame)

    def watch(self) -> None:
        """Enforce the time limits of all clients, for ever."""
        while True:
            time.sleep(TICK_SECONDS)
            self.loads.set(self.age, self.nr_conns)
            for client in list(self.clients.values()):
                try:
                    client.tick(self.stopped)
                except Exception:  # it concerns one client; go on watching the others
                    logs.write("ERROR", traceback.format_exc())

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, but let a worker that has fewer do it first: connections never move."""
        if self.loads.fewest(besides=self.age) < self.nr_conns:
            time.sleep(YIELD_SECONDS)
        super().accept(listener)
        self.loads.set(self.age, self.nr_conns)

    def finish_request(self, conn: Any, fs: Any) -> None:
        super().finish_request(conn, fs)
        self.loads.set(self.age, self.nr_conns)

    def enqueue_req(self, conn: Any) -> None:
        conn.arrived = time.monotonic()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        kept = self.handle_once(conn)
        while kept is True and self.follows(conn):
            conn.arrived = time.monotonic()
            kept = self.handle_once(conn)
        return kept

    def follows(self, conn: Any) -> bool:
        """Whether the client's next request arrives so soon that this thread can take it too."""
        if not self.alive or len(self.clients) >= STAYING or conn.parser.unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(1000 * STAY_SECONDS))

    def handle_once(self, conn: Any) -> Any:
        client = self.clients[conn.sock] = Client(conn.sock, conn.arrived)
        client.await_head()
        try:
            kept = super().handle(conn)
            client.claim()
            if kept is False:
                linger(conn.sock)
            return kept
        finally:
            self.requests.pop(conn.sock, None)
            del self.clients[conn.sock]

    def handle_request(self, req: Any, conn: Any) -> Any:
        self.clients[conn.sock].claim()
        self.requests[conn.sock] = req
        return self.answer(req, conn) if self.direct else super().handle_request(req, conn)

    def answer(self, req: Any, conn: Any) -> bool:
        """Do what gunicorn does, but send the headers and the body, which is in memory, together."""
        reply, environ = wsgi.create(req, conn.sock, conn.client, conn.server, self.cfg)
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            reply.force_close()
        body = b"".join(self.call(environ, reply.start_response))
        lines = [*reply.default_headers(), *(f"{name}: {value}\r\n" for name, value in reply.headers)]
        conn.sock.sendall(f"{''.join(lines)}\r\n".encode("latin-1") + body)
        return not reply.should_close()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer an invalid HTTP request with `application/problem+json`."""
        if not isinstance(exc, refusals.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        kinds = {refusals.LimitRequestLine: LineTooLong, refusals.LimitRequestHeaders: HeadersTooLarge}
        error = kinds.get(type(exc), BadRequest)(f"the request cannot be read: {exc}"[:300])
        logs.write("WARNING", f"{error.status}: the request cannot be read: {type(exc).__name__}")
        with contextlib.suppress(OSError):
            client.sendall(serialized(problem(error)))

    def call(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the application, then give the client time to receive the answer."""
        connection, body = environ["gunicorn.socket"], environ["wsgi.input"]
        client = environ[KEY] = self.clients[connection]
        try:
            answer: Iterable[bytes] = self.application(environ, start_response)
        finally:
            if environ["wsgi.input"] is body and has_body(environ):
                # Nobody has read the body, so the next bytes on the connection are not a request.
                self.requests[connection].force_close()
            client.await_reading()
        return answer


def needs_no_flask(app: Flask, function: Function) -> bool:
    """Whether Flask would do nothing more than call the function.

    It does more if main.py has wrapped the function or hooked anything into the application.
    """
    target = inspect.unwrap(app.view_functions.get("run", app))
    hooks = app.before_request_funcs or app.teardown_request_funcs or flask.request_started.receivers
    after = [each for some in app.after_request_funcs.values() for each in some]
    wrapped = type(app.wsgi_app) is not execution_id.WsgiMiddleware or "LOG_EXECUTION_ID" in os.environ
    return target is function and not hooks and not wrapped and len(after) == 1


def direct(function: Function) -> Application:
    """A WSGI application that does nothing more than call the function: Flask takes a third of the time."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = function(Request(environ))
        start_response(response.status, list(response.headers))
        return () if environ["REQUEST_METHOD"] == "HEAD" else response.iter_encoded()

    return application


def has_body(environ: dict[str, Any]) -> bool:
    """Whether the request has a body, by its headers."""
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def linger(connection: socket.socket) -> None:
    """Let the client receive its answer before the connection closes, and discard what it still sends.

    If the connection were closed with unread bytes, TCP would reset it and the answer would be lost. gunicorn
    lingers too, but in the one thread that accepts connections; it does not if the read side is shut.
    """
    end, waste = time.monotonic() + LINGER_SECONDS, bytearray(65536)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (rest := end - time.monotonic()) > 0:
            connection.settimeout(rest)
            if not connection.recv_into(waste):
                break
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
