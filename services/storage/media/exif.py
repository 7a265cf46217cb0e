"""Removes GPS data from an EXIF block without changing its length, so that offsets stay valid.

Sources: EXIF 3.0 (CIPA DC-008) for the GPS directory, TIFF 6.0 for directories, GeoTIFF 1.1 (OGC 19-008r4).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from services.storage.media import iptc
from services.storage.media.budget import Budget
from services.storage.media.xmp import blanked

GPS_POINTER = 0x8825
POINTERS = frozenset({0x8769, 0x014A, 0xA005})  # directories of EXIF, of previews, of interoperability
GEOTIFF = frozenset({0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1})
XMP, IPTC, PHOTOSHOP, MAKER_NOTE = 0x02BC, 0x83BB, 0x8649, 0x927C
PANASONIC, PANASONIC_PLACES = (
    b"Panasonic\0\0\0",
    frozenset({0x67, 0x69, 0x6B, 0x6D, 0x6F, 0x80}),
)  # their location entries
MAX_DIRECTORIES = 64  # of a block; more is no camera's
ENTRY_BYTES, INLINE_BYTES = 12, 4
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # by TIFF's field type


@dataclass(frozen=True)
class Entry:
    """An entry of a directory: its own bytes, its tag, and where its value stands in the block."""

    raw: bytes
    tag: int
    start: int
    stop: int


def without_gps(block: bytes, budget: Budget | None = None) -> bytes:
    """An EXIF block without GPS data; one that cannot be read is left as it is.

    Raises:
        TooManyError: the block has more entries than any honest one.
    """
    if block[:4] not in (b"II*\0", b"MM\0*") or len(block) < 8:  # noqa: PLR2004 - the head
        return block
    return _Block(block, budget or Budget()).cleaned()


class _Block:
    """A block that is being cleaned."""

    def __init__(self, block: bytes, budget: Budget) -> None:
        self._order = "<" if block[:2] == b"II" else ">"
        self._bytes = bytearray(block)
        self._budget = budget

    def cleaned(self) -> bytes:
        (first,) = struct.unpack_from(self._order + "I", self._bytes, 4)
        waiting, seen = [first], set[int]()
        while waiting and len(seen) < MAX_DIRECTORIES:
            at = waiting.pop()
            if at and at not in seen:
                seen.add(at)
                waiting += self._clear(at)
        return bytes(self._bytes)

    def _clear(self, at: int) -> list[int]:
        """Remove the location entries of one directory and their values; returns offsets of further directories."""
        entries = list(self._entries(at))
        end = at + 2 + len(entries) * ENTRY_BYTES
        doomed = [entry for entry in entries if entry.tag == GPS_POINTER or entry.tag in GEOTIFF]
        following = bytes(self._bytes[end : end + 4]).ljust(4, b"\0")
        below = [place for entry in entries if entry not in doomed for place in self._below(entry)]
        for entry in doomed:
            if entry.tag == GPS_POINTER:
                self._wipe(self._number(entry.raw[8:]))
            self._fill(entry.start, entry.stop)
        if doomed:
            kept = [entry.raw for entry in entries if entry not in doomed]
            new = struct.pack(self._order + "H", len(kept)) + b"".join(kept) + following
            size = min(end + 4, len(self._bytes)) - at
            self._bytes[at : at + size] = new.ljust(size, b"\0")[:size]
        return [self._number(following), *below]

    def _below(self, entry: Entry) -> Iterator[int]:
        """Clean one value; yields the offsets of the directories to which it points."""
        value = bytes(self._bytes[entry.start : entry.stop])
        if entry.tag in POINTERS:
            starts = range(0, min(len(value), MAX_DIRECTORIES * 4) - 3, 4)
            yield from (self._number(value[start : start + 4]) for start in starts)
        elif entry.tag == XMP:
            self._put(entry, blanked(value, self._budget))
        elif entry.tag == IPTC:
            self._put(entry, iptc.without_places(value, self._budget))
        elif entry.tag == PHOTOSHOP:
            self._put(entry, iptc.cleaned_resources(value, lambda block, _: block, self._budget))
        elif entry.tag == MAKER_NOTE and value.startswith(PANASONIC):
            for note in self._entries(entry.start + len(PANASONIC)):
                if note.tag in PANASONIC_PLACES:
                    self._fill(note.start, note.stop)

    def _put(self, entry: Entry, value: bytes) -> None:
        self._bytes[entry.start : entry.stop] = value

    def _fill(self, start: int, stop: int) -> None:
        self._bytes[start:stop] = bytes(stop - start)

    def _wipe(self, at: int) -> None:
        """Fill a directory and all it points to with zeros."""
        entries = list(self._entries(at))
        for entry in entries:
            self._fill(entry.start, entry.stop)
        if entries:
            self._fill(at, at + 2 + len(entries) * ENTRY_BYTES)

    def _entries(self, at: int) -> Iterator[Entry]:
        """The entries of a directory, as many of those announced as there are."""
        if not 0 < at <= len(self._bytes) - 2:
            return
        (count,) = struct.unpack_from(self._order + "H", self._bytes, at)
        fitting = min(count, (len(self._bytes) - at - 2) // ENTRY_BYTES)
        self._budget.step(fitting)
        for start in range(at + 2, at + 2 + fitting * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, length, place = struct.unpack_from(self._order + "HHII", self._bytes, start)
            size = TYPE_BYTES.get(kind, 1) * length
            here = start + 8 if size <= INLINE_BYTES else min(place, len(self._bytes))
            raw = bytes(self._bytes[start : start + ENTRY_BYTES])
            yield Entry(raw, tag, here, min(here + size, len(self._bytes)))

    def _number(self, raw: bytes) -> int:
        return int(struct.unpack(self._order + "I", raw)[0])
