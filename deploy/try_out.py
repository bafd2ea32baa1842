"""Ask a deployed function what it should know, or how it is.

    TOKEN=... python3 deploy/try_out.py URL functions/NAME
    TOKEN=... python3 deploy/try_out.py --status URL

Sends the example of the function's openapi.json and exits with 1 where the label is not the one there. A new
address needs a moment until it is known everywhere: it is asked again for a while. Needs Python alone.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE = float(os.environ.get("PATIENCE", "60"))


def main() -> int:
    """Do as the arguments say."""
    if sys.argv[1] == "--status":
        return status(sys.argv[2])
    url, folder = sys.argv[1], Path(sys.argv[2])
    known = json.loads((folder / "openapi.json").read_text())
    deadline = time.monotonic() + PATIENCE
    while True:
        code, answer = ask(url, {"instances": [known["example"]]})
        if code == 200:
            break
        if time.monotonic() > deadline or code not in (0, 401, 403, 404, 502, 503):
            print(f"{url}: expected an answer, got {code}: {answer}", file=sys.stderr)
            return 1
        time.sleep(2)
    [found] = answer["predictions"]
    if known["label"] not in found.values():
        print(f"{url}: expected {known['label']}, got {found}", file=sys.stderr)
        return 1
    return 0


def status(url: str) -> int:
    """Print the version of the model that answers there, and whether it is in memory."""
    code, answer = ask(url)
    if code != 200:
        print(f"  no answer: {code} {answer}")
        return 1
    print(f"  model             {answer['model']['version']}, {'' if answer['ready'] else 'not '}in memory")
    return 0


def ask(url: str, content: Any = None) -> tuple[int, Any]:
    """Status and body; 0 where there is no connection."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token := os.environ.get("TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(content).encode() if content is not None else None
    request = urllib.request.Request(url, body, headers)  # noqa: S310 (an https address of our own)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")[:500]
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        return 0, str(error)


if __name__ == "__main__":
    sys.exit(main())
