"""Makes titles and slugs: a slug is a part of a path in any script, never empty and never another's."""

import unicodedata

from services.chassis.text import cut, one_line, words

TITLE_LENGTH = 50  # of a title that is the beginning of a prompt (docs/rest.md#artwork-orders)
SLUG_LENGTH = 60  # of the readable part
TAIL_LENGTH = 10  # of the artwork's id, fifty random bits: two artworks of one title differ
UNTITLED = "Untitled"


def title_of(title: str, prompt: str) -> str:
    """The title, on one line; else the beginning of the prompt; else a word for having none."""
    given = one_line(title) or cut(one_line(prompt), TITLE_LENGTH)
    return given or UNTITLED


def slug_of(title: str, artwork_id: str) -> str:
    """Letters and digits of any script, hyphens between, and the end of the id; the id alone for a title of signs."""
    plain = cut("-".join(words(unicodedata.normalize("NFKC", title).lower())), SLUG_LENGTH).strip("-")
    return f"{plain}-{artwork_id[-TAIL_LENGTH:]}" if plain else artwork_id
