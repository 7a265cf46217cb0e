"""The key pool on SQL, shared by all replicas: creates that count, which keys and accounts rest, and until when."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.shielding import shielded
from services.generation import metrics
from services.generation.key_pool import selection
from services.generation.key_pool.cooldowns import OUT_OF_CREDITS, Scope, cooldown_of
from services.generation.key_pool.pool import Key, KeyStatus, PoolStatus, Wait
from services.generation.model import State
from services.generation.notifier import Notifier
from services.generation.stores import account_names, key_pool

logger = structlog.get_logger()


@shielded
class SqlKeyPool:
    """The key pool on SQLite or PostgreSQL. Key values stay in memory; each account may make `creates` in a window."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        keys: Sequence[Key],
        creates: int,
        window_ms: int = selection.WINDOW_MS,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._keys = {key.print: key for key in keys}
        self._creates = creates
        self._window_ms = window_ms
        self._tried_again: set[tuple[str, str]] = set()  # accounts and models whose rest together was over

    async def register(self) -> None:
        """Make the stored pool that of the settings: new keys are added, missing ones removed, rests go on."""
        async with self._database.write() as connection:
            await key_pool.register(connection, tuple(self._keys.values()))

    async def acquire(self, attempt_id: str, model: str) -> Key | Wait:
        async with self._database.write() as connection:
            look = await key_pool.look(connection, self._keys, self._window_ms, model, locked=True)
            chosen = selection.choose(look, self._creates, model)
            if isinstance(chosen, Wait):
                return chosen
            if (pair := (self._keys[chosen].account, model)) in look.unpaid:
                self._tried_again.add(pair)
            await key_pool.mark(connection, attempt_id, self._keys[chosen].account, self._window_ms)
        return self._keys[chosen]

    async def outlook(self, model: str) -> Wait:
        chosen = selection.choose(await self._look(model), self._creates, model)
        return chosen if isinstance(chosen, Wait) else Wait(0.0)

    def configured(self, account: str, key_print: str = "") -> bool:
        return key_print in self._keys or any(key.account == account for key in self._keys.values())

    async def reader(self, account: str = "", key_print: str = "") -> Key | None:
        known = self._keys.get(key_print)
        chosen = selection.reader(await self._look(), known.account if known else account)
        return self._keys[chosen] if chosen else None

    async def refused(self, key: Key, code: int, retry_after: float | None, model: str = "") -> None:
        scope = cooldown_of(code).scope
        about = {Scope.KEY: key.print, Scope.ACCOUNT: key.account, Scope.MODEL: model}
        unpaid = False
        async with self._database.write() as connection:
            if code in OUT_OF_CREDITS and model:
                unpaid = await key_pool.rest_unpaid(connection, key.account, model)
            suffices_for_others = (
                code in OUT_OF_CREDITS and model and await key_pool.holds_something(connection, key.account)
            )
            rests = not suffices_for_others and await key_pool.rest(connection, scope, about[scope], code, retry_after)
        if rests or unpaid:
            metrics.cooled(code)
            logger.warning("key_cooling", scope=scope.value, about=about[scope], code=code, model=model * unpaid)

    async def accepted(self, key: Key, model: str) -> None:
        """Writes only where this process took an order after such a rest."""
        if (key.account, model) in self._tried_again:
            async with self._database.write() as connection:
                await key_pool.end_unpaid(connection, key.account, model)
            self._tried_again.discard((key.account, model))

    async def note_balance(self, key: Key, credits_left: float) -> None:
        async with self._waking() as connection:
            if not await key_pool.note_balance(connection, key, credits_left):
                return
            await key_pool.wake(connection)
        logger.info("key_back", account=key.account, print=key.print)

    async def due(self, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        """Reads before it writes, so that an idle stack writes nothing."""
        look = await self._look()
        accounts, keys = selection.accounts_due(look, balance_seconds, dry_seconds), selection.keys_due(look)
        if not accounts and not keys:
            return ()
        async with self._database.write() as connection:
            readers = [
                selection.reader(look, line.name) for line in accounts if await key_pool.take_account(connection, line)
            ]
            probed = [line.print for line in keys if await key_pool.take_key(connection, line)]
        return [self._keys[key_print] for key_print in dict.fromkeys([*probed, *readers]) if key_print]

    async def find(self, key_print: str) -> Key:
        if key_print not in self._keys:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return self._keys[key_print]

    async def listing(self) -> PoolStatus:
        names = {key.account for key in self._keys.values()}
        async with self._database.read() as connection:
            look = await key_pool.look(connection, self._keys, self._window_ms)
            missing = await account_names.waiting(connection, names, self._keys)
        return selection.pool_of(look, missing)

    async def enable(self, key_print: str) -> KeyStatus:
        key = await self.find(key_print)
        async with self._waking() as connection:
            await key_pool.turn(connection, key.print, disabled=False, strikes=0, **key_pool.AWAKE)
            await key_pool.wake(connection)
        return await self.status(key.print)

    async def disable(self, key_print: str) -> KeyStatus:
        key = await self.find(key_print)
        async with self._database.write() as connection:
            await key_pool.turn(connection, key.print, disabled=True)
        return await self.status(key.print)

    async def status(self, key_print: str) -> KeyStatus:
        statuses = {key.print: key for key in (await self.listing()).keys}
        if key_print not in statuses:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return statuses[key_print]

    async def _look(self, model: str = "") -> selection.Look:
        async with self._database.read() as connection:
            return await key_pool.look(connection, self._keys, self._window_ms, model)

    @asynccontextmanager
    async def _waking(self) -> AsyncIterator[AsyncConnection]:
        """A transaction after which the submit loop is notified."""
        async with self._database.write() as connection:
            yield connection
        self._notifier.notify(State.READY)


async def open_key_pool(
    database: Database, notifier: Notifier, keys: Sequence[Key], creates: int, window_ms: int = selection.WINDOW_MS
) -> SqlKeyPool:
    """Open the pool, made that of the settings."""
    opened = SqlKeyPool(database, notifier, keys, creates, window_ms)
    await opened.register()
    return opened
