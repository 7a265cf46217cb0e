"""Merges listings that are each in order into one that is, without holding more than the next key of each."""

from collections.abc import AsyncIterator

from services.storage.model import Listed


async def merged(*sources: AsyncIterator[Listed]) -> AsyncIterator[Listed]:
    """Each key once, by order; of twins the earlier source's."""
    heads = [(source, await anext(source, None)) for source in sources]
    while found := [head for _, head in heads if head]:
        first = min(found, key=lambda listed: listed.key)
        yield first
        heads = [
            (source, await anext(source, None) if head and head.key == first.key else head) for source, head in heads
        ]
