"""Load from clients that keep their connections alive, by wrk, which is in C and uses little of the CPU."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass

from .process import Request, Server

SCRIPT = """
local function content(name)
  local file = assert(io.open(name, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("BENCH_KIND")
wrk.body = content(os.getenv("BENCH_BODY"))
function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p95": %f, "p99": %f}',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """The result of one load: requests a second, latencies in ms, and CPU time of each request in ms."""

    clients: int
    requests: int
    failed: int
    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields for JSON."""
        return asdict(self)


def required() -> str:
    """Return the path of wrk.

    Raises:
        SystemExit: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        sys.exit("wrk is not installed, which makes the load: apt-get install wrk")
    return found


def run(server: Server, request: Request, clients: int, seconds: float) -> Load:
    """Load `server` with `clients` for `seconds`, rounded up to a whole number."""
    script, body = server.log.with_name("load.lua"), server.log.with_name("body")
    script.write_text(SCRIPT)
    body.write_bytes(request.body)
    settings = {"BENCH_KIND": request.kind, "BENCH_BODY": str(body)}
    command = [required(), "-t1", f"-c{clients}", f"-d{math.ceil(seconds)}s", "--timeout", "60s"]
    command += ["-s", str(script), f"http://127.0.0.1:{server.port}{request.path}"]
    before = server.cpu_seconds()
    done = subprocess.run(  # noqa: S603 (our own command)
        command, env=settings, capture_output=True, text=True, check=False
    )
    used = server.cpu_seconds() - before
    try:
        found = json.loads(done.stderr.splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(f"wrk said: {done.stdout}{done.stderr}\n{server.last_lines()}") from None
    count = found["requests"]
    return Load(
        clients=clients,
        requests=count,
        failed=found["failed"],
        rate=count / found["seconds"],
        p50=found["p50"],
        p95=found["p95"],
        p99=found["p99"],
        cpu=1000 * used / count if count else float("nan"),
    )
