"""All errors, each with its HTTP status and the stable code that the caller sees.

The message of a 4xx is written for the caller: what was expected, and what came. The message of a 5xx goes
to the log only; the caller gets `public`, which reveals nothing internal.
"""

import math
from collections.abc import Mapping


class ServiceError(Exception):
    """Something that this service refuses or cannot do. `str(error)` is the full message."""

    status = 500
    code = "internal"
    title = "Internal error"
    public = "Something went wrong on our side; it has been logged."

    def __init__(self, detail: str) -> None:
        super().__init__(detail)

    @property
    def detail(self) -> str:
        """The message for the caller."""
        return str(self) if self.status < 500 else self.public

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers that belong to this error."""
        return {}


class Unexpected(ServiceError):
    """A defect in this code or in the model; `trace` is the traceback for the log."""

    def __init__(self, detail: str, trace: str = "") -> None:
        super().__init__(detail)
        self.trace = trace


class BadRequest(ServiceError):
    """The request cannot be parsed: a field is missing, the text is not UTF-8."""

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
    """The caller has signed in, but is not allowed to call."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(ServiceError):
    """No such path."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(ServiceError):
    """The path exists, but not for this method; `allow` lists its methods."""

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
    """A header, or all headers together, exceed the server's limit."""

    status = 431
    code = "headers_too_large"
    title = "Request header fields too large"


class TooMuchWork(TooLarge):
    """Small in bytes, but decoding it would take more work or memory than one request may use."""

    code = "too_much_work"
    title = "Too much work"


class TooMuchTogether(TooMuchWork):
    """By itself this input would do; with those before it in the request it is too much work."""


class UnsupportedType(ServiceError):
    """The content has a type that is not supported."""

    status = 415
    code = "unsupported_type"
    title = "Unsupported media type"


class ClientLeft(ServiceError):
    """The client closed the connection before the work began; the status is nginx's, for the log."""

    status = 499
    code = "client_left"
    title = "Client closed request"


class Unusable(ServiceError):
    """The request is well formed, but its image or text cannot be classified."""

    status = 422
    code = "unusable_input"
    title = "Unusable input"


class ObjectUnreadable(Unusable):
    """The object of a signed URL cannot be read."""

    code = "object_unreadable"
    title = "Object unreadable"


class UniformImage(Unusable):
    """All pixels of the image have the same colour, so there is nothing to classify."""

    code = "uniform_image"
    title = "Uniform image"


class RetryLater(ServiceError):
    """The same request may succeed later; `retry_after` is how many seconds the caller should wait."""

    def __init__(self, detail: str, retry_after: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class TooManyRequests(RetryLater):
    """The caller exceeds the rate limit."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"


class SignInUnavailable(RetryLater):
    """The identity provider's keys cannot be fetched, so that no token can be verified."""

    status = 503
    code = "sign_in_unavailable"
    title = "Sign-in unavailable"
    public = "Sign-in cannot be checked at the moment; try again shortly."


class ModelUnavailable(RetryLater):
    """The model is not available: not found, not the pinned bytes, or not loadable."""

    status = 503
    code = "model_unavailable"
    title = "Model unavailable"
    public = "The model is not available at the moment; try again shortly."


class NotReady(ModelUnavailable):
    """Another request's attempt to load the model failed; this request did not try."""


class Overloaded(ServiceError):
    """Load shedding: the request bodies being read would exceed the memory reserved for them."""

    status = 503
    code = "overloaded"
    title = "Overloaded"
    public = "Too many uploads at once; try again shortly."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class TimedOut(ServiceError):
    """The deadline passed before the answer was ready, or the process had to end."""

    status = 503
    code = "timed_out"
    title = "Timed out"
    public = "The answer took too long; try again shortly."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}
