"""Fills drafts and judges them: not too large, not empty, and pictures that can be shown."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.chassis import failpoints
from services.chassis.errors import InvalidArgument
from services.storage.model import JPEG, Edit, Lane, PictureFacts, PictureType, StoredObject
from services.storage.ports import Backend, Draft, Studio
from services.storage.sniff import sniff

CHUNK_BYTES = 256 * 1024  # docs/storage.md#chunks


@dataclass(frozen=True)
class Picture:
    """A draft that proved to be a picture."""

    draft: Draft
    kind: PictureType
    facts: PictureFacts

    def described(self, new: StoredObject) -> StoredObject:
        """The row with what was seen."""
        facts = self.facts
        return replace(new, width=facts.width, height=facts.height, thumb_hash=facts.thumb_hash)


class Intake:
    """Looks at what comes in, wherever it comes from."""

    def __init__(self, backend: Backend, studio: Studio) -> None:
        self._backend = backend
        self._studio = studio

    async def judged(self, draft: Draft, lane: Lane = Lane.RESULTS) -> Picture:
        """Decode a complete draft. Its bytes stay as they are: results are kept as they were made.

        Raises:
            InvalidArgument: EMPTY_FILE, INVALID_IMAGE or IMAGE_TOO_LARGE.
            Unavailable: STUDIO_BUSY.
        """
        kind = type_of(draft)
        return Picture(draft, kind, await self._studio.inspect(draft.path, kind, lane))

    async def undisguised(self, draft: Draft) -> Picture:
        """Judge what a client chose, and refuse what hangs behind a picture's end: another file in disguise.

        Only JPEGs may have something there: phones hang previews and films behind them.

        Raises:
            InvalidArgument, Unavailable: as judged.
        """
        picture = await self.judged(draft, Lane.CLIENTS)
        if picture.facts.rest and picture.kind != JPEG:
            raise InvalidArgument("Something else hangs behind the picture's end. Save it anew.", "INVALID_IMAGE")
        return picture

    @asynccontextmanager
    async def cleaned(self, draft: Draft) -> AsyncIterator[Picture]:
        """Judge what a client brings, and take out where it was taken; without such a trace its bytes stay too.

        A film behind a JPEG may tell the place as well, so it goes.

        Raises:
            InvalidArgument, Unavailable: as judged.
        """
        picture = await self.undisguised(draft)
        if not picture.facts.edits and not picture.facts.rest:
            yield picture
            return
        edits, end = picture.facts.edits, draft.size - picture.facts.rest
        cleaned_size = end + sum(len(edit.new) - (edit.stop - edit.start) for edit in edits)
        async with self._backend.draft() as clean:
            await pour(edited(draft.path, edits, end), clean, cleaned_size)
            yield replace(picture, draft=clean)


async def edited(path: Path, edits: Iterable[Edit], end: int) -> AsyncIterator[bytes]:
    """A file up to an end, with other bytes in some places."""
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


async def pour(chunks: AsyncIterator[bytes], draft: Draft, max_bytes: int) -> None:
    """Write a stream into a draft.

    Raises:
        InvalidArgument: FILE_TOO_LARGE, the stream is longer than max_bytes.
    """
    async for chunk in chunks:
        if draft.size + len(chunk) > max_bytes:
            raise too_large(max_bytes)
        await draft.write(chunk)
        await failpoints.reach("download.mid")


def too_large(max_bytes: int) -> InvalidArgument:
    """The refusal of a file beyond the limit."""
    sentence = f"The file is larger than {max_bytes} bytes. Send a smaller one."
    return InvalidArgument(sentence, "FILE_TOO_LARGE", metadata={"max_bytes": str(max_bytes)})


def type_of(draft: Draft) -> PictureType:
    """The type of a complete draft.

    Raises:
        InvalidArgument: EMPTY_FILE or INVALID_IMAGE.
    """
    if not draft.size:
        raise InvalidArgument("The file is empty. Send a picture.", "EMPTY_FILE")
    if kind := sniff(draft.head):
        return kind
    raise InvalidArgument("The file is not a PNG, JPEG, WebP or GIF picture.", "INVALID_IMAGE")
