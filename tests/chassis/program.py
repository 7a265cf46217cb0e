"""A process that serves Echo until told to stop; a request that names a file is answered once the file is there."""

import asyncio
import sys
from pathlib import Path

from services.chassis.server import serve
from tests.chassis.echo import mount
from tests.support.polling import eventually


async def act(text: str) -> str:
    await eventually(Path(text).exists)
    return "finished"


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], [mount(act)]))
