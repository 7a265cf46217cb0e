"""Small parts that the families share when they read requests and word replies."""

from collections.abc import Iterable
from datetime import UTC, datetime

from services.sandbox.model import Json, RefusalError, Switches


def text(body: Json, name: str) -> str:
    """A field's text; empty when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def texts(body: Json, name: str) -> tuple[str, ...]:
    """A field's texts, whether it holds one or a list."""
    value = body.get(name)
    found = value if isinstance(value, list) else [value]
    return tuple(item for item in found if isinstance(item, str) and item)


def choice(body: Json, name: str, default: str, allowed: Iterable[str], code: int = 422) -> str:
    """One of the allowed values.

    Raises:
        RefusalError: with this code for any other value.
    """
    value = body.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise RefusalError(code, f"{name} is not within the range of allowed options")
    return value


def ratio(value: str) -> tuple[int, int]:
    """Width to height of a ratio such as 16:9; square for everything else, `auto` among it."""
    wide, _, high = value.partition(":")
    return (int(wide), int(high)) if wide.isdecimal() and high.isdecimal() else (1, 1)


def stamp(ms: int | None, switches: Switches, native: str = "ms") -> int | str | None:
    """A time in the family's own notation, or in the one that is switched on; KIE's pages use all three."""
    if ms is None:
        return None
    style = native if switches.times == "native" else switches.times
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    if style == "string":
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return ms if style == "ms" else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cased(name: str, switches: Switches, *, snake: bool = False) -> str:
    """A field's name in camel case, or in snake case when a switch or a script asks for it."""
    if not (snake or switches.casing == "snake"):
        return name
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
