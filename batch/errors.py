"""What stops a job before it has begun."""


class JobError(Exception):
    """The job cannot be run; one line that says what was expected and what to do."""
