"""Readers: from one HTTP request to the images, texts or rows it brings, within limits.

A reader is liberal with how clients wrap an input, and strict with what the input is.
"""

from .images import Images
from .reader import ParsedRequest, Reader
from .rows import Rows
from .texts import MAX_CHARACTERS, Texts

__all__ = ["MAX_CHARACTERS", "Images", "ParsedRequest", "Reader", "Rows", "Texts"]
