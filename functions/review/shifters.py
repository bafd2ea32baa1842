"""Words that turn or weaken the opinion of others in a short text: negation and contrast.

The model is a sum over n-grams, and a sum does not know that "boring" praises in "never boring". So in a
short text each word has a factor: VADER's rules (Hutto and Gilbert 2014), in five languages.
"""

from collections.abc import Sequence

NEGATED = -0.7
"""The factor of a word after a negation; VADER's is -0.74."""
CONCEDED = 0.2
"""The factor of a word before "but", or after "although"; VADER's is 0.5."""
STRESSED = 1.5
"""The factor of the other words of such a text, as in VADER."""
SCOPE = 4
"""How many words a negation turns, at most."""

_ENGLISH = frozenset(
    (
        *("not", "no", "never", "neva", "nor", "nothing", "nobody", "none", "neither", "hardly", "barely"),
        *("scarcely", "without", "cannot", "lack", "lacks", "lacked", "lacking", "fail", "fails", "failed"),
        *("isnt", "wasnt", "arent", "werent", "dont", "doesnt", "didnt", "cant", "couldnt", "wont"),
        *("wouldnt", "shouldnt", "hasnt", "havent", "hadnt", "aint"),
    )
)
_HAUSA = frozenset(
    (
        *("ba", "ban", "bai", "bata", "baya", "bana", "babu", "bamu", "basu", "mara", "marar", "maras"),
        *("marasa", "rashin", "kar", "kada"),
    )
)
_YORUBA = frozenset(("ko", "kii", "\xf2", "lai", "laisi"))
_NEGATIONS = {"en": _ENGLISH, "pcm": _ENGLISH, "ha": _HAUSA, "ig": frozenset[str](), "yo": _YORUBA}
_PAIRS = {("far", "from"), ("anything", "but"), ("mi", "o"), ("ki", "i")}
"""Pairs of words that negate; the last two are in Yoruba."""
_NOT_TURNED = frozenset(
    (
        *("only", "just", "merely", "simply", "doubt", "question", "wonder", "lie", "lies", "cap", "joke"),
        *("miss", "beat", "beats", "mention", "believe", "wait", "stop", "fail", "fails", "failed", "seen"),
    )
)
"""Words after which a negation negates nothing: "no doubt", "can't wait", "never fails to amuse"."""
_BESIDES = frozenset(("a", "an", "any", "to", "of", "you", "i", "we", "have", "be"))
"""Words between a negation and one of those."""
_COMPARISONS = frozenset(("better", "more", "kamar", "haka", "ju", "otu"))
"""Words that make praise of a negation, but of "not": "I never enjoyed a film more"."""
_NOT = frozenset(
    ("not", *("isnt", "isn't", "wasnt", "wasn't", "arent", "aren't", "doesnt", "doesn't", "didnt", "didn't"))
)
_BUT = frozenset(("but", "however", "amma", "saidai", "mana", "sugbon", "amo"))
_ALTHOUGH = frozenset(("although", "though", "despite", "n'agbanyeghi"))
_ENDS = _BUT | _ALTHOUGH | frozenset((*",.;:!?()-", "and", "because"))
"""Where the scope of a negation ends."""
_POINTS = frozenset(("this", "that", "these", "such", "so", "how"))
"""Where it ends, too, unless they follow at once: "don't watch this bad film", but "not so good"."""
_GIVES = frozenset(("ya", "ta", "na", "sun", "mun", "mai", "masu", "yana", "tana", "suna", "abin", "abun"))
"""Words before the Hausa "ba" and "ban" that mean to give."""


def factors(tokens: Sequence[str], bare: Sequence[str], language: str) -> list[float] | None:
    """The factor of each token of a text in this language, or None if each is 1.

    `bare` has the tokens without marks.
    """
    found = [1.0] * len(bare)
    left, closes, excused = 0, False, -1
    for place, (token, word) in enumerate(zip(tokens, bare, strict=True)):
        if closes and word == "ba":  # Hausa's `ba ... ba`: the second one ends the scope
            left, closes = 0, False
        elif _negates(place, token, bare, language):
            if place == excused:  # "never fails"
                found[place] = NEGATED
                continue
            excused = _excused(place, bare)
            left = 0 if excused > 0 else SCOPE
            closes = language == "ha" and word.startswith("ba")
        elif word in _ENDS or (word in _POINTS and left < SCOPE):
            left = 0
        elif left:
            found[place] = NEGATED
            left -= 1
    conceded = {place for start, end in _conceded(bare) for place in range(start, end)}
    if conceded:
        found = [factor * (CONCEDED if place in conceded else STRESSED) for place, factor in enumerate(found)]
    return None if found == [1.0] * len(found) else found


def _negates(place: int, token: str, bare: Sequence[str], language: str) -> bool:
    word, before = bare[place], bare[place - 1] if place else ""
    if (before, word) in _PAIRS:
        return True
    if language == "ha" and word in ("ba", "ban") and before in _GIVES:
        return False
    if word == "ko" and token not in ("ko", "k\xf2"):  # with other marks it is to write, or to teach
        return False
    negations = _NEGATIONS.get(language, _ENGLISH)
    if word in negations or token in negations or word.endswith("n't"):
        return True
    return language == "ig" and word.endswith("ghi") and len(word) > 4 and word not in _ALTHOUGH


def _excused(place: int, bare: Sequence[str]) -> int:
    """The place of a word that keeps the negation at `place` from turning anything; 0 if there is none."""
    after = list(range(place + 1, min(place + 1 + 2 * SCOPE, len(bare))))
    while after and bare[after[0]] in _BESIDES:
        after.pop(0)
    if after and bare[after[0]] in _NOT_TURNED:
        return after[0]
    if bare[place] in _NOT:
        return 0
    return next((one for one in after if bare[one] in _COMPARISONS), 0)


def _conceded(bare: Sequence[str]) -> list[tuple[int, int]]:
    """The spans of tokens that a "but" or an "although" sets aside."""
    last = len(bare) - 1
    turns = [place for place, word in enumerate(bare) if word in _BUT and 0 < place < last]
    turns = [place for place in turns if (bare[place - 1], bare[place]) not in _PAIRS]
    spans = [(0, turns[-1])] if turns else []
    for place, word in enumerate(bare):
        if word in _ALTHOUGH or (word == "duk" and bare[place + 1 : place + 2] == ["da"]):
            comma = next((one for one in range(place, last) if bare[one] == ","), last + 1)
            if place or comma < last:
                spans.append((place, comma))
    return spans
