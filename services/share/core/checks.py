"""Decides what a caller may say: every bound on a draft and on a list, and the sentence told when it is crossed."""

import re
from collections.abc import Iterable
from dataclasses import replace

from services.chassis.errors import InvalidArgument
from services.chassis.outbound import WEB_URL
from services.share.model import Draft, Facet, Query

MAX_URI_LENGTH = 2048  # what browsers and caches agree to carry
MAX_PROMPT_LENGTH = 10_000  # above the longest prompt a model takes
MAX_NAME_LENGTH = 200  # a style or a model; also keeps the indexes' entries small
MAX_TAGS, MAX_TAG_LENGTH = 20, 100  # contract A11; longer ones are no tags
MAX_PAGE_SIZE = 100  # a page is one message and one screen
MAX_SKIP = 1_000_000  # leaving out rows costs time for each of them
MAX_BATCH = 1000  # of the proto
EPOCH_MS = 946_684_800_000  # 2000-01-01: pictures that claim to be older have a broken clock
DEFAULT_STYLE = "default"
BROKEN = re.compile(r"[\0\ud800-\udfff]")  # NUL and halves of a character: no database and no wire carries them


def invalid(field: str, message: str) -> InvalidArgument:
    """The error that names the field at fault."""
    return InvalidArgument(message, metadata={"field": field})


def label(field: str) -> str:
    """A field's name without the message that holds it: people who never saw the proto read it too."""
    return field.rpartition(".")[2]


def draft(given: Draft, now_ms: int) -> Draft:
    """The draft made clean: texts within their bounds, tags counted, style and time filled in.

    Raises:
        InvalidArgument: with the field that cannot be taken.
    """
    if not given.generated_uri:
        raise invalid("share.generated_uri", "generated_uri is required: the URL of the picture to share.")
    return replace(
        given,
        generated_uri=uri("share.generated_uri", given.generated_uri),
        original_uri=given.original_uri and uri("share.original_uri", given.original_uri),
        prompt=text("share.prompt", given.prompt, MAX_PROMPT_LENGTH),
        style=text("share.style", given.style.strip(), MAX_NAME_LENGTH) or DEFAULT_STYLE,
        model=text("share.model", given.model.strip(), MAX_NAME_LENGTH),
        # Clamped: a client whose clock is ahead must not hold the head of the latest until that time has come.
        generate_ms=min(given.generate_ms, now_ms) if given.generate_ms >= EPOCH_MS else now_ms,
        seo_tags=tags("share.seo_tags", given.seo_tags),
    )


def uri(field: str, value: str) -> str:
    """An absolute http or https URL."""
    if len(value) > MAX_URI_LENGTH or not WEB_URL.fullmatch(value):
        name = label(field)
        raise invalid(field, f"{name} must be an http or https URL with a host, at most {MAX_URI_LENGTH} characters.")
    return value


def text(field: str, value: str, limit: int) -> str:
    """A text that every part of the system can carry."""
    if len(value) > limit:
        raise invalid(field, f"{label(field)} is too long: at most {limit} characters are allowed.")
    if BROKEN.search(value):
        raise invalid(field, f"{label(field)} holds a NUL or half a character, which cannot be stored. Remove it.")
    return value


def tags(field: str, values: Iterable[str]) -> tuple[str, ...]:
    """The first tags that are not blank, each once."""
    kept = list(dict.fromkeys(filter(None, map(str.strip, values))))[:MAX_TAGS]
    return tuple(text(field, tag, MAX_TAG_LENGTH) for tag in kept)


def page_size(value: int, default: int) -> int:
    """How many to show: too many is brought down (AIP-158)."""
    if value < 0:
        raise invalid("page_size", "page_size must not be negative.")
    return min(value, MAX_PAGE_SIZE) or default


def skip(value: int) -> int:
    """How many to leave out."""
    if not 0 <= value <= MAX_SKIP:
        raise invalid("skip", f"Between 0 and {MAX_SKIP} shares can be left out. Follow the pages instead.")
    return value


def batch(size: int) -> None:
    """Refuse a batch that is too large to be read at once."""
    if size > MAX_BATCH:
        raise invalid("names", f"At most {MAX_BATCH} names may be given at once.")


def weight(fitting: int, found: int) -> None:
    """Refuse a batch whose shares do not fit into one message, rather than leave some out."""
    if fitting < found:
        raise invalid("names", f"These shares are too large for one answer. Ask for at most {fitting} of them at once.")


def block(value: int) -> None:
    """Refuse a block that there cannot be."""
    if value < 0:
        raise invalid("block", "block must not be negative.")


def facet(query: Query) -> tuple[Facet, str]:
    """By what the list is narrowed: by one facet at most."""
    given = [(each, value) for each in Facet if each and (value := getattr(query, each).strip())]
    if len(given) > 1:
        raise invalid(given[1][0], "Give at most one of style, model and tag.")
    for name, value in given:
        text(name, value, MAX_NAME_LENGTH)
    return given[0] if given else (Facet.NONE, "")


def token(value: str) -> None:
    """Refuse to go on without a token."""
    if not value:
        raise invalid("token", "A token is required: the one that came with the share when it was made.")
