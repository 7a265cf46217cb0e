"""A process that puts or deletes one object for each line of its input, so that tests can kill it in the middle."""

import asyncio
import sys

from services.chassis.errors import KawaiiError
from services.storage.backends import open_backend
from services.storage.ports import Backend
from services.storage.settings import StorageSettings
from tests.storage.samples import picture

CHUNK_BYTES = 64 * 1024
TRIES = 20  # a fault may strike once in each of the threads that a put passes through


async def put(backend: Backend, key: str, body: bytes) -> str:
    """Put once; what came of it."""
    try:
        async with backend.spool() as spool:
            for start in range(0, len(body), CHUNK_BYTES):
                await spool.write(body[start : start + CHUNK_BYTES])
            return "stored" if await backend.put(key, spool) else "taken"
    except KawaiiError as error:
        return error.reason


async def main(mode: str, key: str, seed: str, size: str) -> None:
    """Say ready, wait for a line, do as it says, and put again after a failure; say what came of each."""
    body = picture(seed=seed, size=int(size))
    async with open_backend(mode, StorageSettings(_env_file=None)) as backend:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if sys.stdin.readline().strip() == "delete":
            await backend.delete(key)
            outcomes = ["deleted"]
        else:
            outcomes = [await put(backend, key, body)]
        while outcomes[-1].startswith("STORAGE") and len(outcomes) < TRIES:
            outcomes.append(await put(backend, key, body))
        sys.stdout.write(f"{' '.join(outcomes)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
