"""Builds picture files byte by byte, honest ones and such as no honest program writes."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
EXIF_HEAD = b"Exif\0\0"
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="35,40.5N"'
    b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    b' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia">'
    b"<exif:GPSLongitude>139,44.1E</exif:GPSLongitude>"
    b"<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li>Tokyo Tower</rdf:li></rdf:Bag></Iptc4xmpExt:LocationCreated>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
PLACES = (b"35,40.5N", b"139,44.1E", b"Tokyo Tower")


def saved(picture: Image.Image, extension: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    written = BytesIO()
    picture.save(written, {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}[extension], **options)
    return written.getvalue()


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture whose corners differ: red grows to the right, green downwards."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    colours = Image.merge("RGB", (across, down, Image.new("L", (width, height), 90)))
    if mode == "I;16":
        return across.convert("I").point(lambda value: value * 257).convert("I;16")
    if mode == "RGBA":
        colours.putalpha(across)
        return colours
    if mode == "LA":
        return Image.merge("LA", (across, down))
    return colours.convert(mode)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 1, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG that holds all the zeros its header declares."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return PNG_HEAD + chunk(b"IHDR", head) + extra + palette + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def with_chunk(whole: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return whole[:33] + chunk(kind, body) + whole[33:]


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(whole: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment in front."""
    return whole[:2] + segment(marker, body) + whole[2:]


def with_riff(whole: bytes, kind: bytes, body: bytes, flag: int = 0) -> bytes:
    """A WebP with one more chunk at its end, announced by a flag of its extended header."""
    width, height = Image.open(BytesIO(whole)).size
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    rest = whole[12:] if whole[12:16] != b"VP8X" else whole[30:]
    alpha = 0x10 if whole[12:16] == b"VP8L" else 0
    chunks = b"VP8X" + struct.pack("<I", 10) + bytes([flag | alpha, 0, 0, 0]) + canvas + rest
    chunks += kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def tiff(order: str = "<", *, gps: bool = True, orientation: int = 1) -> bytes:
    """An EXIF block: orientation, software, and a GPS directory with a place."""
    software = b"kawaii camera\0"
    entries = [(0x0112, 3, 1, struct.pack(order + "HH", orientation, 0)), (0x0131, 2, len(software), 0)]
    entries += [(0x8825, 4, 1, 1)] if gps else []
    head = 8 + 2 + 12 * len(entries) + 4
    places = {0x0131: head, 0x8825: head + len(software)}
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    block += struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        packed = value if isinstance(value, bytes) else struct.pack(order + "I", places[tag])
        block += struct.pack(order + "HHI", tag, kind, count) + packed
    block += bytes(4) + software
    return block + _gps(order, len(block)) if gps else block


def _gps(order: str, at: int) -> bytes:
    """Latitude and longitude; the numbers lie behind the entries."""
    behind = at + 2 + 12 * 4 + 4
    entries = struct.pack(order + "H", 4)
    entries += struct.pack(order + "HHI4s", 1, 2, 2, b"N\0\0\0") + struct.pack(order + "HHII", 2, 5, 3, behind)
    entries += struct.pack(order + "HHI4s", 3, 2, 2, b"E\0\0\0") + struct.pack(order + "HHII", 4, 5, 3, behind + 24)
    numbers = struct.pack(order + "12I", 35, 1, 40, 1, 30, 1, 139, 1, 44, 1, 6, 1)
    return entries + bytes(4) + numbers


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of tiny frames on a canvas."""
    frame = b",\0\0\0\0\x01\0\x01\0\0" + b"\x02\x02D\x01\0"
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + frame * frames + b";"


def webp(width: int, height: int, frames: int, frame: Image.Image | None = None) -> bytes:
    """A WebP that repeats one frame on a canvas, a tiny one unless given."""
    picture = frame or Image.new("RGB", (2, 2))
    body = b"".join(struct.pack("<I", side - 1)[:3] for side in picture.size) + b"\x0a\0\0\0"
    body = bytes(6) + body + saved(picture, "webp")[12:]
    repeated = b"ANMF" + struct.pack("<I", len(body)) + body
    canvas = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    chunks += repeated * frames
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def animated(extension: str, frames: int) -> bytes:
    """An honest animation."""
    pictures: Sequence[Image.Image] = [Image.new("RGB", (20, 10), (i, 255 - i, 7 * i % 256)) for i in range(frames)]
    return saved(pictures[0], extension, save_all=True, append_images=pictures[1:], duration=40)
