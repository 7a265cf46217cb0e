"""Pictures whose metadata makes a careless reader work for minutes: each is small, and each is read in a moment."""

import struct
import zlib
from collections.abc import Callable

from tests.storage.media.builders import gradient, saved, with_chunk, with_riff

Maker = Callable[[], tuple[str, bytes]]
KIB = 1024


def xmp(text: bytes) -> Maker:
    """A WebP with a text for XMP."""
    return lambda: ("webp", with_riff(saved(gradient(30, 20), "webp"), b"XMP ", text, 0x04))


def exif(block: bytes) -> Maker:
    """A WebP with a block for EXIF."""
    return lambda: ("webp", with_riff(saved(gradient(30, 20), "webp"), b"EXIF", block, 0x08))


def text(kind: bytes, body: bytes, count: int = 1) -> Maker:
    """A PNG with text chunks."""

    def made() -> tuple[str, bytes]:
        whole = saved(gradient(30, 20), "png")
        for _ in range(count):
            whole = with_chunk(whole, kind, body)
        return "png", whole

    return made


def directories(count: int) -> bytes:
    """Directories that lie over each other, each with as many entries as it can say, each leading to the next."""
    block = bytearray(b"II*\0" + struct.pack("<I", 8) + bytes(900 * KIB))
    for number in range(count):
        at = 8 + 14 * number
        struct.pack_into("<H", block, at, 0xFFFF)
        struct.pack_into("<HHII", block, at + 2, 0x8769, 4, 1, at + 14)
    return bytes(block)


PACKET = zlib.compress(b"<a b='c'/>" * 100 * KIB)
COSTLY: dict[str, Maker] = {
    "elements-that-never-close": xmp(b"<a:City>" * 5 * KIB),
    "tags-that-never-end": xmp(b"<a:City " * 5 * KIB),
    "tags-within-tags": xmp(b"<a:City>" * 20 * KIB + b"</b:City>" * 20 * KIB),
    "a-name-of-a-megabyte": xmp(b"<x " + b"a" * 1024 * KIB + b"<"),
    "a-name-with-many-prefixes": xmp(b"<x " + b"a:" * 512 * KIB + b">"),
    "spaces": xmp(b"<x a" + b" " * 1024 * KIB + b"<x a:City" + b" " * 1024 * KIB),
    "quotes-that-never-close": xmp(b"<x a='" * 40 * KIB),
    "quotes-of-both-kinds": xmp(b"<x " + b"a='\"" * 200 * KIB),
    "equals": xmp(b"<x " + b"=" * 1024 * KIB + b">"),
    "zeros": xmp(b"<\0" * 200 * KIB),
    "raw-profile-of-spaces": text(b"tEXt", b"Raw profile type exif\0" + b" " * 1024 * KIB),
    "raw-profile-of-words": text(b"tEXt", b"Raw profile type exif\0" + b"a " * 512 * KIB),
    "gif-of-one-byte-blocks": lambda: (
        "gif",
        saved(gradient(30, 20), "gif")[:-1] + b"!\xfe" + b"\1x" * 500 * KIB + b"\0;",
    ),
    "jpeg-of-fill-bytes": lambda: ("jpg", saved(gradient(30, 20), "jpg")[:-2] + b"\xff" * 4096 * KIB + b"\xd9"),
}
"""Within the bounds: they pass."""

ENDLESS: dict[str, Maker] = {
    "six-hundred-thousand-tags": xmp(b"<a/>" * 600 * KIB),
    "attributes": xmp(b"<x " + b'a="" ' * 600 * KIB + b">"),
    "many-packed-texts": text(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + PACKET, 30),
    "directories-over-each-other": exif(directories(60)),
    "gif-of-a-million-blocks": lambda: (
        "gif",
        saved(gradient(30, 20), "gif")[:-1] + b"!\xfe" + b"\1x" * 1100 * KIB + b"\0;",
    ),
}
"""Beyond them."""
