"""Writes a zip while somebody reads it: entries are stored as they come, and nothing is held whole."""

import io
from collections.abc import AsyncIterator
from zipfile import ZipFile, ZipInfo


class Outlet(io.RawIOBase):
    """Takes what the zip writes until it is sent; it cannot seek, so sizes follow their entries."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override] # what ZipFile writes
        """Hold some bytes."""
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """Remove and return what is held."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


class Archive:
    """A zip of entries without compression: pictures are compressed already."""

    def __init__(self) -> None:
        self._outlet = Outlet()
        self._zip = ZipFile(self._outlet, "w")

    async def entry(self, name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The zip's bytes while an entry is written from its chunks."""
        with self._zip.open(ZipInfo(name), "w", force_zip64=True) as entry:
            async for chunk in chunks:
                entry.write(chunk)
                yield self._outlet.take()

    def end(self) -> bytes:
        """The rest of the zip: its directory."""
        self._zip.close()
        return self._outlet.take()
