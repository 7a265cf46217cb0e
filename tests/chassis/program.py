"""A process that serves Echo until told to stop.

A request that names a file is answered once the file is there; any other by the port, which tells replicas apart.
"""

import asyncio
from pathlib import Path

from services.chassis.addresses import ListenPort
from services.chassis.server import serve
from services.chassis.settings import CommonSettings
from tests.chassis.echo import mount
from tests.support.polling import eventually

SETTINGS = CommonSettings()


async def act(text: str) -> str:
    if not text.startswith("/"):
        return str(SETTINGS.listen_port)
    await eventually(Path(text).exists)
    return "finished"


if __name__ == "__main__":
    asyncio.run(serve(SETTINGS, [ListenPort.SHARE, ListenPort.SHARE_METRICS], [mount(act)], None))
