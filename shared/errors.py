"""What can go wrong, each with the HTTP status and the stable code the caller sees.

The message of a 4xx is written for the caller: what was expected, and what came. The message of a
5xx is for the log alone; the caller gets `public`, which says nothing of the inside.
"""

import math
from collections.abc import Mapping


class ServiceError(Exception):
    """Something this service refuses or cannot do. `str(error)` is the full story."""

    status = 500
    code = "internal"
    title = "Internal error"
    public = "Something went wrong on our side; it has been logged."

    def __init__(self, detail: str) -> None:
        super().__init__(detail)

    @property
    def detail(self) -> str:
        """What the caller is told."""
        return str(self) if self.status < 500 else self.public

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers that belong to this error."""
        return {}


class Unexpected(ServiceError):
    """A defect of ours or of the model; `trace` is where it happened, for the log."""

    def __init__(self, detail: str, trace: str = "") -> None:
        super().__init__(detail)
        self.trace = trace


class BadRequest(ServiceError):
    """The request is not in a form we read: a field is missing, the text is not UTF-8."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class Unauthenticated(ServiceError):
    """The caller has sent no token."""

    status = 401
    code = "unauthenticated"
    title = "Sign in"

    @property
    def headers(self) -> Mapping[str, str]:
        # RFC 6750, 3.1: to a request without a token, the answer names no error.
        return {"WWW-Authenticate": "Bearer"}


class InvalidToken(Unauthenticated):
    """The caller's token is not good."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Forbidden(ServiceError):
    """The caller has signed in, but is not one of those allowed."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(ServiceError):
    """No such path."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(ServiceError):
    """The path exists, but not for this method; `allow` lists those it exists for."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Allow": self.allow}


class SlowRequest(ServiceError):
    """The body did not arrive in time."""

    status = 408
    code = "slow_request"
    title = "Request timeout"


class TooLarge(ServiceError):
    """The body, the image or the text is over its limit."""

    status = 413
    code = "too_large"
    title = "Content too large"


class LineTooLong(ServiceError):
    """The request line, most of which is the URL, is over the server's limit."""

    status = 414
    code = "line_too_long"
    title = "URI too long"


class HeadersTooLarge(ServiceError):
    """A header, or all of them together, are over the server's limit."""

    status = 431
    code = "headers_too_large"
    title = "Request header fields too large"


class TooMuchWork(TooLarge):
    """Small as bytes, but more work or memory to decode than one request may cost."""

    code = "too_much_work"
    title = "Too much work"


class UnsupportedType(ServiceError):
    """The content is of a type we do not read."""

    status = 415
    code = "unsupported_type"
    title = "Unsupported media type"


class ClientLeft(ServiceError):
    """The client closed its connection before the work had begun; the status is nginx's, for the log."""

    status = 499
    code = "client_left"
    title = "Client closed request"


class Unusable(ServiceError):
    """The request is well formed, but its image or text cannot be classified."""

    status = 422
    code = "unusable_input"
    title = "Unusable input"


class UniformImage(Unusable):
    """The image is one colour all over: there is nothing in it to classify."""

    code = "uniform_image"
    title = "Uniform image"


class RetryLater(ServiceError):
    """The same may succeed later; `retry_after` is how many seconds the caller is asked to wait."""

    def __init__(self, detail: str, retry_after: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class TooManyRequests(RetryLater):
    """The caller calls more often than is allowed."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"


class SignInUnavailable(RetryLater):
    """The identity provider's keys cannot be had, so that nobody can be let in."""

    status = 503
    code = "sign_in_unavailable"
    title = "Sign-in unavailable"
    public = "Who signs in cannot be checked at the moment; try again shortly."


class ModelUnavailable(RetryLater):
    """The model cannot be had: not found, not the pinned bytes, or not loadable."""

    status = 503
    code = "model_unavailable"
    title = "Model unavailable"
    public = "The model is not available at the moment; try again shortly."


class NotReady(ModelUnavailable):
    """The attempt that another request made has failed; this request made none of its own."""


class Overloaded(ServiceError):
    """The bodies that are being read would take more memory than this process has for them."""

    status = 503
    code = "overloaded"
    title = "Overloaded"
    public = "Too many uploads at once; try again shortly."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class TimedOut(ServiceError):
    """The request was not answered within its time, or before this process had to end."""

    status = 503
    code = "timed_out"
    title = "Timed out"
    public = "The answer took too long; try again shortly."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}
