"""From a request to the image or the text it brings, within limits."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from flask import Request

from .errors import BadRequest, TooLarge, UnsupportedType, Unusable

MAX_CHARACTERS = 100_000


def image(request: Request, fields: Sequence[str]) -> bytes:
    """The encoded image of a multipart form (under the first of `fields` there is) or a raw image/* body.

    Raises:
        BadRequest: no file under any of `fields`, or several.
        UnsupportedType: another content type.
        Unusable: the file is empty.
    """
    if request.mimetype == "multipart/form-data":
        files = [file for field in fields for file in request.files.getlist(field)]
        if not files:
            sent = ", ".join([*request.files, *request.form]) or "none"
            raise BadRequest(
                f"expected an image file in the form field {_either(fields)}; fields sent: {sent}"
            )
        if len(files) > 1:
            raise BadRequest(f"expected one image; {len(files)} were sent")
        data: bytes = files[0].read()
    elif request.mimetype.startswith("image/"):
        data = request.get_data()
    else:
        raise UnsupportedType(
            f"expected multipart/form-data with the file field {_either(fields)}, or an image/* body; "
            f"got {request.mimetype or 'no Content-Type'}"
        )
    if not data:
        raise Unusable("expected an image; the file is empty")
    return data


def text(request: Request, fields: Sequence[str]) -> str:
    """The text of a form (under the first of `fields` there is) or a raw text/plain body, in UTF-8.

    Raises:
        BadRequest: no text under any of `fields`, or it is not UTF-8.
        UnsupportedType: another content type.
        TooLarge: more than `MAX_CHARACTERS`.
        Unusable: nothing but white space.
    """
    if request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded"):
        found = _field(request, fields)
    elif request.mimetype == "text/plain":
        found = _utf8(request.get_data())
    else:
        raise UnsupportedType(
            f"expected a form with the field {_either(fields)}, or a text/plain body; "
            f"got {request.mimetype or 'no Content-Type'}"
        )
    if len(found) > MAX_CHARACTERS:
        raise TooLarge(f"expected at most {MAX_CHARACTERS:,} characters; this text has {len(found):,}")
    if not found.strip():
        raise Unusable("expected a review; the text is blank")
    return found


def _field(request: Request, fields: Sequence[str]) -> str:
    form = _form(request)
    for field in fields:
        if field in request.files:
            return _utf8(request.files[field].read())
        if field in form:
            return form[field]
    sent = ", ".join([*form, *request.files]) or "none"
    raise BadRequest(f"expected a review in the form field {_either(fields)}; fields sent: {sent}")


def _form(request: Request) -> dict[str, str]:
    """The fields of a form, of which Werkzeug would alter those that are not UTF-8; here they are refused."""
    body = request.get_data()
    refusal = BadRequest("expected UTF-8 text in the form")
    if request.mimetype == "application/x-www-form-urlencoded":
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
        except UnicodeDecodeError:
            raise refusal from None
    form = request.form.to_dict()
    replaced = "\ufffd"
    if any(replaced in value for value in form.values()) and replaced.encode() not in body:
        raise refusal
    return form


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"expected UTF-8 text; byte {error.start} is not UTF-8") from None


def _either(fields: Sequence[str]) -> str:
    return " or ".join(repr(field) for field in fields)
