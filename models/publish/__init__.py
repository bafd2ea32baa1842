"""From a model file to a pin: what the file says, how it does when it runs as deployed, where it is put."""


class Refused(Exception):
    """The file is not published; the message says why, and what to give or to do."""
