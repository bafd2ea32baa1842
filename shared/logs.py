"""Log lines as Cloud Logging reads them: one JSON object a line, with a severity."""

import datetime
import json
import sys
from typing import Any, TextIO


def write(severity: str, message: str, stream: TextIO | None = None, **fields: Any) -> None:
    """Write one line to `stream`, or to standard error. Lines of many threads do not mix."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"severity": severity, "time": now, "message": message, **fields})
    stream = stream or sys.stderr
    stream.write(line + "\n")
    stream.flush()
