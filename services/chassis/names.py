"""Makes ids and reads resource names; no other module splits a name at its slash.

An `{x}_id` is one segment, for example gen_01jx…; an `{x}_name` is the whole path, for example generations/gen_01jx….
"""

import re
import secrets
import time
from urllib.parse import urlsplit

from services.chassis.errors import invalid_field

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as it counts, no look-alikes
TIME_DIGITS, RANDOM_DIGITS = 10, 16  # 50 bits of milliseconds, 80 random bits: a ULID in lower case
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
MAX_KEY_LENGTH = 512  # half of S3's limit, and within every file system's path limit


def host_of(uri: str) -> str:
    """The host of an http or https URL; empty when it is none."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that hold no address
        return ""
    return (parts.hostname or "") if parts.scheme in {"http", "https"} else ""


def encode(number: int, digits: int) -> str:
    """Write a number in Crockford's base 32, padded to so many digits."""
    return "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(digits)))


def new_id(prefix: str) -> str:
    """Make a typed id that sorts by time, for example gen_01jxv3k8q4…; unguessable by its 80 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{prefix}_{encode(milliseconds, TIME_DIGITS)}{encode(secrets.randbits(80), RANDOM_DIGITS)}"


def is_new_id(prefix: str, identifier: str) -> bool:
    """Whether an id has the form that new_id gives."""
    head, _, digits = identifier.partition("_")
    return head == prefix and len(digits) == TIME_DIGITS + RANDOM_DIGITS and set(digits) <= set(ALPHABET)


def name(collection: str, identifier: str) -> str:
    """Join a resource name; an empty id gives an empty name."""
    return f"{collection}/{identifier}" if identifier else ""


def parse_id(collection: str, resource_name: str, field: str = "name") -> str:
    """Take the id out of collection/{id}, which a field of a request holds.

    Raises:
        InvalidArgument: it is not of that form.
    """
    head, _, identifier = resource_name.partition("/")
    if head != collection or not ID.fullmatch(identifier):
        raise invalid_field(field, f"The {field} must be {collection}/ and an id.")
    return identifier


def is_key(text: str) -> bool:
    """Whether a text is an object key; a key has clean segments only, so it cannot climb out of a folder."""
    return len(text) <= MAX_KEY_LENGTH and bool(KEY.fullmatch(text))


def parse_key(resource_name: str) -> str:
    """Take the key out of objects/{key}.

    Raises:
        InvalidArgument: the name is not of that form.
    """
    head, _, key = resource_name.partition("/")
    if head != "objects" or not is_key(key):
        raise invalid_field("name", "The name must be objects/ and an object key.")
    return key
