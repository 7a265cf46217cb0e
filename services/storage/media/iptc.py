"""Removes location data from IPTC-IIM records and Photoshop resources without changing their length.

Sources: IPTC-NAA IIM 4.2 (1999), Adobe Photoshop File Formats Specification (image resource blocks).
"""

import struct
from collections.abc import Callable, Iterator

from services.storage.media.budget import Budget
from services.storage.media.xmp import blanked

Cleaner = Callable[[bytes, Budget], bytes]

DATASET_MARK, APPLICATION_RECORD = 0x1C, 2
PLACES = frozenset({26, 27, *range(90, 102)})  # content location; city, sublocation, province, country and its code
EXTENDED = 0x8000  # the length is a length of a length
DATASET_HEAD = struct.Struct(">BBBH")
RESOURCE_TYPES = (b"8BIM", b"8B64", b"PHUT", b"AgHg", b"DCSR", b"MeSa")
IPTC, EXIF_ONE, EXIF_THREE, XMP = 0x0404, 0x0422, 0x0423, 0x0424


def without_places(records: bytes, budget: Budget) -> bytes:
    """IIM records without location datasets, padded with zeros, as readers expect."""
    kept, at = bytearray(), 0
    while at + DATASET_HEAD.size <= len(records) and records[at] == DATASET_MARK:
        budget.step()
        _, record, dataset, size = DATASET_HEAD.unpack_from(records, at)
        body = at + DATASET_HEAD.size
        if size & EXTENDED:
            body, size = body + (size & 0x7FFF), int.from_bytes(records[body : body + min(size & 0x7FFF, 8)], "big")
        end = min(body + size, len(records))
        if record != APPLICATION_RECORD or dataset not in PLACES:
            kept += records[at:end]
        at = end
    return bytes(kept + records[at:]).ljust(len(records), b"\0") if len(kept) < at else records


def cleaned_resources(block: bytes, clean_exif: Cleaner, budget: Budget) -> bytes:
    """Photoshop resources, each cleaned by its kind; one that cannot be read is left as it is."""
    after = bytearray(block)
    for kind, start, stop in _resources(block):
        budget.step()
        body = block[start:stop]
        if kind == IPTC:
            after[start:stop] = without_places(body, budget)
        elif kind in (EXIF_ONE, EXIF_THREE):
            after[start:stop] = clean_exif(body, budget)
        elif kind == XMP:
            after[start:stop] = blanked(body, budget)
    return bytes(after)


def _resources(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and stop of each: type, number, a name and the length, both padded to even."""
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
