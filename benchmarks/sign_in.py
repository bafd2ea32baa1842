"""Measure the cost of sign-in: the import, compared with a function without it, and the check of a request.

    python -m benchmarks.sign_in

Fetching the keys is a round trip to the provider, which neither figure includes.
"""

import base64
import contextlib
import http.server
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from shared.settings import Settings
from shared.web.auth.sign_in import Gate

ROUNDS = 15
CALLS = 2000
PROJECT = "demo-project"
IMPORTS = """
import functions_framework, time
functions_framework.create_app("predict", "functions/review/main.py")
before = time.process_time()
from shared.settings import Settings
from shared.web.auth.sign_in import Gate
Gate(Settings.read({"SIGN_IN": "firebase:demo-project"}))
print(time.process_time() - before)
"""


def main() -> None:
    """Measure and print the figures."""
    seconds = [imported() for _ in range(ROUNDS)]
    print(f"import, of CPU beside a function without sign-in: {1e3 * statistics.median(seconds):.1f} ms")
    key = rsa.generate_private_key(65537, 2048)
    with published(key) as url:
        gate = Gate(Settings.read({"SIGN_IN": f"firebase:{PROJECT}", "SIGN_IN_KEYS": url}))
        given = token(key)
        for clock in (time.perf_counter, time.process_time):
            print(f"check of a request, by {clock.__name__}: {1e3 * checked(gate, given, clock):.3f} ms")


def imported() -> float:
    """Return the CPU seconds that sign-in adds to the start of a function."""
    command = [sys.executable, "-c", IMPORTS]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (our own command)
    return float(run.stdout.splitlines()[-1])


def checked(gate: Gate, given: str, clock: Callable[[], float]) -> float:
    """Return the seconds that the check of a request takes by `clock`, the median of several rounds."""
    headers, rounds = {"Authorization": f"Bearer {given}"}, []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(CALLS):
            gate.admit(headers)
        rounds.append((clock() - began) / CALLS)
    return statistics.median(rounds)


@contextlib.contextmanager
def published(key: rsa.RSAPrivateKey) -> Iterator[str]:
    """Serve a key set with this key; yield its URL."""
    numbers = key.public_key().public_numbers()
    jwk = {"kid": "one", "kty": "RSA"} | {name: number(getattr(numbers, name)) for name in ("n", "e")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the keys, which may be cached for an hour."""
            self.send_response(200)
            self.send_header("Cache-Control", "max-age=3600")
            self.end_headers()
            self.wfile.write(json.dumps({"keys": [jwk]}).encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
        server.shutdown()


def token(key: rsa.RSAPrivateKey) -> str:
    """Return a token as Firebase issues it to a user who signs in by e-mail."""
    now = int(time.time())
    claims = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "auth_time": now,
        "user_id": "uid-1",
        "sub": "uid-1",
        "iat": now,
        "exp": now + 3600,
        "email": "ada@example.org",
        "email_verified": True,
        "firebase": {"identities": {"email": ["ada@example.org"]}, "sign_in_provider": "password"},
    }
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one"}, claims)]
    content = ".".join(parts)
    return f"{content}.{encoded(key.sign(content.encode(), padding.PKCS1v15(), SHA256()))}"


def number(value: int) -> str:
    """Return a number of a key as it is encoded in a key set."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


def encoded(content: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
