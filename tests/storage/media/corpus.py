"""More than five hundred picture files: honest ones that must pass, hostile ones that must not, and lies."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tests.storage.media.builders import (
    EXIF_HEAD,
    PNG_HEAD,
    XMP,
    XMP_HEAD,
    animated,
    chunk,
    gif,
    gradient,
    png,
    saved,
    segment,
    tiff,
    webp,
    with_chunk,
    with_riff,
    with_segment,
)

OK, REFUSED, LARGE, EITHER = "ok", "INVALID_IMAGE", "IMAGE_TOO_LARGE", "either"
SIZES = ((1, 1), (2, 3), (17, 90), (300, 200), (1, 2500), (2500, 1))
MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "gif": ("L", "P"),
}
MAGIC = {"png": PNG_HEAD, "jpg": b"\xff\xd8\xff\xe0", "webp": b"RIFF\x40\0\0\0WEBPVP8 ", "gif": b"GIF89a"}
FOREIGN = {
    "html": b"<!doctype html><script>alert(1)</script>" * 9,
    "php": b"<?php system($_GET['c']); ?>" * 9,
    "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
    "zip": b"PK\x03\x04" + bytes(26) + b"a.txtPK\x05\x06" + bytes(18),
    "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF" * 3,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>" * 5,
    "tiff": tiff() * 3,
    "bmp": b"BM" + bytes(200),
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200),
    "avif": b"\0\0\0\x1cftypavif" + bytes(200),
    "fits": b"SIMPLE  =                    T" + b" " * 200,
    "ico": b"\0\0\1\0\1\0" + bytes(200),
    "psd": b"8BPS\0\1" + bytes(200),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" * 4,
    "text": b"nothing of a picture " * 12,
    "zeros": bytes(300),
}


@dataclass(frozen=True)
class Case:
    """A file, the type it claims, and what must become of it."""

    name: str
    extension: str
    content: bytes
    fate: str
    size: tuple[int, int] = (0, 0)


def crafted() -> Iterator[Case]:
    """All of them."""
    for family in (honest, described, wrong, truncated, bombs, lies):
        yield from family()


def honest() -> Iterator[Case]:
    """Every mode at sizes from a point to a line."""
    for extension, modes in MODES.items():
        for mode in modes:
            for width, height in SIZES:
                content = saved(gradient(width, height, mode), extension)
                yield Case(f"{mode}-{width}x{height}", extension, content, OK, (width, height))
        for frames in (2, 11):
            if extension != "jpg":
                yield Case(f"animated-{frames}", extension, animated(extension, frames), OK, (20, 10))


def described() -> Iterator[Case]:
    """With orientations, places and marks, which change neither the fate nor, unless turned, the size."""
    for orientation in range(1, 9):
        block = tiff(gps=orientation % 2 == 0, orientation=orientation)
        size = (20, 30) if orientation >= 5 else (30, 20)
        for extension, content in exif_carriers(block).items():
            yield Case(f"orientation-{orientation}", extension, content, OK, size)
    for order in "<>":
        for extension, content in exif_carriers(tiff(order)).items():
            yield Case(f"gps-{order}", extension, content, OK, (30, 20))
    for extension, content in xmp_carriers(XMP).items():
        yield Case("xmp", extension, content, OK, (30, 20))


def exif_carriers(block: bytes) -> dict[str, bytes]:
    """A picture of each type that can hold EXIF, with this block."""
    plain = {extension: saved(gradient(30, 20), extension) for extension in MODES}
    return {
        "jpg": with_segment(plain["jpg"], 0xE1, EXIF_HEAD + block),
        "png": with_chunk(plain["png"], b"eXIf", block),
        "webp": with_riff(plain["webp"], b"EXIF", block, 0x08),
    }


def xmp_carriers(packet: bytes) -> dict[str, bytes]:
    """A picture of each type, with this XMP."""
    plain = {extension: saved(gradient(30, 20), extension) for extension in MODES}
    ending = b"\1" + bytes(reversed(range(256))) + b"\0"
    return {
        "jpg": with_segment(plain["jpg"], 0xE1, XMP_HEAD + packet),
        "png": with_chunk(plain["png"], b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet),
        "webp": with_riff(plain["webp"], b"XMP ", packet, 0x04),
        "gif": plain["gif"][:-1] + b"!\xff\x0bXMP DataXMP" + packet + ending + b";",
    }


def wrong() -> Iterator[Case]:
    """Other files under a picture's name, bare and behind its first bytes."""
    for name, body in FOREIGN.items():
        for extension, magic in MAGIC.items():
            yield Case(f"{name}-bare", extension, body, REFUSED)
            yield Case(f"{name}-masked", extension, magic + body, REFUSED)


def polyglots() -> Iterator[Case]:
    """Whole pictures with another file behind them."""
    for name in ("html", "php", "elf", "zip", "pdf", "svg"):
        for extension in MODES:
            yield Case(name, extension, saved(gradient(30, 20), extension) + FOREIGN[name], OK)


def truncated() -> Iterator[Case]:
    """Cut anywhere, by one byte at the least."""
    for extension in MODES:
        for width, height in ((40, 30), (200, 150)):
            whole = saved(gradient(width, height), extension)
            for part in range(1, 20):
                length = len(whole) * part // 20
                yield Case(f"cut-{length}-of-{len(whole)}", extension, whole[:length], REFUSED)
            yield Case(f"without-its-last-byte-{width}", extension, whole[:-1], REFUSED)


def bombs() -> Iterator[Case]:
    """Small files that want much: pixels, frames, text or time."""
    yield from _large_pngs()
    yield from _large_headers()
    for frames in (1001, 10_000, 60_000):
        yield Case(f"frames-{frames}", "gif", gif(64, 64, frames), LARGE)
        yield Case(f"frames-{frames}", "webp", webp(64, 64, frames), LARGE)
        control = chunk(b"acTL", struct.pack(">II", frames, 0))
        yield Case(f"frames-{frames}", "png", png(64, 64, extra=control), LARGE)
    yield Case("few-frames-on-a-large-canvas", "gif", gif(8000, 6000, 5), LARGE)
    yield from _large_texts()


def _large_pngs() -> Iterator[Case]:
    yield Case("400-megapixels", "png", png(20_000, 20_000), LARGE)
    yield Case("81-megapixels-of-one-bit", "png", png(9_000, 9_000), LARGE)
    yield Case("50-megapixels", "png", png(10_000, 5_000), OK, (10_000, 5_000))
    for size in ((12_001, 1), (1, 12_001), (50_000, 1), (1, 50_000), (7_072, 7_072)):
        yield Case(f"{size[0]}x{size[1]}", "png", png(*size), LARGE)
    for size in ((12_000, 1), (1, 12_000)):
        yield Case(f"{size[0]}x{size[1]}", "png", png(*size), OK, size)


def _large_headers() -> Iterator[Case]:
    """Headers that declare what is not there."""
    whole = saved(gradient(30, 20), "jpg")
    frame = whole.index(b"\xff\xc0") + 5
    for height, width in ((65_500, 65_500), (12_001, 30), (7_100, 7_100)):
        lie = whole[:frame] + struct.pack(">HH", height, width) + whole[frame + 4 :]
        yield Case(f"declares-{width}x{height}", "jpg", lie, LARGE)
        yield Case(f"declares-{width}x{height}", "gif", gif(width, height, 1), LARGE)
    yield Case("declares-16000x16000", "webp", webp(16_000, 16_000, 1), LARGE)


def _large_texts() -> Iterator[Case]:
    """What unpacks to a hundred megabytes, or is long as it stands."""
    whole, zeros = saved(gradient(30, 20), "png"), zlib.compress(bytes(100_000_000), 9)
    for kind, head in (
        (b"zTXt", b"a\0\0"),
        (b"iCCP", b"a\0\0"),
        (b"iTXt", b"a\0\1\0\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
    ):
        yield Case(f"{kind.decode()}-bomb-{len(head)}", "png", with_chunk(whole, kind, head + zeros), EITHER)
    yield Case("many-bombs", "png", whole[:33] + chunk(b"zTXt", b"a\0\0" + zeros[:9000]) * 90 + whole[33:], EITHER)
    yield Case("long-exif", "png", with_chunk(whole, b"eXIf", tiff() + bytes(5_000_000)), EITHER)
    yield Case("many-parts", "png", whole[:33] + chunk(b"paRt", b"") * 60_000 + whole[33:], LARGE)
    jpeg = saved(gradient(30, 20), "jpg")
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 255]) + bytes(65_000)) for i in range(1, 200))
    yield Case("huge-icc", "jpg", jpeg[:2] + profile + jpeg[2:], EITHER)
    yield Case("many-comments", "jpg", jpeg[:2] + segment(0xFE, b"") * 60_000 + jpeg[2:], LARGE)
    yield Case("many-scans", "jpg", scans(600, 400, 400), EITHER)


def scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG that refines itself again and again: small, legal and slow, as libjpeg's authors warn."""
    whole = saved(gradient(width, height), "jpg", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def lies() -> Iterator[Case]:
    """Lengths, depths, types and sums that do not hold."""
    for depth in (0, 1, 2, 3, 4, 8, 16, 32):
        for colour in range(8):
            yield Case(f"depth-{depth}-colour-{colour}", "png", png(20, 10, depth, colour), EITHER)
    yield from _torn("png", saved(gradient(40, 30), "png"), _png_lengths)
    yield from _torn("jpg", saved(gradient(40, 30), "jpg"), _jpeg_lengths)
    yield from _torn("webp", animated("webp", 3), _webp_lengths)
    for flags in range(0, 256, 8):
        whole = gif(20, 10, 2)
        yield Case(f"flags-{flags}", "gif", whole[:10] + bytes([flags]) + whole[11:], EITHER)


def _torn(extension: str, whole: bytes, places: object) -> Iterator[Case]:
    assert callable(places)
    for at, form in places(whole):
        size = struct.calcsize(form)
        (true,) = struct.unpack(form, whole[at : at + size])
        largest = 2 ** (8 * size) - 1
        for value in {0, 1, max(0, true - 1), (true + 1) & largest, largest // 2, largest} - {true}:
            content = whole[:at] + struct.pack(form, value) + whole[at + size :]
            yield Case(f"length-at-{at}-is-{value}", extension, content, EITHER)


def _png_lengths(whole: bytes) -> Iterator[tuple[int, str]]:
    at = 8
    while at < len(whole):
        yield at, ">I"
        length = struct.unpack(">I", whole[at : at + 4])[0]
        yield at + 8 + length, ">I"
        at += 12 + length


def _jpeg_lengths(whole: bytes) -> Iterator[tuple[int, str]]:
    at = 2
    while whole[at + 1] != 0xDA:
        yield at + 2, ">H"
        at += 2 + struct.unpack(">H", whole[at + 2 : at + 4])[0]


def _webp_lengths(whole: bytes) -> Iterator[tuple[int, str]]:
    yield 4, "<I"
    at = 12
    while at < len(whole):
        yield at + 4, "<I"
        at += 8 + struct.unpack("<I", whole[at + 4 : at + 8])[0]


def seeds() -> list[tuple[str, bytes]]:
    """Small whole files of every kind, to be mutated."""
    found = [(extension, saved(gradient(24, 18, mode), extension)) for extension in MODES for mode in MODES[extension]]
    found += [(extension, animated(extension, 3)) for extension in ("png", "webp", "gif")]
    found += [*exif_carriers(tiff(orientation=6)).items(), *xmp_carriers(XMP).items()]
    found.append(("jpg", saved(gradient(40, 30), "jpg", progressive=True)))
    found.append(("webp", saved(gradient(24, 18, "RGBA"), "webp", lossless=True)))
    found.append(("gif", saved(Image.new("P", (16, 16)), "gif", transparency=0)))
    return found
