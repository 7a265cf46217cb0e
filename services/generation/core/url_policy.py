"""URL policy: refuses callers' URLs that do not lead to the public internet, since the provider would fetch them."""

import asyncio
from collections.abc import Sequence

from services.chassis.outbound import require_public
from services.chassis.public_files import PublicFiles
from services.generation.ports import ResultStorage

FIELD = "image_uris"


class UrlPolicy:
    """Checks URLs of pictures; our own files always pass, and so do the exempt host:port pairs in `allowed`."""

    def __init__(self, files: PublicFiles, storage: ResultStorage, allowed: frozenset[str] = frozenset()) -> None:
        self._files = files
        self._storage = storage
        self._allowed = allowed

    def require_public(self, uri: str, field: str) -> None:
        """Check a URL by its form alone.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """
        if not self._files.key(uri):
            require_public(uri, self._allowed, field)

    async def check(self, uris: Sequence[str]) -> None:
        """Check input pictures, which the provider will fetch: by their URLs' form, then by their hosts' addresses.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            Unavailable: storage, which resolves the names, is away.
        """
        for uri in uris:
            self.require_public(uri, FIELD)
        foreign = [uri for uri in uris if not self._files.key(uri)]
        await asyncio.gather(*map(self._storage.check, foreign))
