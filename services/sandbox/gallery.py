"""Keeps bytes on disk: drawn pictures, which can be drawn again at any time, and uploads."""

import asyncio
import hashlib
import os
import tempfile
from dataclasses import astuple
from pathlib import Path

from services.sandbox.model import Picture
from services.sandbox.painter import canvas


class Gallery:
    """A folder whose files appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def draw(self, picture: Picture) -> Path:
        """The file of a picture; it is drawn in a thread when it is asked for the first time."""
        name = hashlib.sha256(repr((canvas.EDITION, *astuple(picture))).encode()).hexdigest()
        path = self._folder / name
        if not path.exists():
            await asyncio.to_thread(lambda: place(path, canvas.paint(picture)))
        return path

    async def keep(self, digest: str, data: bytes) -> None:
        """Store bytes under their digest."""
        await asyncio.to_thread(place, self.kept(digest), data)

    async def read(self, path: Path) -> bytes:
        """The bytes of a file of ours."""
        return await asyncio.to_thread(path.read_bytes)

    def kept(self, digest: str) -> Path:
        """Where the bytes of a digest are."""
        return self._folder / digest


def place(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, never meets half of it."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(draft).replace(path)
