"""Ratings in a review, such as `8/10`, `3 out of 5` or four stars: each becomes one token on a scale of ten.

So a rating means the same however it is written, and the model learns eleven tokens instead of a thousand.
"""

import re

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_VALUES = {name: float(value) for value, name in enumerate(_NAMES)}
_FULL, _EMPTY = "[\u2605\u2b50\U0001f31f]", "[\u2606\u2729]"
# After the first character, since few characters are fast to search for. A date is no rating: `2020 / 5 / 5`.
_ALONE = r"(?<![\w.,/\u2044].)(?<!\d / .)(?<!\d/ .)(?<!\bon .)"
# In English and Pidgin, Hausa, Igbo, Yoruba.
_OF = r"\s?(?:/|\bout of\b|\b(?:a )?cikin\b|\bn'ime\b|\bn\u00edn\u00fa\b|\bninu\b)\s?"
_TOTAL = rf"{_OF}(?P<total>10|100|5|ten|five)(?![\w/]|[.,-]\d|\s/\s?\d)(?:[ -]?stars?\b)?"

_DIGITS = re.compile(rf"(?P<value>[0-9]{_ALONE}[0-9]{{0,2}}(?:[.,][0-9])?)(?:{_TOTAL}|[ -]?stars?\b)")
_STARS = re.compile(
    rf"{_FULL}(?:\s?{_FULL}){{1,9}}(?:\s?{_EMPTY}){{0,9}}|{_FULL}(?:\s?{_EMPTY}){{1,9}}"
)  # but not a single star
_WORDS = re.compile(
    rf"\b(?P<value>{'|'.join(_NAMES)}){_TOTAL}|\b(?P<starred>zero|one|four|five)[ -]stars?\b"
)  # but not "two stars", who may be actors

_SIGNS = {
    _DIGITS: ("/", "out of", "star", "cikin", "n'ime", "n\u00edn\u00fa", "ninu"),
    _STARS: ("\u2605", "\u2b50", "\U0001f31f"),
    _WORDS: (
        *("out of 10", "out of 5", "out of ten", "out of five"),
        *(f"{name}{gap}star" for name in ("zero", "one", "four", "five") for gap in " -"),
    ),
}
"""For each pattern, signs that every text with a match contains; they are much faster to search for."""

SLASH = "\u2044"
TENTHS = rf"(?:10|\d){SLASH}10(?!\w)"
"""A pattern for the token of a rating, with a fraction slash: `8\u204410`."""


def patterns(text: str) -> list[re.Pattern[str]]:
    """The patterns that may match a lower-case text; for most texts, none."""
    return [pattern for pattern, signs in _SIGNS.items() if any(sign in text for sign in signs)]


def in_tenths(rating: re.Match[str]) -> str:
    """The token for a match, with spaces around it; what is not a rating, such as `24/10`, is unchanged."""
    groups = rating.groupdict()
    if not groups:
        full, empty = (len(re.findall(kind, rating[0])) for kind in (_FULL, _EMPTY))
        value, total = float(full), float(full + empty if empty else max(5, full))
    else:
        value = _number(groups["value"] or groups["starred"])
        total = _number(groups["total"]) if groups["total"] else (5.0 if value <= 5 else 10.0)
    if value > 1.2 * total:
        return rating[0]
    return f" {min(int(10 * value / total + 0.5), 10)}{SLASH}10 "


def _number(number: str) -> float:
    return _VALUES[number] if number in _VALUES else float(number.replace(",", "."))
