"""What signing in costs: the import, beside a function that has none, and the check of a request.

    python -m benchmarks.sign_in

The key fetch is a round trip to the provider, and not part of either figure.
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
    """Measure and print."""
    seconds = [imported() for _ in range(ROUNDS)]
    print(f"import, of CPU beside a function without sign-in: {1e3 * statistics.median(seconds):.1f} ms")
    key = rsa.generate_private_key(65537, 2048)
    with published(key) as url:
        gate = Gate(Settings.read({"SIGN_IN": f"firebase:{PROJECT}", "SIGN_IN_KEYS": url}))
        given = token(key)
        for clock in (time.perf_counter, time.process_time):
            print(f"check of a request, by {clock.__name__}: {1e3 * checked(gate, given, clock):.3f} ms")


def imported() -> float:
    """Seconds of CPU that a function takes longer to start."""
    command = [sys.executable, "-c", IMPORTS]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (our own command)
    return float(run.stdout.splitlines()[-1])


def checked(gate: Gate, given: str, clock: Callable[[], float]) -> float:
    """Seconds that a request's check takes by this clock, the median of a few rounds."""
    headers, rounds = {"Authorization": f"Bearer {given}"}, []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(CALLS):
            gate.admit(headers)
        rounds.append((clock() - began) / CALLS)
    return statistics.median(rounds)


@contextlib.contextmanager
def published(key: rsa.RSAPrivateKey) -> Iterator[str]:
    """The URL of a key set that holds this key."""
    numbers = key.public_key().public_numbers()
    jwk = {"kid": "one", "kty": "RSA"} | {name: number(getattr(numbers, name)) for name in ("n", "e")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the keys, good for an hour."""
            self.send_response(200)
            self.send_header("Cache-Control", "max-age=3600")
            self.end_headers()
            self.wfile.write(json.dumps({"keys": [jwk]}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
        server.shutdown()


def token(key: rsa.RSAPrivateKey) -> str:
    """A token as Firebase gives one to a user who signs in by e-mail."""
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
    """A number of a key, as a key set has it."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


def encoded(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
