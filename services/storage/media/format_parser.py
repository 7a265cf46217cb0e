"""Parses the container format of a picture without decoding it: its parts, its frames and where it ends.

Sources: PNG (W3C, third edition), JPEG (ITU T.81 annex B), GIF89a, and the WebP container (RFC 9649).
"""

import re
import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from mmap import mmap

Data = bytes | mmap

MAX_PARTS = 50_000  # thirteen times what 30 MiB of the usual 8 KiB chunks need
MAX_BLOCKS = 1_000_000  # of a GIF, which are up to 255 bytes long: eight times what 30 MiB need; half a second
PNG_HEAD, GIF_HEAD, RIFF_HEAD = 8, 13, 12
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
ALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # after entropy-coded data
FILLING = re.compile(rb"\x00*+")
FILL_BYTES = re.compile(rb"\xff*+")  # as many as a writer likes, before a marker


class DamagedError(Exception):
    """The format is violated: a length leads out of the file, or the end is missing."""


class TooManyError(Exception):
    """The file has more parts than that of any honest picture."""


@dataclass(frozen=True)
class Part:
    """A chunk, segment or block from `start` to `end`, its content from `body` to `stop`; `kind` as in the format."""

    kind: bytes
    start: int
    body: int
    stop: int
    end: int


@dataclass(frozen=True)
class ParsedFile:
    """The parts of a file, its number of frames, and where the picture ends."""

    parts: tuple[Part, ...]
    frames: int
    end: int


def parse(data: Data, extension: str) -> ParsedFile:
    """Parse a file of a known type.

    Raises:
        DamagedError: the format is violated.
        TooManyError: the file has more than MAX_PARTS parts.
    """
    walk, frames_of = FORMATS[extension]
    parts: list[Part] = []
    for part in walk(data):
        _require(part.end <= len(data))
        parts.append(part)
        if len(parts) > MAX_PARTS:
            raise TooManyError
    return ParsedFile(tuple(parts), frames_of(data, parts), parts[-1].end if parts else 0)


def _require(fact: bool) -> None:  # noqa: FBT001 - reads as the sentence it is
    if not fact:
        raise DamagedError


def _unpack(form: str, data: Data, at: int) -> int:
    size = struct.calcsize(form)
    _require(at + size <= len(data))
    return int(struct.unpack(form, data[at : at + size])[0])


def _png(data: Data) -> Iterator[Part]:
    at, kind = PNG_HEAD, b""
    while kind != b"IEND":
        size = _unpack(">I", data, at)
        kind, body = bytes(data[at + 4 : at + 8]), at + 8
        yield Part(kind, at, body, body + size, body + size + 4)
        at = body + size + 4


def _png_frames(data: Data, parts: list[Part]) -> int:
    return next((_unpack(">I", data, part.body) for part in parts if part.kind == b"acTL"), 1)


def _webp(data: Data) -> Iterator[Part]:
    at, end = RIFF_HEAD, 8 + _unpack("<I", data, 4)
    _require(RIFF_HEAD < end <= len(data))
    while at < end:
        size = _unpack("<I", data, at + 4)
        body, stop = at + 8, at + 8 + size
        _require(stop <= end)
        kind, start, at = bytes(data[at : at + 4]), at, stop + size % 2
        yield Part(kind, start, body, stop, min(at, len(data)))


def _webp_frames(_data: Data, parts: list[Part]) -> int:
    return sum(part.kind == b"ANMF" for part in parts) or 1


def _jpeg(data: Data) -> Iterator[Part]:
    """The segments of a JPEG and of the JPEGs behind it: cameras append previews and gain maps."""
    at = 0
    while True:
        at = yield from _one_jpeg(data, at)
        following = FILLING.match(data, at)
        _require(following is not None)
        if following is None or data[following.end() : following.end() + 3] != b"\xff\xd8\xff":
            return
        at = following.end()


def _one_jpeg(data: Data, at: int) -> Generator[Part, None, int]:
    marker = 0
    while marker != EOI:
        _require(data[at : at + 1] == b"\xff")
        fill = FILL_BYTES.match(data, at)
        at = fill.end() - 1 if fill else at
        marker = _unpack(">B", data, at + 1)
        alone = marker in ALONE or marker in {SOI, EOI}
        end = at + 2 if alone else at + 2 + _unpack(">H", data, at + 2)
        if marker == SOS:
            coded = NEXT_MARKER.search(data, end)
            _require(coded is not None)
            end = coded.start() if coded else end
        yield Part(bytes([marker]), at, min(at + 4, end), end, end)
        at = end
    return at


def _jpeg_frames(_data: Data, _parts: list[Part]) -> int:
    return 1


def _gif(data: Data) -> Iterator[Part]:
    at, blocks = GIF_HEAD + _table(data, 10), iter(range(MAX_BLOCKS))
    while (kind := bytes(data[at : at + 1])) != b";":
        if kind == b",":
            body = at + 10 + _table(data, at + 9) + 1
        else:
            _require(kind == b"!")
            body = at + 2
        end = _blocks_end(data, body, blocks)
        yield Part(kind, at, body, end - 1, end)
        at = end
    yield Part(kind, at, at + 1, at + 1, at + 1)


def _table(data: Data, flags_at: int) -> int:
    """Bytes of a colour table that a GIF's flags announce."""
    flags = _unpack(">B", data, flags_at)
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks_end(data: Data, at: int, left: Iterator[int]) -> int:
    """The end of a chain of blocks; `left` is the number of blocks that the file may still have."""
    length = len(data)
    for _ in left:
        _require(at < length)
        size = data[at]
        if not size:
            return at + 1
        at += size + 1
    raise TooManyError


def _gif_frames(_data: Data, parts: list[Part]) -> int:
    return sum(part.kind == b"," for part in parts)


FORMATS: dict[str, tuple[Callable[[Data], Iterator[Part]], Callable[[Data, list[Part]], int]]] = {
    "png": (_png, _png_frames),
    "jpg": (_jpeg, _jpeg_frames),
    "webp": (_webp, _webp_frames),
    "gif": (_gif, _gif_frames),
}
