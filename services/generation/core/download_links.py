"""Download links: turns the provider's temporary URLs into direct links while the provider still has the result."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis.database import Database
from services.chassis.errors import NotFound, Unavailable
from services.generation.core.validation import UrlPolicy
from services.generation.key_pool.pool import Key, KeyPool
from services.generation.model import Generation
from services.generation.outcomes import Gone, Later
from services.generation.ports import GenerationStore, Provider

LINK_SECONDS = 1200.0  # how long the provider's direct links work (docs/provider.md#download-links)


@dataclass(frozen=True)
class DownloadLink:
    """A URL at which a result can be fetched now. expire_ms is 0 for a URL that was returned as it was given."""

    uri: str
    expire_ms: int = 0


class DownloadLinks:
    """Makes direct links to results."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        key_pool: KeyPool,
        providers: Mapping[str, Provider],
        url_policy: UrlPolicy,
    ) -> None:
        self._database = database
        self._store = store
        self._key_pool = key_pool
        self._providers = providers
        self._url_policy = url_policy

    async def create(self, uri: str, identifier: str) -> DownloadLink:
        """A direct link for a provider's temporary URL; any other URL unchanged.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED, it does not lead to the public internet.
            NotFound: the identifier names no generation, or the provider no longer has the picture (RESULT_GONE).
            Unavailable: no key works, or the provider did not answer.
        """
        owner = next((provider for provider in self._providers.values() if provider.owns(uri)), None)
        if owner is None:
            self._url_policy.require_public(uri, "uri")
            return DownloadLink(uri)
        generation = await self._database.read(self._store.get, identifier) if identifier else None
        provider = self._providers[generation.family] if generation else owner
        key = await self._key_for(generation)
        expire_ms = int((time.time() + LINK_SECONDS) * 1000)  # counted from before the request, so never too late
        link = await provider.download_link(generation.task_id if generation else "", uri, key)
        if isinstance(link, Gone):
            raise NotFound("The upstream no longer has this picture.", "RESULT_GONE")
        if isinstance(link, Later):
            raise Unavailable("The upstream did not answer. Try again shortly.", retry_after=2)
        return DownloadLink(link, expire_ms)

    async def _key_for(self, generation: Generation | None) -> Key:
        attempt = await self._database.read(self._store.attempt, generation.attempt_id) if generation else None
        key = await self._key_pool.reader(*((attempt.account, attempt.key_print) if attempt else ()))
        if key is None:
            raise Unavailable("No upstream key works at the moment. Try again later.", retry_after=30)
        return key
