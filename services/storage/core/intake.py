"""Fills drafts and judges them: not too large, not empty, and a picture by its own bytes."""

from collections.abc import AsyncIterator

from services.chassis import failpoints
from services.chassis.errors import InvalidArgument
from services.storage.model import PictureType
from services.storage.ports import Draft
from services.storage.sniff import sniff


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
