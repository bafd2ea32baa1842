"""Generated texts with difficult parts: character references, tags, combining marks, lone surrogates."""

from hypothesis import settings
from hypothesis import strategies as st

FUZZED = settings(max_examples=300, deadline=None, derandomize=True, database=None)

LONG = st.sampled_from([(0, 4400, 65), (1, 4301, 1), (9, 4400, 9)])
DIGITS = st.integers(1, 12).map(lambda count: "9" * count) | LONG.map(
    lambda number: str(number[0]) * number[1] + str(number[2])
)
ENTITIES = st.one_of(
    DIGITS.map("&#{}".format),
    DIGITS.map("&#{};".format),
    DIGITS.map("&#x{};".format),
    st.sampled_from(
        ["&amp;", "&amp", "&notit;", "&;", "&#;", "&#x;", "&CounterClockwiseContourIntegral;", "&#128;"]
    ),
)
SCRAPS = st.sampled_from(
    [
        "<br />",
        "<",
        "<a href='&#39;'>",
        "o\u0323\u0301",
        "\u0958",
        "\u0130",
        "\ud800",
        "\0",
        "\u200b",
        "\U0001f3ac",
        ":-)",
        "''",
    ]
)
TEXTS = st.lists(ENTITIES | SCRAPS | st.text(max_size=8), max_size=8).map("".join)
