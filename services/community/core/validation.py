"""Validates what callers send: every bound, and the error sentence when it is exceeded."""

import re
import unicodedata
from collections.abc import Sequence

from services.chassis.errors import Unauthenticated, invalid_field
from services.chassis.names import host_of

MAX_USER_ID_LENGTH = 255  # what OpenID Connect allows a subject to be
MAX_TITLE_LENGTH, MAX_NAME_LENGTH = 200, 200  # shown on one line
MAX_PROMPT_LENGTH = 10_000  # above the longest prompt a model takes
MAX_URI_LENGTH = 2048  # what browsers and caches agree to carry
MAX_REASON_LENGTH = 1000  # of the proto
MAX_IMAGES = 16  # above what any model takes
MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE = 100, 20  # docs/rest.md#feed
MAX_BATCH = 200  # of the proto
MAX_SKIP = 10_000  # leaving out rows costs time for each of them
MAX_REQUEST_ID_LENGTH = 200  # with what we put before it within generation's own limit
MAX_SUBJECTS = 4  # quota subjects of an order
MAX_DIGEST_LENGTH = 255  # of the proto; a SHA-256 has 64
BROKEN = re.compile(r"[\0\ud800-\udfff]")  # NUL and halves of a character: no database and no wire carries them
ALLOWED_CONTROLS = "\n\t"


def signed_in(viewer_id: str) -> str:
    """The id of the signed-in viewer. Raises Unauthenticated."""
    if not viewer_id:
        raise Unauthenticated("Sign in first.")
    return user("viewer_id", viewer_id)


def user(field: str, user_id: str) -> str:
    """A user id. Raises InvalidArgument."""
    if not 0 < len(user_id) <= MAX_USER_ID_LENGTH or not user_id.isprintable():
        raise invalid_field(field, f"{field} must have 1 to {MAX_USER_ID_LENGTH} printable characters.")
    return user_id


def text(field: str, value: str, limit: int) -> str:
    """A text that can be stored, stripped of surrounding blanks and of control characters."""
    if len(value) > limit:
        raise invalid_field(field, f"{field} is too long: at most {limit} characters are allowed.")
    if BROKEN.search(value):
        raise invalid_field(field, f"{field} holds a NUL or half a character, which cannot be stored. Remove it.")
    kept = (c for c in value if c in ALLOWED_CONTROLS or unicodedata.category(c) != "Cc")
    return "".join(kept).strip()


def required(field: str, value: str, limit: int) -> str:
    """A text as `text` returns it, which must not be blank."""
    if kept := text(field, value, limit):
        return kept
    raise invalid_field(field, f"{field} is missing or blank.")


def uri(field: str, value: str) -> str:
    """An absolute http or https URL."""
    if len(value) > MAX_URI_LENGTH or not value.isprintable() or not host_of(value):
        raise invalid_field(
            field, f"{field} must be an http or https URL with a host, at most {MAX_URI_LENGTH} characters."
        )
    return value


def skip(value: int) -> int:
    """The number of artworks to skip."""
    if not 0 <= value <= MAX_SKIP:
        raise invalid_field("skip", f"Between 0 and {MAX_SKIP} artworks can be left out. Follow the pages instead.")
    return value


def batch(size: int) -> None:
    """Refuse a batch of more than MAX_BATCH names."""
    if size > MAX_BATCH:
        raise invalid_field("names", f"At most {MAX_BATCH} artworks may be named at once.")


def request_id(value: str) -> str:
    """A request id, the caller's idempotency key."""
    if len(value) > MAX_REQUEST_ID_LENGTH or BROKEN.search(value):
        raise invalid_field(
            "request_id", f"The request id is longer than {MAX_REQUEST_ID_LENGTH} characters, or no text."
        )
    return value


def request_digest(value: str) -> str:
    """The digest that a repeated request must have too."""
    if len(value) > MAX_DIGEST_LENGTH or BROKEN.search(value):
        raise invalid_field("request_digest", f"The digest is longer than {MAX_DIGEST_LENGTH} characters, or no text.")
    return value


def quota_subjects(values: Sequence[str]) -> tuple[str, ...]:
    """The subjects whose daily quotas an order counts for, without empty ones."""
    if len(values) > MAX_SUBJECTS or any(len(value) > MAX_DIGEST_LENGTH or BROKEN.search(value) for value in values):
        sentence = f"At most {MAX_SUBJECTS} subjects of {MAX_DIGEST_LENGTH} characters of text may be named."
        raise invalid_field("quota_subjects", sentence)
    return tuple(value for value in values if value)
