"""A process that serves Echo until told to stop; a request that names a file is answered once the file is there."""

import asyncio
from pathlib import Path

from services.chassis.addresses import ListenPort
from services.chassis.server import serve
from services.chassis.settings import CommonSettings
from tests.chassis.echo import mount
from tests.support.polling import eventually


async def act(text: str) -> str:
    await eventually(Path(text).exists)
    return "finished"


if __name__ == "__main__":
    asyncio.run(serve(CommonSettings(), [ListenPort.SHARE, ListenPort.SHARE_METRICS], [mount(act)], None))
