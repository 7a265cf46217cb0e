"""Reads server-sent events as they arrive."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

HEARTBEAT = ": heartbeat"


class Stream:
    """Reads frames, as lists of lines."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def frame(self) -> list[str]:
        """The lines up to the next blank one; none at the end."""
        lines: list[str] = []
        async for line in self._lines:
            if not line:
                break
            lines.append(line)
        return lines

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Id and data of the next event, whatever heartbeats come before it."""
        frame = await self.frame()
        while frame in ([HEARTBEAT], ["retry: 1000"]):
            frame = await self.frame()
        [identifier, data] = frame
        return identifier.removeprefix("id: "), json.loads(data.removeprefix("data: "))

    async def rest(self) -> AsyncIterator[list[str]]:
        """Frames until the end, without heartbeats."""
        while frame := await self.frame():
            if frame != [HEARTBEAT]:
                yield frame
