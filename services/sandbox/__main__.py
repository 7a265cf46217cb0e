"""Composition root of the sandbox process."""

import asyncio
import secrets
import signal
import time
from functools import partial

import structlog

from services.chassis.addresses import ListenPort
from services.chassis.logs import configure
from services.chassis.settings import load, require_addresses
from services.chassis.tls import require_loopback
from services.sandbox.accounts import Accounts
from services.sandbox.app import make_app, make_server
from services.sandbox.callbacks import Sender, open_client
from services.sandbox.families import FAMILIES
from services.sandbox.files import Files
from services.sandbox.routes.messages import Components
from services.sandbox.settings import SandboxSettings
from services.sandbox.store import Clock, open_store
from services.sandbox.tasks import Tasks

logger = structlog.get_logger()


async def main() -> None:
    """Serves until SIGTERM or Ctrl-C. A sender that crashes ends the process, and the launcher starts it again."""
    settings = load(SandboxSettings)
    configure(settings.log_level, settings.log_format, "sandbox")
    require_addresses(settings, [ListenPort.SANDBOX])
    require_loopback(settings)  # it speaks HTTP alone, and whoever reaches it may script it
    address = settings.listens(ListenPort.SANDBOX)
    rules, folder = settings.rules, settings.folder
    key, delays = settings.kie_webhook_hmac_key.get_secret_value(), settings.sandbox_callback_retry_seconds
    with open_store(folder) as store:
        async with open_client() as client, asyncio.TaskGroup() as group:
            clock = Clock(store, lambda: time.time_ns() // 1_000_000)
            accounts = Accounts(store, rules, clock)
            tasks = Tasks(store, accounts, rules, clock, partial(secrets.token_hex, 16))
            token = partial(secrets.token_hex, 32)
            files = Files(store, tasks, rules, clock, new_token=token, folder=folder / "files")
            sender = Sender(store, tasks, clock, FAMILIES, client, key=key, retry_delays=delays)
            app = make_app(Components(store, clock, accounts, tasks, files, sender))
            server = make_server(app, address)
            loop = asyncio.get_running_loop()
            for stop in (signal.SIGINT, signal.SIGTERM):
                # uvicorn repeats the signal once it has drained
                loop.add_signal_handler(stop, logger.debug, "stopping")
            sending = group.create_task(sender.run())
            logger.info("starting", address=str(address))
            await server.serve()
            sending.cancel()


asyncio.run(main())
