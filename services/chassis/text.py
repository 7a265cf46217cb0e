"""Text of any script on one line: cleaned, cut between characters as readers see them, and split into words.

Python's `isprintable` refuses the ideographic space and the joiners that Persian, Hindi and emoji are written with, and
regular expressions tear Hindi and Thai words at their vowel signs, so both are unfit for what people write.
"""

import unicodedata
from collections.abc import Iterator

# Characters that turn the direction of what follows (Unicode's Bidi_Control): they can make one name look like another.
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
JOINERS = frozenset("\u200c\u200d")  # ZWNJ and ZWJ, inside words and emoji
VIRAMA = 9  # the combining class of signs that bind the next consonant
TONES = range(0x1F3FB, 0x1F400)  # of skin, behind an emoji
REFUSED_CATEGORIES = ("Cc", "Cs")  # controls, and halves of a character, which no wire carries


def one_line(text: str) -> str:
    """A text without controls, halves of characters and bidi controls; every run of white space is one space."""
    return " ".join("".join(filter(_kept, text)).split())


def cut(text: str, length: int) -> str:
    """At most so many characters from the beginning, ending where a character that readers see ends."""
    if len(text) <= length:
        return text
    end = next((end for end in range(length, 0, -1) if not _bound(text[end - 1], text[end])), length)
    return text[:end].rstrip()


def words(text: str, inside: str = "") -> Iterator[str]:
    """The runs of letters, digits and their marks; the characters in `inside` and joiners count between two of them."""
    run = ""
    for character in f"{text} ":
        if _begins(character) or (run and (_marks(character) or character in inside or character in JOINERS)):
            run += character
        elif run:
            yield run.rstrip(inside + "".join(JOINERS))
            run = ""


def _kept(character: str) -> bool:
    refused = unicodedata.category(character) in REFUSED_CATEGORIES or character in BIDI_CONTROLS
    return character.isspace() or not refused


def _begins(character: str) -> bool:
    """Whether a word may begin so; a mark alone, as behind an emoji, is no word."""
    return unicodedata.category(character)[0] in "LN"


def _marks(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _bound(before: str, after: str) -> bool:
    """Whether two neighbours are parts of one character as readers see it."""
    mark = unicodedata.category(after)[0] == "M" or after in JOINERS or ord(after) in TONES
    return mark or before in JOINERS or unicodedata.combining(before) == VIRAMA
