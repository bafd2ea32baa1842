"""Run the calls that a function's page shows, as a reader would."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_call(page: Any, kind: str, folder: Path, token: str = "", app_token: str = "") -> Any:
    """Run the call that the page shows in `folder`, with these tokens; return its answer."""
    page.check(f"input[value={kind}]", force=True)
    call = page.eval_on_selector("#call", "call => call.textContent")
    if kind in ("javascript", "frontend"):
        call = call.replace("console.log(", "return (")
        user = f"{{currentUser: {{getIdToken: async () => {json.dumps(token)}}}}}"
        app = f"async () => ({{token: {json.dumps(app_token)}}})"
        call = f"const auth = {user}, getToken = {app}, appCheck = null; {call}"
        files = "typeof items === 'undefined' ? [] : items.map((item) => item.file)"
        return page.evaluate(f"(async () => {{ const input = {{files: {files}}}; {call} }})()")
    python = [sys.executable, "-c", call.replace("print(answer.json())", "print(answer.text)")]
    command = python if kind == "python" else ["sh", "-c", call]
    run = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=120)
    return json.loads(run.stdout)
