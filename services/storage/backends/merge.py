"""Merges sorted listings into one sorted listing, holding only the next key of each."""

from collections.abc import AsyncIterator

from services.storage.model import ListedObject


async def merged(*sources: AsyncIterator[ListedObject]) -> AsyncIterator[ListedObject]:
    """Each key once, in order; of equal keys the one of the earlier source."""
    heads = [(source, await anext(source, None)) for source in sources]
    while found := [head for _, head in heads if head]:
        first = min(found, key=lambda listed: listed.key)
        yield first
        heads = [
            (source, await anext(source, None) if head and head.key == first.key else head) for source, head in heads
        ]
