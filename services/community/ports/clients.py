"""The ports to the two services that the community calls: generation and storage."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.community.model import GenerationStatus, Refused, Request, Unclear, UnreadableEvent


class Generations(Protocol):
    """The generation service."""

    async def place(
        self, request: Request, request_id: str, quota_subjects: Sequence[str] = ()
    ) -> GenerationStatus | Refused | Unclear:
        """Order a picture, counted for these quota subjects. A repeated request_id is made and billed once."""

    async def look(self, generation_id: str) -> GenerationStatus | Unclear:
        """The status of a generation; FAILED when there is none of this id."""

    async def find(self, request_id: str) -> GenerationStatus | Unclear | None:
        """The status of the generation that a request made; None when it made none."""

    async def forget(self, generation_id: str) -> None:
        """Have a generation's prompt and input pictures removed; an unknown one is fine.

        Raises:
            Unavailable: generation is unavailable, or still needs them.
        """

    def events(self, after: int) -> AsyncIterator[GenerationStatus | UnreadableEvent]:
        """The events of generations after a sequence, in order, endlessly; at least once.

        Raises:
            Unavailable: generation is unavailable.
        """


class Objects(Protocol):
    """The storage service."""

    async def keep(self, uri: str, name: str) -> str:
        """Copy the picture of a URL; returns its key, each time the same. An object of ours is not copied.

        Raises:
            InvalidArgument, NotFound: there is no picture at this URL, or the URL is not allowed.
            Unavailable: the picture cannot be fetched at the moment.
        """

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is fine. Raises Unavailable."""
