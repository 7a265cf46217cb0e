"""Removes location data from the blocks of metadata that all picture formats embed: XMP, IPTC and EXIF.

No block changes its length, so that offsets stay valid, here and in the file around it. Each file has a budget of work:
a small file can cost much, by compressed text and many tags.

Sources: XMP: IPTC Photo Metadata 2024, EXIF 3.0 for XMP (CIPA DC-010), Darwin Core, W3C geo, the tags of DJI's drones.
IPTC: IPTC-NAA IIM 4.2 (1999), Adobe Photoshop File Formats Specification (image resource blocks). EXIF: EXIF 3.0 (CIPA
DC-008) for the GPS directory, TIFF 6.0 for directories, GeoTIFF 1.1 (OGC 19-008r4).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from services.storage.media.format_parser import TooManyError

MAX_STEPS = 500_000  # tags, attributes, EXIF entries and edits of a file; half a second, ten times the longest history
MAX_TEXT_BYTES = 8 * 1024 * 1024  # of all unpacked texts of a file


class Budget:
    """The remaining steps and decompressed bytes of a file."""

    def __init__(self) -> None:
        self.text_bytes = MAX_TEXT_BYTES
        self._steps = MAX_STEPS

    def step(self, count: int = 1) -> None:
        """Use up steps.

        Raises:
            TooManyError: none are left.
        """
        self._steps -= count
        if self._steps < 0:
            raise TooManyError

    def unpacked(self, count: int) -> None:
        """Use up decompressed bytes.

        Raises:
            TooManyError: none are left.
        """
        self.text_bytes -= count
        if self.text_bytes < 0:
            raise TooManyError


Span = tuple[int, int]

# Of XMP. No pattern backtracks or looks beyond the next `<`, so that no text makes it read a span twice: cleaning takes
# time linear in the length of a packet. Names count without namespace prefix and case: cameras and programs differ.
TAG = re.compile(
    rb"<(?P<mark>[/?!]?+)(?P<name>[^\s<>/=\"']*+)(?P<rest>(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+'|[\"'])*+)(?:>|(?=<)|\Z)"
)
ATTRIBUTE = re.compile(rb"(?<![\w.:-])([\w.:-]++)\s*+=\s*+(?:\"[^\"]*+\"?+|'[^']*+'?+)")
PLACE_NAME = re.compile(
    rb"gps.*|geotag.*|.*(?:latitude|long(?:it|tit)ude|altitude|coordinates?)(?:ref)?|lat|long?|point|footprintwkt"
    rb"|(?:sub-?|shot|camera|capture)?location(?:created|shown|name|id|code)?|locality|landmark|placename|coverage"
    rb"|city|county|municipality|(?:province|state)(?:or)?(?:province|state)?|country(?:code|name|-.*)?"
    rb"|(?:world)?region(?:code|name)?|island(?:group)?|waterbody|continent"
)
MAX_NAME_BYTES = 128  # longer ones are no location properties
NAMES_KEPT = 1024
HEAD_BYTES = 256  # where the first tag of a packet stands, behind a byte order mark and white space


def clean_xmp(packet: bytes, budget: Budget | None = None) -> bytes:
    """An XMP packet with spaces in place of location properties.

    A broken element is blanked to the end of the packet.

    Raises:
        TooManyError: the packet has more tags than that of any honest picture.
    """
    width, offset = _units(packet)
    text = _narrowed(packet, width, offset) if width > 1 else packet
    found, after = list(_spots(text, budget or Budget())), bytearray(packet)
    blank = bytes(offset) + b" " + bytes(width - 1 - offset)
    for start, stop in found:
        after[start * width : stop * width] = blank * (stop - start)
    return bytes(after)


def names_place(name: bytes) -> bool:
    """Whether a property of this name, with any prefix, holds a location."""
    return _is_place(name[-MAX_NAME_BYTES:].rpartition(b":")[2].lower())


@lru_cache(NAMES_KEPT)
def _is_place(name: bytes) -> bool:
    return PLACE_NAME.fullmatch(name) is not None


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
        elif not mark and names_place(name):
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
        if names_place(found[1]):
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


# Of IPTC-IIM and of Photoshop's resources.
DATASET_MARK, APPLICATION_RECORD = 0x1C, 2
PLACE_DATASETS = frozenset({26, 27, *range(90, 102)})  # content location; city, province, country and the like
EXTENDED = 0x8000  # the length is a length of a length
DATASET_HEAD = struct.Struct(">BBBH")
RESOURCE_TYPES = (b"8BIM", b"8B64", b"PHUT", b"AgHg", b"DCSR", b"MeSa")
IPTC_RESOURCE, EXIF_RESOURCES, XMP_RESOURCE = 0x0404, (0x0422, 0x0423), 0x0424


def clean_iptc(records: bytes, budget: Budget) -> bytes:
    """IPTC-IIM records without location datasets, padded with zeros, as readers expect."""
    kept, at = bytearray(), 0
    while at + DATASET_HEAD.size <= len(records) and records[at] == DATASET_MARK:
        budget.step()
        _, record, dataset, size = DATASET_HEAD.unpack_from(records, at)
        body = at + DATASET_HEAD.size
        if size & EXTENDED:
            body, size = body + (size & 0x7FFF), int.from_bytes(records[body : body + min(size & 0x7FFF, 8)], "big")
        end = min(body + size, len(records))
        if record != APPLICATION_RECORD or dataset not in PLACE_DATASETS:
            kept += records[at:end]
        at = end
    return bytes(kept + records[at:]).ljust(len(records), b"\0") if len(kept) < at else records


def clean_photoshop(block: bytes, budget: Budget, *, in_exif: bool = False) -> bytes:
    """Photoshop resources, each cleaned by its kind; a resource that cannot be read is left as it is.

    Resources that lie within an EXIF block keep their own EXIF blocks, so that nothing nests without end.
    """
    after = bytearray(block)
    for kind, start, stop in _photoshop_resources(block):
        budget.step()
        body = block[start:stop]
        if kind == IPTC_RESOURCE:
            after[start:stop] = clean_iptc(body, budget)
        elif kind in EXIF_RESOURCES and not in_exif:
            after[start:stop] = clean_exif(body, budget)
        elif kind == XMP_RESOURCE:
            after[start:stop] = clean_xmp(body, budget)
    return bytes(after)


def _photoshop_resources(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and stop of each resource, which is a type, number, a name and the length, both padded to even."""
    at = 0
    while block[at : at + 4] in RESOURCE_TYPES and at + 12 <= len(block):
        (kind,) = struct.unpack_from(">H", block, at + 4)
        size_at = at + 6 + (block[at + 6] + 2) // 2 * 2
        if size_at + 4 > len(block):
            return
        (size,) = struct.unpack_from(">I", block, size_at)
        start = size_at + 4
        stop = min(start + size, len(block))
        yield kind, start, stop
        at = stop + size % 2


# Of EXIF.
GPS_POINTER = 0x8825
POINTERS = frozenset({0x8769, 0x014A, 0xA005})  # directories of EXIF, of previews, of interoperability
GEOTIFF = frozenset({0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1})
XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG, MAKER_NOTE_TAG = 0x02BC, 0x83BB, 0x8649, 0x927C
PANASONIC = b"Panasonic\0\0\0"  # the head of a maker note
PANASONIC_PLACES = frozenset({0x67, 0x69, 0x6B, 0x6D, 0x6F, 0x80})  # its location entries
MAX_DIRECTORIES = 64  # of a block; more is no camera's
ENTRY_BYTES, INLINE_BYTES = 12, 4
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # by TIFF's field type


@dataclass(frozen=True)
class _Entry:
    """An entry of a directory: its own bytes, its tag, and where its value lies in the block."""

    raw: bytes
    tag: int
    start: int
    stop: int


def clean_exif(block: bytes, budget: Budget | None = None) -> bytes:
    """An EXIF block without GPS data; a block that cannot be read is left as it is.

    Raises:
        TooManyError: the block has more entries than that of any honest picture.
    """
    if block[:4] not in (b"II*\0", b"MM\0*") or len(block) < 8:  # noqa: PLR2004 - the head
        return block
    return _ExifBlock(block, budget or Budget()).cleaned()


class _ExifBlock:
    """An EXIF block that is being cleaned."""

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
        removed = [entry for entry in entries if entry.tag == GPS_POINTER or entry.tag in GEOTIFF]
        following = bytes(self._bytes[end : end + 4]).ljust(4, b"\0")
        below = [offset for entry in entries if entry not in removed for offset in self._below(entry)]
        for entry in removed:
            if entry.tag == GPS_POINTER:
                self._wipe(self._number(entry.raw[8:]))
            self._fill(entry.start, entry.stop)
        if removed:
            kept = [entry.raw for entry in entries if entry not in removed]
            new = struct.pack(self._order + "H", len(kept)) + b"".join(kept) + following
            size = min(end + 4, len(self._bytes)) - at
            self._bytes[at : at + size] = new.ljust(size, b"\0")[:size]
        return [self._number(following), *below]

    def _below(self, entry: _Entry) -> Iterator[int]:
        """Clean one value; yields the offsets of the directories to which it points."""
        value = bytes(self._bytes[entry.start : entry.stop])
        if entry.tag in POINTERS:
            starts = range(0, min(len(value), MAX_DIRECTORIES * 4) - 3, 4)
            yield from (self._number(value[start : start + 4]) for start in starts)
        elif entry.tag == XMP_TAG:
            self._put(entry, clean_xmp(value, self._budget))
        elif entry.tag == IPTC_TAG:
            self._put(entry, clean_iptc(value, self._budget))
        elif entry.tag == PHOTOSHOP_TAG:
            self._put(entry, clean_photoshop(value, self._budget, in_exif=True))
        elif entry.tag == MAKER_NOTE_TAG and value.startswith(PANASONIC):
            for note in self._entries(entry.start + len(PANASONIC)):
                if note.tag in PANASONIC_PLACES:
                    self._fill(note.start, note.stop)

    def _put(self, entry: _Entry, value: bytes) -> None:
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

    def _entries(self, at: int) -> Iterator[_Entry]:
        """The entries of a directory: as many as it announces, or fewer where the block ends."""
        if not 0 < at <= len(self._bytes) - 2:
            return
        (count,) = struct.unpack_from(self._order + "H", self._bytes, at)
        fitting = min(count, (len(self._bytes) - at - 2) // ENTRY_BYTES)
        self._budget.step(fitting)
        for start in range(at + 2, at + 2 + fitting * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, length, offset = struct.unpack_from(self._order + "HHII", self._bytes, start)
            size = TYPE_BYTES.get(kind, 1) * length
            here = start + 8 if size <= INLINE_BYTES else min(offset, len(self._bytes))
            raw = bytes(self._bytes[start : start + ENTRY_BYTES])
            yield _Entry(raw, tag, here, min(here + size, len(self._bytes)))

    def _number(self, raw: bytes) -> int:
        return int(struct.unpack(self._order + "I", raw)[0])
