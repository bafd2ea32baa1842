"""What stops a job before it has begun."""


class JobError(Exception):
    """The job cannot be run; one line that says what was expected and what to do."""


def cause(error: BaseException) -> str:
    """One line of what Beam or a client says."""
    details = getattr(error, "exception_details", None)  # of Beam: a cause for each pattern
    if isinstance(details, dict) and details:
        error = next(iter(details.values())) or error
    return " ".join(str(error).split())[:500] or type(error).__name__
