"""Puts the stand-in together and serves it until it is told to stop."""

import asyncio
import secrets
import signal
import time

import structlog

from services.chassis.logs import configure
from services.chassis.settings import load
from services.sandbox.app import make_app, make_server
from services.sandbox.archive import Archive
from services.sandbox.callbacks import Sender, open_client
from services.sandbox.control import Control
from services.sandbox.core import Sandbox
from services.sandbox.doors import FAMILIES
from services.sandbox.doors.desk import Desk
from services.sandbox.gallery import Gallery
from services.sandbox.settings import SandboxSettings
from services.sandbox.stores.sqlite import open_store

logger = structlog.get_logger()


async def main() -> None:
    """Serve until SIGTERM or Ctrl-C; a sender that crashes takes the process down, and the launcher starts it again."""
    settings = load(SandboxSettings)
    configure(settings.log_level, settings.log_format, "sandbox")
    key, spacing = settings.kie_webhook_hmac_key.get_secret_value(), settings.sandbox_callback_retry_seconds
    with open_store(settings.folder) as store:
        async with open_client() as client, asyncio.TaskGroup() as group:
            sandbox = Sandbox(store, settings.rules, lambda: time.time_ns() // 1_000_000, lambda: secrets.token_hex(16))
            archive = Archive(sandbox, store, settings.rules, lambda: secrets.token_hex(32))
            sender = Sender(sandbox, store, FAMILIES, client, key=key, spacing=spacing)
            control, gallery = Control(sandbox, store, settings.rules), Gallery(settings.folder / "files")
            app = make_app(Desk(sandbox, archive, control, gallery, sender, store))
            server = make_server(app, settings.listen_port)
            loop = asyncio.get_running_loop()
            for stop in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(
                    stop, logger.debug, "stopping"
                )  # uvicorn repeats the signal once it has drained
            sending = group.create_task(sender.run())
            logger.info("starting", port=settings.listen_port)
            await server.serve()
            sending.cancel()


asyncio.run(main())
