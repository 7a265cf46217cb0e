"""Who the community asks: generation for pictures, storage for bytes."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.community.model import Refused, Request, Told, Unclear, Unread


class Generations(Protocol):
    """Who makes pictures."""

    async def place(
        self, request: Request, request_id: str, quota_subjects: Sequence[str] = ()
    ) -> Told | Refused | Unclear:
        """Order a picture, counted for these. However often one request_id is placed, it is made and billed once."""

    async def look(self, generation_id: str) -> Told | Unclear:
        """How a generation stands; FAILED when there is none of this id."""

    async def find(self, request_id: str) -> Told | Unclear | None:
        """How the generation stands that a request has made; None when it has made none."""

    async def forget(self, generation_id: str) -> None:
        """Have prompt and input pictures removed; one that is not there is forgotten.

        Raises:
            Unavailable: generation is away, or still needs them.
        """

    def events(self, after: int) -> AsyncIterator[Told | Unread]:
        """What becomes of generations, in order, from behind a sequence on, for ever; at least once.

        Raises:
            Unavailable: generation is away.
        """


class Objects(Protocol):
    """Who keeps bytes."""

    async def keep(self, uri: str, name: str) -> str:
        """Copy what a URL names, and return its key; a file of ours is not copied. Twice the same gives the same key.

        Raises:
            InvalidArgument, NotFound: there is no picture at this URL, or it may not be opened.
            Unavailable: it cannot be had at the moment.
        """

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed. Raises Unavailable."""
