"""Reads request bodies and queries field by field; a field of the wrong shape is refused with a sentence.

Unknown fields are ignored, null is the same as absent: front ends written for the seed systems send both.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from starlette.requests import Request

from services.chassis.errors import InvalidArgument, invalid_field
from services.chassis.names import ID

MAX_QUERY_LENGTH = 200  # of a filter: the longest style or model a share may have
MAX_URL_LENGTH = 8192  # longer than any signed URL; servers take no longer request line
WEB_URL = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
INTEGER = re.compile(r"-?[0-9]{1,20}")
CURSOR = re.compile(r"[0-9]{1,16}")  # a number that JavaScript holds exactly
JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.+-]+\+json)", re.IGNORECASE)


class Fields:
    """Typed readers of one JSON object. Each raises InvalidArgument that names the field."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """A string without NUL."""
        value = self._of(name, str, "a string", default)
        if "\x00" in value:
            raise invalid_field(name, f"{name} holds a NUL character. Remove it.")
        return str(value)

    def required(self, name: str) -> str:
        """A string that is not blank."""
        value = self.text(name)
        if not value.strip():
            raise invalid_field(name, f"{name} is missing or blank.")
        return value

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of a few strings."""
        value = self.text(name, default)
        if value not in choices:
            raise invalid_field(name, f"{name} must be one of: {', '.join(choices)}.")
        return value

    def identifier(self, name: str) -> str:
        """An opaque id, or an empty string."""
        value = self.text(name)
        return identifier(name, value) if value else ""

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        return bool(self._of(name, bool, "true or false", default))

    def integer(self, name: str) -> int | None:
        """A whole number within 32 bits, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not int or not -(2**31) <= value < 2**31:
            raise invalid_field(name, f"{name} must be a whole number.")
        return value

    def number(self, name: str) -> float | None:
        """A number, or None."""
        value = self._values.get(name)
        if value is not None and type(value) not in (int, float):
            raise invalid_field(name, f"{name} must be a number.")
        return None if value is None else float(value)

    def flattened(self, section: str, spellings: Mapping[str, str]) -> "Fields":
        """These fields and those of a nested object, which win, in one object; `spellings` renames fields."""
        given = [*self._values.items(), *self._of(section, dict, "an object", {}).items()]
        return Fields({spellings.get(name, name): value for name, value in given if value is not None})

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        values = self._of(name, list, "a list of strings", [])
        return [Fields({name: value}).text(name) for value in values]

    def _of(self, name: str, kind: type, words: str, default: object) -> Any:
        value = self._values.get(name)
        value = default if value is None else value
        if not isinstance(value, kind):
            raise invalid_field(name, f"{name} must be {words}.")
        return value


async def json_object(request: Request) -> Fields:
    """The fields of a JSON body. NaN, lone surrogates and nesting beyond orjson's 1024 levels are malformed too.

    Raises:
        InvalidArgument: not JSON (INVALID_INPUT), not declared as JSON (UNSUPPORTED_MEDIA_TYPE), or too large.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip()
    if declared and not JSON_TYPE.fullmatch(declared):
        raise InvalidArgument("Send JSON, with content type application/json.", "UNSUPPORTED_MEDIA_TYPE")
    values = decoded(await request.body())
    if not isinstance(values, dict):
        raise InvalidArgument("The body must be a JSON object.")
    return Fields(values)


def decoded(body: bytes) -> object:
    """A JSON document."""
    if not body:
        raise InvalidArgument("The body is empty. Send a JSON object.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument("The body is not valid JSON.") from error


def web_url(name: str, value: str) -> str:
    """An http or https URL; whether its host may be reached is for the service that fetches it."""
    if len(value) > MAX_URL_LENGTH:
        raise invalid_field(name, f"{name} is too long: at most {MAX_URL_LENGTH} characters are taken.")
    if not WEB_URL.fullmatch(value):
        raise invalid_field(name, f"{name} must be an http or https URL.")
    return value


def identifier(name: str, value: str) -> str:
    """An opaque id of safe characters: it becomes part of resource names."""
    if not ID.fullmatch(value):
        raise invalid_field(name, f"{name} is missing or not an id.")
    return value


def query_id(request: Request, name: str) -> str:
    """A required id of the query string."""
    return identifier(name, request.query_params.get(name, ""))


def query_text(request: Request, name: str) -> str:
    """An optional string of the query string."""
    value = request.query_params.get(name, "")
    if len(value) > MAX_QUERY_LENGTH or "\x00" in value:
        raise invalid_field(name, f"{name} must be at most {MAX_QUERY_LENGTH} characters, without NUL.")
    return value


def query_integer(request: Request, name: str, default: int) -> int:
    """A whole number of the query string."""
    value = request.query_params.get(name, "")
    if value and not INTEGER.fullmatch(value):
        raise invalid_field(name, f"{name} must be a whole number.")
    return int(value) if value else default


def query_cursor(request: Request, name: str) -> str:
    """A cursor of the query string, as we gave it out; empty for the first page."""
    value = request.query_params.get(name, "")
    if value and not CURSOR.fullmatch(value):
        raise invalid_field(name, f"{name} must be the cursor of the page before.")
    return value
