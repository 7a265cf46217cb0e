"""Makes the engine a service's database runs on: SQLite made safe, or its own schema of PostgreSQL."""

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.chassis.settings import CommonSettings, refuse

BUSY_TIMEOUT_MS = 5000  # how long a writer waits for another before it is an error
POOL_SIZE = 5  # SQLite has one writer; PostgreSQL serves many services from one budget of connections
POOL_WAIT_SECONDS = 5.0  # a request that waits longer for a connection is told to come back
CONNECT_SECONDS = 5.0  # asyncpg's own minute would outlive every caller
STATEMENT_SECONDS = 30.0  # above any statement of ours; a loop that waits on a dead connection must come back
# Parameters hold prompts, which no log may show; drivers' errors quote them unless told not to.
ENGINE_OPTIONS: dict[str, Any] = {
    "pool_size": POOL_SIZE,
    "pool_timeout": POOL_WAIT_SECONDS,
    "hide_parameters": True,
}
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb3", "9p", "fuse.sshfs")  # their locks cannot be trusted by SQLite


def url_of(settings: CommonSettings, service: str) -> str:
    """The service's database: its own SQLite file, or the shared PostgreSQL."""
    if not settings.database_url:
        return f"sqlite+aiosqlite:///{settings.data_dir.absolute() / service}.sqlite3"
    url = make_url(settings.database_url).set(drivername="postgresql+asyncpg")
    if mode := url.query.get("sslmode"):  # libpq's word, which hosts put into the URLs they hand out; asyncpg's is ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.render_as_string(hide_password=False)


def make_engine(
    settings: CommonSettings, service: str, statement_seconds: float | None = STATEMENT_SECONDS
) -> AsyncEngine:
    """The engine on the service's own SQLite file, or its own PostgreSQL schema."""
    url = url_of(settings, service)
    if url.startswith("sqlite"):
        refuse_network_folder(settings.data_dir)
        engine = create_async_engine(url, **ENGINE_OPTIONS)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "invalidate", _release_sqlite)
        return engine
    arguments = {
        "server_settings": {"search_path": service, "application_name": f"kawaii-{service}"},
        "timeout": CONNECT_SECONDS,
        "command_timeout": statement_seconds,
    }
    return create_async_engine(url, **ENGINE_OPTIONS, pool_pre_ping=True, connect_args=arguments)


def refuse_network_folder(folder: Path) -> None:
    """Refuse to keep SQLite on a network file system.

    Raises:
        SystemExit: the folder lies on one.
    """
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return
    lines = (line.split()[:3] for line in mounts.read_text(encoding="utf-8").splitlines())
    inside = [(len(point), kind) for _, point, kind in lines if folder.absolute().is_relative_to(point)]
    if max(inside, default=(0, ""))[1] in NETWORK_FILE_SYSTEMS:
        refuse(f"DATA_DIR {folder} is on a network file system, where SQLite loses data. Use PostgreSQL.")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL so that readers do not wait; FULL so that what was acknowledged survives a power cut."""
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Take the write lock first: a transaction that starts by reading could not upgrade without SQLITE_BUSY."""
    readonly = connection.get_execution_options().get("readonly")
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _release_sqlite(connection: Any, _record: Any, _error: BaseException | None) -> None:
    """Give the write lock back when a statement was cancelled: a close alone waits until its cursor is collected."""
    connection.rollback()
