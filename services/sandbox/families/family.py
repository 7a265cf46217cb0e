"""What an API family is, and how all of them read fields of requests and write times and names into replies."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from services.sandbox.model import Json, Switches, TaskSpec, View
from services.sandbox.refusals import RefusalError


class Family(Protocol):
    """One of KIE's API families: parses its create requests, renders its records and callbacks."""

    name: ClassVar[str]
    create_paths: ClassVar[tuple[str, ...]]
    record_paths: ClassVar[tuple[str, ...]]
    missing_id: ClassVar[tuple[int, str]]
    """Code and message of a record read without a taskId."""

    def prompt(self, body: Json) -> str:
        """The prompt of a create body, empty when there is none; never raises."""

    def parse(self, body: Json) -> TaskSpec:
        """Validates a create body.

        Raises:
            RefusalError: with KIE's code and sentence for the first fault.
        """

    def record(self, view: View) -> Json:
        """Renders the `data` of a record reply."""

    def callback(self, view: View, *, success: bool) -> Json:
        """Renders a callback's whole body; success may contradict the record."""


def text(body: Json, name: str) -> str:
    """A field's text; empty when the field is missing or of another type."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def texts(body: Json, name: str) -> tuple[str, ...]:
    """A field's texts, whether the field holds one or a list."""
    value = body.get(name)
    found = value if isinstance(value, list) else [value]
    return tuple(item for item in found if isinstance(item, str) and item)


def choice(body: Json, name: str, default: str, allowed: Iterable[str], code: int = 422) -> str:
    """A field's value out of a list of allowed ones.

    Raises:
        RefusalError: with this code for any other value.
    """
    value = body.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise RefusalError(code, f"{name} is not within the range of allowed options")
    return value


def ratio(value: str) -> tuple[int, int]:
    """Width to height of a ratio such as 16:9; square for everything else, `auto` included."""
    wide, _, high = value.partition(":")
    return (int(wide), int(high)) if wide.isdecimal() and high.isdecimal() else (1, 1)


def time_field(ms: int | None, switches: Switches, native: str = "ms") -> int | str | None:
    """A time in the family's own notation, or in the one that is switched on; KIE's pages use all three."""
    if ms is None:
        return None
    style = native if switches.times == "native" else switches.times
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    if style == "string":
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return ms if style == "ms" else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def field_name(name: str, switches: Switches, *, snake: bool = False) -> str:
    """A field's name in camel case, or in snake case when a switch or a script asks for it."""
    if not (snake or switches.casing == "snake"):
        return name
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
