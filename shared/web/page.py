"""The page that a browser gets, as one document, and the policy that keeps anything else out of it.

Only Firebase's scripts are not part of the document, on pages on which users sign in.
"""

import base64
import hashlib
import mimetypes
import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..example import Example
from ..pin import Pin
from ..settings import Settings
from . import firebase
from .cors import APP_CHECK_HEADER
from .readers import Images, Rows, Texts
from .service import Service

ASSETS = Path(__file__).parent / "assets"
SHARED = ("page", "requests", "answers", "calls")
SCRIPTS = {
    "images": (*SHARED, "csv", "batch", "images"),
    "texts": (*SHARED, "links", "texts"),
    "rows": (*SHARED, "csv", "batch", "links", "rows"),
}
"""The modules of a page by what its function reads; each stands after those that it imports."""
MAX_EXAMPLE = 1_000_000
"""Characters of base64: every visitor downloads the example, even if nobody tries it."""


def page(service: Service) -> tuple[str, dict[str, str]]:
    """The page of a function, and the headers by which browsers keep anything else out.

    The template is `assets/page.html`, or the function's own `page.html`, which extends it.
    """
    reader, config = _reader(service), service.settings.firebase_config
    script, style = _script(reader, bool(config)), Markup((ASSETS / "page.css").read_text())  # noqa: S704 (our own file)
    imports = Markup(firebase.IMPORT_MAP) if config else ""  # noqa: S704 (our own words)
    text = _template(service.folder).render(
        _words(service, reader), script=script, style=style, imports=imports
    )
    directives = {
        "default-src": "'none'",
        "script-src": " ".join(_hash(each) for each in (script, imports) if each),
        "style-src": _hash(style),
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        **dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'"),
    }
    for name, sources in firebase.policy(config).items() if config else ():
        directives[name] = f"{directives.get(name, '')} {sources}".strip()
    return text, {
        "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in directives.items()),
        # Firebase's API key may be restricted to origins, which Firebase learns from the referrer.
        "Referrer-Policy": "strict-origin" if config else "no-referrer",
    }


def _words(service: Service, reader: str) -> dict[str, Any]:
    """The values of the template's variables."""
    pin, example = service.pin, _example(service.folder)
    numbers = {name: value for name, value in pin.metrics.items() if not isinstance(value, str)}
    return {
        "title": _title(service.name),
        "reader": reader,
        "labels": pin.labels,
        "columns": _columns(pin, example),
        "example": example,
        "explains": service.explanation is not None,
        "figures": {name: _figure(name, value) for name, value in numbers.items()},
        "remarks": _remarks(service),
        "service": _facts(service),
        "proofs": _proofs(service.settings),
        "firebase": service.settings.firebase_config is not None,
    }


def _facts(service: Service) -> dict[str, Any]:
    """What the script needs to know about the function."""
    config = service.settings.firebase_config
    return {
        "path": service.path.lstrip("/"),
        "key": service.key,
        "field": service.reader.fields[0],
        "json_field": service.reader.fields[-1],
        "labels": service.pin.labels,
        "explains": service.explanation is not None,
        "max_instances": service.settings.max_instances,
        "max_body_bytes": service.settings.max_body,
        "sign_in": service.settings.sign_in and service.settings.sign_in._asdict(),
        "app_check": bool(service.settings.app_check),
        "firebase": config and firebase.facts(config),
    }


def _proofs(settings: Settings) -> list[dict[str, str]]:
    """The tokens that a caller sends: the label of each field, the header, and the token's prefix."""
    user = {"header": "Authorization", "prefix": "Bearer ", "id": "id-token"}
    app = {"header": APP_CHECK_HEADER, "prefix": "", "id": "app-token", "label": "App Check token"}
    signed_in = [{**user, "label": f"ID token of {settings.sign_in.name}"}] if settings.sign_in else []
    return signed_in + ([app] if settings.app_check else [])


def _reader(service: Service) -> str:
    kinds = {Images: "images", Texts: "texts", Rows: "rows"}
    return next(name for kind, name in kinds.items() if isinstance(service.reader, kind))


def _title(name: str) -> str:
    words = re.sub(r"[-_]+", " ", name).strip()
    return words[:1].upper() + words[1:]


@cache
def _template(folder: Path) -> Template:
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    own = folder / "page.html"
    return environment.from_string(own.read_text()) if own.is_file() else environment.get_template(own.name)


@cache
def _script(reader: str, sign_in: bool) -> Markup:
    """The modules as one classic script, which can be allowed by its hash.

    They are written as modules for the linter; in one script, their imports and exports are not needed.
    """
    names = (*SCRIPTS[reader], *(["firebase"] if sign_in else []))
    modules = "\n".join((ASSETS / f"{name}.js").read_text() for name in names)
    joined = re.sub(r"^import [^;]*;\n|^export ", "", modules, flags=re.MULTILINE)
    return Markup(f'"use strict";\n{joined}')  # noqa: S704 (our own files)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _example(folder: Path) -> dict[str, Any] | None:
    """The example that the page offers: its `input` and `label`, an image's `name` and `type`; or None."""
    try:
        example = Example.read(folder)
    except ValueError:
        return None
    if not example.input or len(example.input) > MAX_EXAMPLE:
        return None
    name = example.file.name if example.file else "example.png"
    kind, _ = mimetypes.guess_type(name, strict=False)
    return {"input": example.input, "label": example.label, "name": name, "type": kind or "image/png"}


def _columns(pin: Pin, example: dict[str, Any] | None) -> tuple[str, ...]:
    """The columns of a table; if the pin does not name them, those of the example."""
    row = example["input"] if example else None
    return pin.input.columns or (tuple(row) if isinstance(row, dict) else ())


def _figure(name: str, value: float) -> str:
    if re.search("accuracy|sensitivity|specificity|precision|recall", name) and 0 <= value <= 1:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"


def _remarks(service: Service) -> list[str]:
    """Short remarks on the model: version, date, threshold, and whether it is loaded."""
    pin = service.pin
    remarks = [f"{service.name} {pin.version}"]
    if pin.trained:
        day = date.fromisoformat(pin.trained)
        remarks.append(f"trained on {day.day} {day:%B %Y}")
    if pin.decision_threshold != 0.5:
        remarks.append(f"{pin.labels[1]} from a probability of {pin.decision_threshold:g} on")
    if "method" in pin.metrics:
        remarks.append(f"figures by {pin.metrics['method']}")
    if not service.classifier.ready:
        remarks.append("not loaded yet when this page was opened, so the first answer takes a little longer")
    return remarks
