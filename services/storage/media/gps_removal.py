"""Computes the edits that remove GPS and other location data from a picture and touch nothing else.

Each format embeds the same few blocks in its own way: EXIF, XMP, IPTC-IIM and Content Credentials.
Sources: ITU T.81 and Adobe XMP part 3 for segments and chunks, C2PA 2.1 for where manifests lie.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

from services.storage.media.format_parser import Data, ParsedFile, Part
from services.storage.media.metadata_blocks import (
    Budget,
    clean_exif,
    clean_iptc,
    clean_photoshop,
    clean_xmp,
    names_place,
)

Found = tuple[int, int, bytes]
"""Start, stop and the new bytes of an edit."""
Clean = Callable[[bytes, Budget], bytes]

APP1, APP3, APP5, APP6, APP11, APP13 = b"\xe1", b"\xe3", b"\xe5", b"\xe6", b"\xeb", b"\xed"
EXIF_HEAD = b"Exif\0\0"
EXIF_LIKE = (b"Exif\0", b"exif\0", b"Meta\0", b"META\0")  # of cameras and of Kodak; a byte of any value follows
EXIF_LIKE_BYTES = 6
LONG_XMP_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
LONG_XMP_NAME, LONG_XMP_BYTES = slice(35, 67), 75  # which packet a stretch belongs to; all that is before the stretch
PHOTOSHOP_HEAD = b"Photoshop 3.0\0"
# Vendor formats that may hold a location and that we do not parse: such a segment is removed whole.
PRIVATE = ((APP1, b"FLIR\0"), (APP1, b"PARROT\0"), (APP5, b"RMETA\0"), (APP6, b"GoPro\0"))
PLACE_IN_MANIFEST = re.compile(rb"gps(?:latitude|longitude|position|coordinates)|\"latitude", re.IGNORECASE)
XMP_KEYWORD, GIF_XMP, GIF_XMP_END = b"XML:com.adobe.xmp", b"\x0bXMP DataXMP", b"\x01\xff\xfe\xfd"
RAW_PROFILE = b"raw profile type "  # ImageMagick's own way, in hex
MAX_KEYWORD_BYTES = 79


def edits(data: Data, parsed: ParsedFile, extension: str) -> list[Found]:
    """The edits of a file, in order.

    Raises:
        TooManyError: the metadata has more parts than that of any honest picture.
    """
    budget = Budget()
    found = sorted(FINDERS[extension](data, parsed.parts, budget))
    budget.step(len(found))
    return found


def _changed(data: Data, start: int, stop: int, clean: Clean, budget: Budget) -> Iterator[Found]:
    yield from _joined(data, [(start, stop)], clean, budget)


def _joined(data: Data, spans: Sequence[tuple[int, int]], clean: Clean, budget: Budget) -> Iterator[Found]:
    """The edits of one text that is split into several spans; cleaning keeps its length."""
    before = b"".join(bytes(data[start:stop]) for start, stop in spans)
    after = clean(before, budget)
    if after == before:
        return
    at = 0
    for start, stop in spans:
        piece = after[at : at + stop - start]
        if piece != before[at : at + stop - start]:
            yield start, stop, piece
        at += stop - start


def _in_jpeg(data: Data, parts: Sequence[Part], budget: Budget) -> Iterator[Found]:
    long_packets: dict[bytes, list[tuple[int, int]]] = {}
    resources: list[tuple[int, int]] = []
    for part in parts:
        head = bytes(data[part.body : min(part.stop, part.body + LONG_XMP_BYTES)])
        if any(part.kind == kind and head.startswith(private) for kind, private in PRIVATE):
            yield part.start, part.end, b""
        elif part.kind in (APP1, APP3) and head.startswith(EXIF_LIKE):
            yield from _changed(data, part.body + EXIF_LIKE_BYTES, part.stop, clean_exif, budget)
        elif part.kind == APP1 and head.startswith(LONG_XMP_HEAD) and len(head) == LONG_XMP_BYTES:
            long_packets.setdefault(head[LONG_XMP_NAME], []).append((part.body + LONG_XMP_BYTES, part.stop))
        elif part.kind == APP1:
            yield from _changed(data, part.body, part.stop, clean_xmp, budget)
        elif part.kind == APP13 and head.startswith(PHOTOSHOP_HEAD):
            resources.append((part.body + len(PHOTOSHOP_HEAD), part.stop))
    for spans in long_packets.values():
        yield from _joined(data, spans, clean_xmp, budget)
    yield from _joined(data, resources, clean_photoshop, budget)
    yield from _manifests(data, [part for part in parts if part.kind == APP11])


def _manifests(data: Data, parts: Sequence[Part]) -> Iterator[Found]:
    """Content Credentials with a location are removed whole: they are signed, and an edit would break the signature."""
    joined = b"".join(bytes(data[part.body : part.stop]) for part in parts)
    if PLACE_IN_MANIFEST.search(joined):
        yield from ((part.start, part.end, b"") for part in parts)


def _in_webp(data: Data, parts: Sequence[Part], budget: Budget) -> Iterator[Found]:
    for part in parts:
        if part.kind == b"EXIF":
            skip = EXIF_LIKE_BYTES if data[part.body : part.body + 5] in EXIF_LIKE else 0
            yield from _changed(data, part.body + skip, part.stop, clean_exif, budget)
        elif part.kind in (b"XMP ", b"XMP\0"):
            yield from _changed(data, part.body, part.stop, clean_xmp, budget)
        elif part.kind == b"C2PA" and PLACE_IN_MANIFEST.search(data, part.body, part.stop):
            yield part.body, part.stop, bytes(part.stop - part.body)  # the lengths of the container stay as they are


def _in_gif(data: Data, parts: Sequence[Part], budget: Budget) -> Iterator[Found]:
    for part in parts:
        if part.kind == b"!" and data[part.body : part.body + len(GIF_XMP)] == GIF_XMP:
            start = part.body + len(GIF_XMP)
            trailer = data.find(GIF_XMP_END, start, part.end)  # lengths that lead any reader of blocks to the end
            yield from _changed(data, start, part.stop if trailer < 0 else trailer, clean_xmp, budget)


def _in_png(data: Data, parts: Sequence[Part], budget: Budget) -> Iterator[Found]:
    for part in parts:
        clean = PNG_CHUNKS.get(part.kind)
        if clean is None:
            continue
        before = bytes(data[part.body : part.stop])
        after = clean(before, budget)
        if after != before:
            yield part.start, part.end, _chunk(part.kind, after) if after else b""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_exif(body: bytes, budget: Budget) -> bytes:
    head = EXIF_HEAD if body.startswith(EXIF_HEAD) else b""
    return head + clean_exif(body.removeprefix(head), budget)


def _png_text(body: bytes, budget: Budget) -> bytes:
    keyword, _, text = _keyed(body)
    return _clean_text(keyword, body, lambda: text, budget)


def _png_packed_text(body: bytes, budget: Budget) -> bytes:
    keyword, _, text = _keyed(body)
    if keyword.lower() == XMP_KEYWORD.lower():
        after = _repacked(text[1:], budget)
        return b"" if after is None else keyword + b"\0" + text[:1] + after
    return _clean_text(keyword, body, lambda: inflated(text[1:], budget), budget)


def _clean_text(keyword: bytes, body: bytes, text: Callable[[], bytes | None], budget: Budget) -> bytes:
    """A text chunk; empty when it holds a location, or is too long to be checked."""
    if names_place(keyword):
        return b""
    if keyword.lower() == XMP_KEYWORD.lower():
        return body[: len(keyword) + 1] + clean_xmp(body[len(keyword) + 1 :], budget)
    if not keyword.lower().startswith(RAW_PROFILE):
        return body
    shown = text()
    if shown is None:
        return b""
    profile = _unhexed(shown, budget)
    block = profile.removeprefix(EXIF_HEAD).removeprefix(PHOTOSHOP_HEAD)
    cleaners = (clean_exif, clean_xmp, clean_photoshop, clean_iptc)  # each leaves what is not of its kind
    return body if all(clean(block, budget) == block for clean in cleaners) else b""


def _png_international_text(body: bytes, budget: Budget) -> bytes:
    """An iTXt chunk, compressed or not; an XMP packet stays compressed as it was."""
    keyword, _, rest = _keyed(body)
    if names_place(keyword):
        return b""
    if keyword.lower() != XMP_KEYWORD.lower():
        return body
    ends = [at for at, sign in enumerate(rest[2 : 2 + 2 * MAX_KEYWORD_BYTES]) if not sign][:2]
    if len(ends) < 2:  # noqa: PLR2004 - one behind the language, one behind the translated keyword
        return body
    start = len(keyword) + 1 + 2 + ends[1] + 1
    head, text = body[:start], body[start:]
    if rest[:1] != b"\1":
        return head + clean_xmp(text, budget)
    after = _repacked(text, budget)
    return b"" if after is None else head + after


def _keyed(body: bytes) -> tuple[bytes, bytes, bytes]:
    end = body.find(b"\0", 0, MAX_KEYWORD_BYTES + 1)
    return (body[:end], b"\0", body[end + 1 :]) if end >= 0 else (body[:MAX_KEYWORD_BYTES], b"", b"")


def _repacked(packed: bytes, budget: Budget) -> bytes | None:
    """A compressed packet without locations; unchanged when it has none, None when it is too long to be checked."""
    before = inflated(packed, budget)
    if before is None:
        return None
    after = clean_xmp(before, budget)
    return packed if after == before else zlib.compress(after)


def inflated(packed: bytes, budget: Budget) -> bytes | None:
    """Decompress a text; None when it exceeds the remaining budget of the file, empty when it is damaged."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, budget.text_bytes + 1)
    except zlib.error:
        return b""
    if len(text) > budget.text_bytes:
        return None
    budget.unpacked(len(text))
    return text


def _unhexed(text: bytes, budget: Budget) -> bytes:
    """The bytes of a raw profile: a line of a name, one of a length, then hex over many."""
    parts = text.lstrip().split(b"\n", 2)
    digits = b"".join(parts[2:]).translate(None, b" \n\r\t\v\f")
    budget.unpacked(len(digits))
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


PNG_CHUNKS: dict[bytes, Clean] = {
    b"eXIf": _png_exif,
    b"tEXt": _png_text,
    b"zTXt": _png_packed_text,
    b"iTXt": _png_international_text,
    b"caBX": lambda body, _: b"" if PLACE_IN_MANIFEST.search(body) else body,
}
FINDERS: dict[str, Callable[[Data, Sequence[Part], Budget], Iterator[Found]]] = {
    "png": _in_png,
    "jpg": _in_jpeg,
    "webp": _in_webp,
    "gif": _in_gif,
}
