"""The page a person's browser gets, in one piece, and the policy that keeps anything else out of it."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


@cache
def page(path: Path) -> tuple[str, str]:
    """The function's page with the shared style, script and calls put in, and its Content-Security-Policy."""
    text = path.read_text()
    shared = {"{{style}}": "page.css", "{{script}}": "page.js", "{{calls}}": "page_calls.html"}
    for placeholder, name in shared.items():
        text = text.replace(placeholder, (ASSETS / name).read_text())
    scripts = " ".join(_hash(found) for found in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))
    styles = " ".join(_hash(found) for found in re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
