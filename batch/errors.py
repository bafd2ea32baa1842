"""The error that stops a job, and its message."""


class JobError(Exception):
    """The job cannot run. The message is one line that says what was expected and what to do."""


def cause(error: BaseException) -> str:
    """Return the message of an error of Beam or of a client library, as one line."""
    details = getattr(error, "exception_details", None)  # Beam has one cause for each pattern
    if isinstance(details, dict) and details:
        error = next(iter(details.values())) or error
    return " ".join(str(error).split())[:500] or type(error).__name__
