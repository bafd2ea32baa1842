"""From a model file to a pin: inspect the file, test it as it will be deployed, and put it into the store."""


class Refused(Exception):
    """The file is not published; the message says why, and what to do."""
