"""What a service needs to run more than once: checked, and said in the log, when one of its processes starts."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import structlog

from services.chassis.settings import CommonSettings, refuse

LOCK_SECONDS = 5.0  # a process that was just ended may take a moment to go
LOCK_PAUSE_SECONDS = 0.1

logger = structlog.get_logger()


@asynccontextmanager
async def sole_on_sqlite(settings: CommonSettings, service: str) -> AsyncIterator[None]:
    """Keep other processes of the service off its SQLite file while inside. On PostgreSQL any number may run.

    Raises:
        SystemExit: another process of the service has the file, or the service's target names several.
    """
    named = settings.target(service).count(",") + 1
    if named > 1 and not settings.database_url:
        refuse(
            f"{service.upper()}_TARGET names {named} replicas of {service}, and DATABASE_URL is not set. One process "
            "may use a SQLite file: set DATABASE_URL to a PostgreSQL, or name one address."
        )
    if settings.database_url:
        logger.info("replicas", service=service, most="any number", meaning="all on this PostgreSQL")
        yield
        return
    path = settings.data_dir / f"{service}.lock"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        refuse(f"DATA_DIR cannot be written: {error.filename}: {error.strerror}.")
    with file:
        await _lock(file, service, path)
        logger.info("replicas", service=service, most="one", meaning="DATABASE_URL is not set; more need PostgreSQL")
        yield


async def _lock(file: IO[str], service: str, path: Path) -> None:
    ends = time.monotonic() + LOCK_SECONDS
    while not _locked(file):
        if time.monotonic() >= ends:
            file.seek(0)
            owner = file.read().strip()
            refuse(
                f"DATABASE_URL is not set, and another {service} process ({owner}) uses the SQLite file beside {path}, "
                f"which one process may do. Stop that one, or set DATABASE_URL to a PostgreSQL to run more than one."
            )
        await asyncio.sleep(LOCK_PAUSE_SECONDS)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
