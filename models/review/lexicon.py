"""Short texts with known sentiment: words, phrases, emoji and ratings, alone and in plain sentences.

`lexicon.tsv` lists them. Words marked VADER have the sign that VADER gives them (Hutto and Gilbert 2014, MIT
licence); the project wrote all others.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEXICON = Path(__file__).with_name("lexicon.tsv")
CLEAR = 0.93
"""The target probability of a positive review for a single word of praise."""
CHANCES = {"Positive": CLEAR, "Negative": 1 - CLEAR, "neither": 0.5, "not negative": 0.75}
RATINGS = (0.03, 0.04, 0.06, 0.12, 0.2, 0.42, 0.7, 0.86, 0.93, 0.96, 0.97)
"""The target for each rating from 0 to 10. In IMDB, up to 4 is negative, and from 7 on is positive."""

SAID = {
    "en": (
        *("{}", "very {}", "so {}", "really {}", "{} film", "{} movie", "a {} film", "a {} movie"),
        *("the film is {}", "the movie was {}", "it is {}", "it was {}", "this is {}", "{} acting"),
        *("{} story", "the acting is {}", "the story is {}", "the cast is {}"),
    ),
    "pcm": (
        *("{}", "e {}", "e {} well well", "dis film {}", "dis film {} well well", "di film {}", "e {} die"),
        *("e too {}", "{} film", "na {} film", "di story {}", "di acting {}"),
    ),
}
DENIED = {
    "en": (
        *("not {}", "it is not {}", "not {} at all", "not very {}", "the film is not {}", "isn't {}"),
        *("it isn't {}", "wasn't {}", "it was not {}", "never {}", "not a {} film", "nothing {} about it"),
        *("is not {} at all", "was not {}"),
    ),
    "pcm": ("no {}", "e no {}", "e no {} at all", "dis film no {}", "di film no {} at all", "e no dey {}"),
}
NAMING = (
    "this film {}",
    "the movie {}",
    "dis film {}",
    "wannan fim {}",
    "ihe nkiri a {}",
    "fíìmù yìí {}",
)
RATING = (
    *("{}", "i give it {}", "{} film", "{} from me", "rating : {}", "this film : {}"),
    *("i give am {}", "na ba shi {}", "enyere m ya {}", "mo fún un ní {}"),
)


@dataclass(frozen=True)
class Example:
    """A text, its language ("any" if it has none), its target probability, and its weight."""

    language: str
    text: str
    chance: float
    weight: float = 1.0


def read(path: Path = LEXICON) -> list[Example]:
    """Return all short texts of the lexicon."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    examples = [example for row in rows for example in _examples(row)]
    for tenths, chance in enumerate(RATINGS):
        examples += [Example("any", sentence.format(f"{tenths}/10"), chance) for sentence in RATING]
    return examples


def symbols(path: Path = LEXICON) -> list[str]:
    """The emoji, emoticons and ratings with a sentiment."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        listed = [row["text"] for row in rows if row["language"] == "any" and row["label"] != "neither"]
    return listed + [f"{tenths}/10" for tenths in range(11)]


def _examples(row: dict[str, str]) -> Iterator[Example]:
    language, text, chance = row["language"], row["text"], CHANCES[row["label"]]
    if row["kind"] == "adjective":
        opposite = CHANCES["Negative" if row["label"] == "Positive" else "not negative"]
        yield from (Example(language, sentence.format(text), chance) for sentence in SAID[language])
        yield from (Example(language, sentence.format(text), opposite) for sentence in DENIED[language])
        return
    yield Example(language, text, chance)
    if language == "any":
        yield Example(language, f"{text} {text}", chance)
        yield from (Example(language, sentence.format(text), chance) for sentence in NAMING)
