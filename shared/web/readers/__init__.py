"""Readers: from one HTTP request to its images, texts or rows, within limits.

A reader accepts the many ways in which clients wrap an input, but is strict about the input itself.
"""

from .images import Images
from .reader import ParsedRequest, Reader
from .rows import Rows
from .texts import MAX_CHARACTERS, Texts

__all__ = ["MAX_CHARACTERS", "Images", "ParsedRequest", "Reader", "Rows", "Texts"]
