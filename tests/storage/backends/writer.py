"""A process that puts one object when it is told to, so that tests can strike it in the middle."""

import asyncio
import sys

from services.chassis.errors import KawaiiError
from services.storage.backends import BACKENDS
from services.storage.settings import StorageSettings
from tests.storage.samples import picture

CHUNK_BYTES = 64 * 1024


async def main(mode: str, key: str, seed: str, size: str) -> None:
    """Say ready, wait for a line, put; say what came of it."""
    body = picture(seed=seed, size=int(size))
    async with BACKENDS[mode](StorageSettings(_env_file=None)) as backend:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        try:
            async with backend.draft() as draft:
                for place in range(0, len(body), CHUNK_BYTES):
                    await draft.write(body[place : place + CHUNK_BYTES])
                outcome = "stored" if await backend.put(key, draft) else "taken"
        except KawaiiError as error:
            outcome = error.reason
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
