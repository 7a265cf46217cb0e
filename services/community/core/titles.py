"""Titles and slugs: a slug is a path segment in any script, never empty and always unique."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

from services.chassis.text import cut, one_line, words
from services.community.model import Artwork

TITLE_LENGTH = 50  # of a title that is the beginning of a prompt (docs/rest.md#artwork-orders)
SLUG_LENGTH = 60  # of the readable part
TAIL_LENGTH = 10  # of the artwork's id, fifty random bits: two artworks of one title differ
UNTITLED = "Untitled"


def title_of(title: str, prompt: str) -> str:
    """The title on one line; else the beginning of the prompt; else UNTITLED."""
    given = one_line(title) or cut(one_line(prompt), TITLE_LENGTH)
    return given or UNTITLED


def for_others(artwork: Artwork) -> Artwork:
    """The artwork with a title and slug that tell nothing of its prompt, unless everybody may see it.

    A title that its owner wrote stays; one that repeats the beginning of the prompt gives way to model and day.
    """
    title, prompt = one_line(artwork.title), one_line(artwork.prompt)
    if artwork.listed or not prompt.startswith(title):
        return artwork
    day = datetime.fromtimestamp(artwork.create_ms / 1000, UTC).date().isoformat()
    return replace(artwork, title=f"{artwork.model or UNTITLED} · {day}", slug=artwork.id)


def slug_of(title: str, artwork_id: str) -> str:
    """Letters and digits of any script with hyphens, and the end of the id; the id alone for a title of symbols."""
    plain = cut("-".join(words(unicodedata.normalize("NFKC", title).lower())), SLUG_LENGTH).strip("-")
    return f"{plain}-{artwork_id[-TAIL_LENGTH:]}" if plain else artwork_id
