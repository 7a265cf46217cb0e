"""Finds what tells where a picture was taken, and the edits that take it out without touching anything else.

Sources: EXIF 3.0 (CIPA DC-008) for the GPS directory, IPTC Photo Metadata 2024 for the names in XMP.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from services.storage.pictures.anatomy import Anatomy, Data, Part

Found = tuple[int, int, bytes]
"""From, to, and what stands there instead."""

GPS_POINTER = 0x8825
MAX_DIRECTORIES = 4  # picture and preview; more is a loop
ENTRY_BYTES = 12
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # by TIFF's field type
EXIF_HEAD, XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
LONG_XMP_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
PNG_XMP, GIF_XMP = b"XML:com.adobe.xmp\0", b"\x0bXMP DataXMP"
RAW_PROFILE = re.compile(rb"Raw profile type (?:exif|APP1|xmp)\0")  # ImageMagick's own way, in hex
MAX_TEXT_BYTES = 1024 * 1024  # Pillow reads no longer text either
PLACE = rb"[\w.-]+:(?:GPS\w+|Location(?:Created|Shown)?|City|State|Country|CountryCode)"
IN_XMP = re.compile(
    rb"\b" + PLACE + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<(" + PLACE + rb")\b[^>]*?(?:/>|(?<!/)>.*?</\1\s*>)",
    re.DOTALL,
)


def edits(data: Data, anatomy: Anatomy, extension: str) -> list[Found]:
    """What to put in place of what, in the order of the file."""
    return [found for part in anatomy.parts for found in FINDERS[extension](data, part)]


def blanked(xmp: bytes) -> bytes:
    """An XMP packet with spaces where places stood; the length stays, as offsets elsewhere count on it."""
    return IN_XMP.sub(lambda place: b" " * len(place[0]), xmp)


def without_gps(tiff: bytes) -> bytes:
    """An EXIF block without its GPS directory, of the same length; what cannot be read is left as it is."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return tiff
    order, block = ("<" if tiff[:2] == b"II" else ">"), bytearray(tiff)
    (directory,) = struct.unpack_from(order + "I", block, 4) if len(block) >= 8 else (0,)  # noqa: PLR2004 - the head
    for _ in range(MAX_DIRECTORIES):
        if not directory or directory + 2 > len(block):
            break
        directory = _cleared(block, directory, order)
    return bytes(block)


def _cleared(block: bytearray, at: int, order: str) -> int:
    """Take the pointer to the GPS out of one directory, and wipe what it points to; where the next directory is."""
    (count,) = struct.unpack_from(order + "H", block, at)
    end = at + 2 + count * ENTRY_BYTES
    if end + 4 > len(block):
        return 0
    entries = [bytes(block[start : start + ENTRY_BYTES]) for start in range(at + 2, end, ENTRY_BYTES)]
    following = bytes(block[end : end + 4])
    kept = [entry for entry in entries if struct.unpack(order + "H", entry[:2])[0] != GPS_POINTER]
    for entry in entries:
        if entry not in kept:
            _wipe(block, struct.unpack(order + "I", entry[8:])[0], order)
    if len(kept) < len(entries):
        new = struct.pack(order + "H", len(kept)) + b"".join(kept) + following
        block[at : end + 4] = new.ljust(end + 4 - at, b"\0")
    return int(struct.unpack(order + "I", following)[0])


def _wipe(block: bytearray, at: int, order: str) -> None:
    """Fill a directory and all it points to with zeros."""
    if at + 2 > len(block):
        return
    (count,) = struct.unpack_from(order + "H", block, at)
    end = min(at + 2 + count * ENTRY_BYTES, len(block) - ENTRY_BYTES + 1)
    for start in range(at + 2, end, ENTRY_BYTES):
        kind, length, place = struct.unpack_from(order + "2xHII", block, start)
        size = min(TYPE_BYTES.get(kind, 1) * length, max(0, len(block) - place))
        if size > 4:  # noqa: PLR2004 - shorter values stand in the entry itself
            block[place : place + size] = bytes(size)
    whole = min(2 + count * ENTRY_BYTES, len(block) - at)
    block[at : at + whole] = bytes(whole)


def _changed(data: Data, start: int, stop: int, clean: Callable[[bytes], bytes]) -> Iterator[Found]:
    before = bytes(data[start:stop])
    after = clean(before)
    if after != before:
        yield start, stop, after


def _in_jpeg(data: Data, part: Part) -> Iterator[Found]:
    if part.kind != b"\xe1":
        return
    for head, clean, skip in ((EXIF_HEAD, without_gps, 0), (XMP_HEAD, blanked, 0), (LONG_XMP_HEAD, blanked, 40)):
        if data[part.body : part.body + len(head)] == head:
            yield from _changed(data, part.body + len(head) + skip, part.stop, clean)


def _in_webp(data: Data, part: Part) -> Iterator[Found]:
    if part.kind == b"EXIF":
        skip = len(EXIF_HEAD) if data[part.body : part.body + len(EXIF_HEAD)] == EXIF_HEAD else 0
        yield from _changed(data, part.body + skip, part.stop, without_gps)
    elif part.kind == b"XMP ":
        yield from _changed(data, part.body, part.stop, blanked)


def _in_gif(data: Data, part: Part) -> Iterator[Found]:
    if part.kind == b"!" and data[part.body : part.body + len(GIF_XMP)] == GIF_XMP:
        yield from _changed(data, part.body + len(GIF_XMP), part.stop, blanked)


def _in_png(data: Data, part: Part) -> Iterator[Found]:
    if part.kind not in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
        return
    before = bytes(data[part.body : part.stop])
    after = without_gps(before) if part.kind == b"eXIf" else _clean_text(part.kind, before)
    if after != before:
        yield part.start, part.end, _chunk(part.kind, after) if after else b""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _clean_text(kind: bytes, body: bytes) -> bytes:
    """A text chunk without places; empty when nothing of it should stay."""
    if kind == b"iTXt" and body.startswith(PNG_XMP):
        return _clean_itxt(body)
    keyword = RAW_PROFILE.match(body)
    if not keyword or kind == b"iTXt":
        return body
    text = inflated(body[keyword.end() + 1 :]) if kind == b"zTXt" else body[keyword.end() :]
    profile = _unhexed(text)
    tiff = profile.removeprefix(EXIF_HEAD)
    return b"" if without_gps(tiff) != tiff or blanked(profile) != profile else body


def _clean_itxt(body: bytes) -> bytes:
    """An XMP chunk with blanks for places; one that was packed is left unpacked."""
    packed, rest = body[len(PNG_XMP) : len(PNG_XMP) + 1] == b"\1", body[len(PNG_XMP) + 2 :]
    language, _, rest = rest.partition(b"\0")
    keyword, _, text = rest.partition(b"\0")
    before = inflated(text) if packed else text
    after = blanked(before)
    return body if after == before else PNG_XMP + b"\0\0" + language + b"\0" + keyword + b"\0" + after


def inflated(packed: bytes) -> bytes:
    """Unpack a text, up to the longest that anyone reads."""
    try:
        return zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def _unhexed(text: bytes) -> bytes:
    """The bytes of a raw profile: a name, a length, then hex over many lines."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


FINDERS: dict[str, Callable[[Data, Part], Iterator[Found]]] = {
    "png": _in_png,
    "jpg": _in_jpeg,
    "webp": _in_webp,
    "gif": _in_gif,
}
