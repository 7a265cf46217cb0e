"""Inspects incoming files: their size, their type from the bytes, whether they decode; and removes GPS data."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.chassis import failpoints
from services.chassis.errors import InvalidArgument
from services.storage.model import GIF, JPEG, PNG, WEBP, Edit, Lane, PictureFacts, PictureType, StoredObject
from services.storage.ports import CHUNK_BYTES, Backend, DecoderPool, Spool


@dataclass(frozen=True)
class Picture:
    """A spooled file that was inspected and is a picture."""

    spool: Spool
    kind: PictureType
    facts: PictureFacts

    def described(self, new: StoredObject) -> StoredObject:
        """The row with width, height and ThumbHash filled in."""
        facts = self.facts
        return replace(new, width=facts.width, height=facts.height, thumb_hash=facts.thumb_hash)


class Inspection:
    """Inspects uploads, imports and results."""

    def __init__(self, backend: Backend, decoder: DecoderPool) -> None:
        self._backend = backend
        self._decoder = decoder

    async def inspected(self, spool: Spool, lane: Lane = Lane.RESULTS) -> Picture:
        """Inspect a complete spool. Its bytes stay as they are: results are kept as they were made.

        Raises:
            InvalidArgument: EMPTY_FILE, INVALID_IMAGE or IMAGE_TOO_LARGE.
            Unavailable: STUDIO_BUSY.
        """
        kind = type_of(spool)
        return Picture(spool, kind, await self._decoder.inspect(spool.path, kind, lane))

    async def inspected_upload(self, spool: Spool) -> Picture:
        """Inspect a client's file, and refuse bytes behind the picture's end, which may be another file (a polyglot).

        Only JPEGs may have trailing bytes: phones append previews and films.

        Raises:
            InvalidArgument, Unavailable: as `inspected`.
        """
        picture = await self.inspected(spool, Lane.CLIENTS)
        if picture.facts.rest and picture.kind != JPEG:
            raise InvalidArgument("Something else hangs behind the picture's end. Save it anew.", "INVALID_IMAGE")
        return picture

    @asynccontextmanager
    async def without_gps(self, spool: Spool) -> AsyncIterator[Picture]:
        """Inspect a client's file and remove its GPS data; a file without any keeps its bytes.

        Trailing bytes of a JPEG, which may hold GPS data too, are removed.

        Raises:
            InvalidArgument, Unavailable: as `inspected`.
        """
        picture = await self.inspected_upload(spool)
        if not picture.facts.edits and not picture.facts.rest:
            yield picture
            return
        edits, end = picture.facts.edits, spool.size - picture.facts.rest
        cleaned_size = end + sum(len(edit.new) - (edit.stop - edit.start) for edit in edits)
        async with self._backend.spool() as clean:
            await spool_all(with_edits(spool.path, edits, end), clean, cleaned_size)
            yield replace(picture, spool=clean)


async def with_edits(path: Path, edits: Iterable[Edit], end: int) -> AsyncIterator[bytes]:
    """The bytes of a file up to `end`, with the edits applied."""
    at = 0
    with path.open("rb") as file:
        for edit in [*edits, Edit(end, end, b"")]:
            file.seek(at)
            while at < edit.start:
                chunk = await asyncio.to_thread(file.read, min(CHUNK_BYTES, edit.start - at))
                at += len(chunk)
                yield chunk
            yield edit.new
            at = edit.stop


async def spool_all(chunks: AsyncIterator[bytes], spool: Spool, max_bytes: int) -> None:
    """Write a stream into a spool.

    Raises:
        InvalidArgument: FILE_TOO_LARGE, the stream is longer than max_bytes.
    """
    async for chunk in chunks:
        if spool.size + len(chunk) > max_bytes:
            raise too_large(max_bytes)
        await spool.write(chunk)
        await failpoints.reach("download.mid")


def too_large(max_bytes: int) -> InvalidArgument:
    """The error of a file beyond the limit."""
    sentence = f"The file is larger than {max_bytes} bytes. Send a smaller one."
    return InvalidArgument(sentence, "FILE_TOO_LARGE", metadata={"max_bytes": str(max_bytes)})


def type_of(spool: Spool) -> PictureType:
    """The type of a complete spool, from its first bytes.

    Raises:
        InvalidArgument: EMPTY_FILE or INVALID_IMAGE.
    """
    if not spool.size:
        raise InvalidArgument("The file is empty. Send a picture.", "EMPTY_FILE")
    if kind := sniff(spool.head):
        return kind
    raise InvalidArgument("The file is not a PNG, JPEG, WebP or GIF picture.", "INVALID_IMAGE")


def sniff(head: bytes) -> PictureType | None:
    """The type of a file that begins with these bytes; None when it is no supported picture.

    Names and declared types are not trusted.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return None
