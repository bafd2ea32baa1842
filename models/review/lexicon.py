"""Short texts with known sentiment: words, phrases, emoji and ratings, alone and in plain sentences.

`lexicon.tsv` lists them. Words marked VADER have the sign that VADER gives them (Hutto and Gilbert 2014, MIT
licence); the project wrote all others.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from functions.review.ngrams import code_points, with_unmarked

LEXICON = Path(__file__).with_name("lexicon.tsv")
CLEAR = 0.93
"""The target probability of a positive review for a single word of praise."""
NEUTRAL = 0.5
CHANCES = {"Positive": CLEAR, "Negative": 1 - CLEAR, "neither": NEUTRAL, "not negative": 0.75}
RATINGS = (0.03, 0.04, 0.06, 0.12, 0.2, 0.42, 0.7, 0.86, 0.93, 0.96, 0.97)
"""The target for each rating from 0 to 10. In IMDB, up to 4 is negative, and from 7 on is positive."""

SAID = {
    "en adjective": (
        *("{}", "very {}", "so {}", "really {}", "{} film", "{} movie", "a {} film", "a {} movie"),
        *("the film is {}", "the movie was {}", "it is {}", "it was {}", "this is {}", "{} acting"),
        *("{} story", "the acting is {}", "the story is {}", "the cast is {}"),
    ),
    "en feeling": ("i {}", "i really {}", "we {}", "people {}"),
    "en effect": ("it will {}", "it does {}", "this film will {}"),
    "en quality": ("full of {}", "lots of {}", "so much {}"),
    "pcm adjective": (
        *("{}", "e {}", "e {} well well", "dis film {}", "dis film {} well well", "di film {}", "e {} die"),
        *("e too {}", "{} film", "na {} film", "di story {}", "di acting {}"),
    ),
    "pcm feeling": ("i {}", "we {}", "i {} well well"),
    "pcm effect": ("e {}", "di film {}", "e go {}", "e dey {}", "di story {}"),
    "ha quality": (
        *("mai {}", "da {}", "yana da {}", "fim mai {}", "labari mai {}", "fim ɗin yana da {}"),
        *("mai {} sosai", "akwai {}", "labarin yana da {}"),
    ),
    "ha effect": ("ya {}", "fim ɗin ya {}", "labarin ya {}", "ya {} sosai", "sun {}"),
    "ha feeling": ("na {}", "na {} sosai", "mun {}"),
    "ig quality": ("nwere {}", "o nwere {}", "akụkọ ya nwere {}", "ihe nkiri a nwere {}"),
    "ig predicate": (
        *("{}", "ihe nkiri a {}", "ihe nkiri ahụ {}", "akụkọ ya {}", "akụkọ ahụ {}"),
        "egwu ya {}",
    ),
    "ig pronoun": ("ọ {}", "{}"),
    "yo effect": (
        *("ó {}", "{}", "fíìmù náà {}", "fíìmù yìí {}", "ìtàn náà {}"),
        *("ó {} gan-an", "ó {} púpọ̀", "eré náà {}"),
    ),
    "yo feeling": ("mo {}", "mo {} gan-an", "a {}"),
}
"""Sentences with a word or phrase of a language and kind; below, their negations."""
DENIED = {
    "en adjective": (
        *("not {}", "it is not {}", "not {} at all", "not very {}", "the film is not {}", "isn't {}"),
        *("it isn't {}", "wasn't {}", "it was not {}", "never {}", "not a {} film", "nothing {} about it"),
        *("is not {} at all", "was not {}", "it is never {}", "was never {}", "hardly {}", "barely {}"),
        *("not at all {}", "far from {}", "not that {}", "not so {}", "not really {}", "not even {}"),
        *("the acting was not {}", "the story is not {}", "wasn't {} at all", "isn't a {} movie"),
        *(
            "no {} scenes",
            "no {} acting",
            "i don't think it is {}",
            "i did not find it {}",
            "without {} scenes",
        ),
        *("neither {} nor new", "anything but {}", "not {} enough", "there is nothing {} here"),
    ),
    "en feeling": (
        *("i did not {}", "i didn't {}", "i do not {}", "i don't {}", "didn't {}", "i could not {}"),
        *("can't {}", "cannot {}", "i would not {}", "you won't {}", "you will not {}", "nobody will {}"),
        *("i never {}", "never {}", "i didn't really {}"),
    ),
    "en effect": (
        *("does not {}", "doesn't {}", "did not {}", "didn't {}", "it did not {}", "it doesn't {}"),
        *("will not {}", "won't {}", "fails to {}", "failed to {}", "it didn't {}", "never {}"),
    ),
    "en quality": (
        *("no {}", "lacks {}", "it lacks {}", "lack of {}", "without {}", "without any {}", "lacking {}"),
        *("there is no {}", "it has no {}", "not enough {}", "zero {}", "hardly any {}", "the film lacks {}"),
    ),
    "pcm adjective": (
        *("no {}", "e no {}", "e no {} at all", "dis film no {}", "di film no {} at all", "e no dey {}"),
        *("e no be {} film", "no be {} film", "di story no {}", "di acting no {}", "nothing {} dey"),
        *("e no {} reach", "e no too {}", "no {} acting dey"),
    ),
    "pcm feeling": ("i no {}", "i no {} at all", "me i no {}", "i no dey {}", "you no go {}", "nobody go {}"),
    "pcm effect": (
        "e no {}",
        "di film no {}",
        "e no {} at all",
        "e no dey {}",
        "e no go {}",
        "di story no {}",
    ),
    "ha quality": (
        *("mara {}", "marar {}", "maras {}", "babu {}", "ba {}", "ba shi da {}", "ba ya da {}", "bai da {}"),
        *("ba mai {} ba", "ba mai {} ba ne", "fim mara {}", "labari marar {}", "fim ɗin ba shi da {}"),
        *("labarin ba shi da {}", "rashin {}", "babu {} a ciki", "ba shi da {} sosai", "fim maras {}"),
    ),
    "ha effect": (
        *("bai {} ba", "fim ɗin bai {} ba", "labarin bai {} ba", "bai {} ba ko kaɗan", "ba ya {}"),
        *("ba su {} ba", "bai {} sosai ba", "ba zai {} ba", "bai taɓa {} ba"),
    ),
    "ha feeling": ("ban {} ba", "ban {} ba ko kaɗan", "ban {} sosai ba", "ba mu {} ba", "ba za ka {} ba"),
    "ig quality": (
        *("enweghị {}", "o nweghị {}", "akụkọ ya enweghị {}", "ihe nkiri a enweghị {}"),
        *("o nweghị {} ọ bụla", "enweghị {} ma ọlị", "enweghị {} dị na ya"),
    ),
    "yo effect": (
        *("kò {}", "kò {} rárá", "fíìmù náà kò {}", "fíìmù yìí kò {}"),
        *("ìtàn náà kò {}", "kì í {}", "kò {} tó", "eré náà ò {}", "kò {} dáadaa"),
    ),
    "yo feeling": ("mi ò {}", "n kò {}", "mi ò {} rárá", "mi kò {}", "a kò {}", "mi ò ní {}"),
}
CONTRASTED = {
    "en": ("{} but {}", "{} , but {}", "{} yet {}", "{} , however {}", "although {} , {}", "despite {} , {}"),
    "pcm": ("{} but {}", "{} , but {}"),
    "ha": ("{} amma {}", "{} , amma {}", "duk da {} , {}"),
    "ig": ("{} mana {}", "{} , mana {}"),
    "yo": ("{} ṣùgbọ́n {}", "{} , ṣùgbọ́n {}", "{} àmọ́ {}"),
}
"""The second part decides."""
CONTRASTS = 1500
"""How many sentences with a contrast, for each language."""
CLAUSE = 4
"""How many words each part of them has, at most."""
TEMPLATE = 0.5
"""The weight of a sentence with a word of the lexicon; that of a whole text of the lexicon is 1."""
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
    """Return all short texts of the lexicon, and those with marks also without them."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    examples = [example for row in rows for example in _examples(row)]
    for language in CONTRASTED:
        examples += _contrasts([one for one in examples if one.language == language], language)
    for tenths, chance in enumerate(RATINGS):
        examples += [Example("any", sentence.format(f"{tenths}/10"), chance) for sentence in RATING]
    bare = (replace(one, text=unmarked(one.text)) for one in examples)
    return examples + [one for one, marked in zip(bare, examples, strict=True) if one.text != marked.text]


def unmarked(text: str) -> str:
    """The tokens of a text without tone marks, underdots and hooks."""
    codes = code_points(text)
    line = with_unmarked(codes)
    bare = line[codes.size - 1 :] if line.size > codes.size else line
    return bare.tobytes().decode("utf-32-le")[1:-1] if line.size > codes.size else text


def symbols(path: Path = LEXICON) -> list[str]:
    """The emoji, emoticons and ratings with a sentiment."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        listed = [row["text"] for row in rows if row["language"] == "any" and row["label"] != "neither"]
    return listed + [f"{tenths}/10" for tenths in range(11)]


def _examples(row: dict[str, str]) -> Iterator[Example]:
    language, text, chance = row["language"], row["text"], CHANCES[row["label"]]
    kind = f"{language} {row['kind']}"
    opposite = CHANCES["Negative" if row["label"] == "Positive" else "not negative"]
    if row["kind"] == "text":
        yield Example(language, text, chance)
    for sentence in SAID.get(kind, ()):
        yield Example(language, sentence.format(text), chance, TEMPLATE)
    for sentence in DENIED.get(kind, ()):
        yield Example(language, sentence.format(text), opposite, TEMPLATE)
    if language == "any":
        yield Example(language, f"{text} {text}", chance)
        yield from (Example(language, sentence.format(text), chance) for sentence in NAMING)


def _contrasts(examples: Sequence[Example], language: str) -> Iterator[Example]:
    """Sentences of one language with a clause of blame and one of praise, in either order."""
    random = Random(0)  # noqa: S311 - not for cryptography
    clauses = [one for one in examples if len(one.text.split()) <= CLAUSE]
    praise = [one for one in clauses if one.chance == CLEAR]
    blame = [one for one in clauses if one.chance == 1 - CLEAR]
    for _ in range(CONTRASTS if praise and blame else 0):
        first, second = random.sample([random.choice(praise), random.choice(blame)], 2)
        sentence = random.choice(CONTRASTED[language])
        yield Example(language, sentence.format(first.text, second.text), second.chance, TEMPLATE)
