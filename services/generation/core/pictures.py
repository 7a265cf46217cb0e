"""Refuses strangers' URLs that do not lead to the public internet: the provider would fetch them on our word."""

import asyncio
from collections.abc import Sequence

from services.chassis.files import PublicFiles
from services.chassis.outbound import require_public
from services.generation.ports import Archive

FIELD = "image_uris"


class Pictures:
    """Judges URLs of pictures; our own files always pass, and so do the exempt host:port pairs in `allowed`."""

    def __init__(self, files: PublicFiles, archive: Archive, allowed: frozenset[str] = frozenset()) -> None:
        self._files = files
        self._archive = archive
        self._allowed = allowed

    def require_public(self, uri: str, field: str) -> None:
        """Judge a URL by its form alone.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """
        if not self._files.key(uri):
            require_public(uri, self._allowed, field)

    async def check(self, uris: Sequence[str]) -> None:
        """Judge pictures to start from, which the provider will fetch: by form, then by what their names stand for.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            Unavailable: storage, which alone looks names up, is away.
        """
        for uri in uris:
            self.require_public(uri, FIELD)
        foreign = [uri for uri in uris if not self._files.key(uri)]
        await asyncio.gather(*map(self._archive.check, foreign))
