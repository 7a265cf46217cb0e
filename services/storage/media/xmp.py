"""Blanks location properties in an XMP packet, well-formed or not, in time linear in its length.

No pattern below backtracks or looks beyond the next `<`, so that no text makes it read a span twice.
Names count without namespace prefix and case: cameras and programs choose both as they like.
Sources: IPTC Photo Metadata 2024, EXIF 3.0 for XMP (CIPA DC-010), Darwin Core, W3C geo, the tags of DJI's drones.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from services.storage.media.budget import Budget

Span = tuple[int, int]

TAG = re.compile(
    rb"<(?P<mark>[/?!]?+)(?P<name>[^\s<>/=\"']*+)(?P<rest>(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+'|[\"'])*+)(?:>|(?=<)|\Z)"
)
ATTRIBUTE = re.compile(rb"(?<![\w.:-])([\w.:-]++)\s*+=\s*+(?:\"[^\"]*+\"?+|'[^']*+'?+)")
PLACE = re.compile(
    rb"gps.*|geotag.*|.*(?:latitude|long(?:it|tit)ude|altitude|coordinates?)(?:ref)?|lat|long?|point|footprintwkt"
    rb"|(?:sub-?|shot|camera|capture)?location(?:created|shown|name|id|code)?|locality|landmark|placename|coverage"
    rb"|city|county|municipality|(?:province|state)(?:or)?(?:province|state)?|country(?:code|name|-.*)?"
    rb"|(?:world)?region(?:code|name)?|island(?:group)?|waterbody|continent"
)
MAX_NAME_BYTES = 128  # longer ones are no location properties
NAMES_KEPT = 1024
HEAD_BYTES = 256  # where the first tag of a packet stands, behind a byte order mark and white space


def blanked(packet: bytes, budget: Budget | None = None) -> bytes:
    """A packet with spaces in place of location properties; its length stays, since offsets elsewhere depend on it.

    A broken element is blanked to the end of the packet.

    Raises:
        TooManyError: the packet has more tags than any honest one.
    """
    width, offset = _units(packet)
    text = _narrowed(packet, width, offset) if width > 1 else packet
    found, after = list(_spots(text, budget or Budget())), bytearray(packet)
    blank = bytes(offset) + b" " + bytes(width - 1 - offset)
    for start, stop in found:
        after[start * width : stop * width] = blank * (stop - start)
    return bytes(after)


def tells_place(name: bytes) -> bool:
    """Whether a property of this name, with any prefix, holds a location."""
    return _is_place(name[-MAX_NAME_BYTES:].rpartition(b":")[2].lower())


@lru_cache(NAMES_KEPT)
def _is_place(name: bytes) -> bool:
    return PLACE.fullmatch(name) is not None


def _spots(text: bytes, budget: Budget) -> Iterator[Span]:
    """The spans of location properties, in order and disjoint."""
    open_name, depth, start = b"", 0, 0
    for tag in TAG.finditer(text):
        budget.step()
        mark, name, rest = tag.groups()
        if open_name:
            if name == open_name:
                depth += -1 if mark == b"/" else not rest.endswith(b"/")
            if not depth:
                yield start, tag.end()
                open_name = b""
        elif not mark and tells_place(name):
            if rest.endswith(b"/"):
                yield tag.span()
            else:
                open_name, depth, start = name, 1, tag.start()
        elif b"=" in rest:
            yield from _attributes(text, *tag.span("rest"), budget)
    if open_name:
        yield start, len(text)


def _attributes(text: bytes, start: int, stop: int, budget: Budget) -> Iterator[Span]:
    for found in ATTRIBUTE.finditer(text, start, stop):
        budget.step()
        if tells_place(found[1]):
            yield found.span()


def _units(packet: bytes) -> tuple[int, int]:
    """The bytes of a character, and the offset of its low byte: XMP may be UTF-8, UTF-16 or UTF-32."""
    at = packet.find(b"<", 0, HEAD_BYTES)
    if at < 0 or packet[at + 1 : at + 2] != b"\0":
        return 1, 0
    width = 4 if packet[at + 1 : at + 4] == bytes(3) else 2
    return width, at % width


def _narrowed(packet: bytes, width: int, offset: int) -> bytes:
    """A byte for each character; x for what is not of Latin-1."""
    whole = packet[: len(packet) // width * width]
    low = whole[offset::width]
    high = [whole[other::width] for other in range(width) if other != offset]
    if not any(map(any, high)):
        return low
    return bytes(ord("x") if any(others) else sign for sign, *others in zip(low, *high, strict=True))
