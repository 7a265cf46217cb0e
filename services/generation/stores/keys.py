"""The key pool on SQL: one account of what every replica may create, who rests, and until when."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.unbroken import unbroken
from services.generation import metrics
from services.generation.bell import Bell
from services.generation.cooling import DRY, Scope, cooling_of
from services.generation.keyring import Key, KeyStatus, Pool, Wait
from services.generation.model import State
from services.generation.stores import accounts, choice, pool

logger = structlog.get_logger()


@unbroken
class SqlKeys:
    """Keeps the pool on SQLite or PostgreSQL. The values stay here; each account may make `creates` in a window."""

    def __init__(
        self, database: Database, bell: Bell, keys: Sequence[Key], creates: int, window_ms: int = choice.WINDOW_MS
    ) -> None:
        self._database = database
        self._bell = bell
        self._keys = {key.print: key for key in keys}
        self._creates = creates
        self._window_ms = window_ms
        self._tried_again: set[tuple[str, str]] = set()  # accounts and models whose rest together was over

    async def register(self) -> None:
        """Make the pool that of the settings: new keys join, those that left are gone, rests go on."""
        async with self._database.write() as connection:
            await pool.register(connection, tuple(self._keys.values()))

    async def acquire(self, attempt_id: str, model: str) -> Key | Wait:
        """See keyring."""
        async with self._database.write() as connection:
            look = await pool.look(connection, self._keys, self._window_ms, model, locked=True)
            chosen = choice.choose(look, self._creates, model)
            if isinstance(chosen, Wait):
                return chosen
            if (pair := (self._keys[chosen].account, model)) in look.unpaid:
                self._tried_again.add(pair)
            await pool.mark(connection, attempt_id, self._keys[chosen].account, self._window_ms)
        return self._keys[chosen]

    async def outlook(self, model: str) -> Wait:
        """See keyring."""
        chosen = choice.choose(await self._look(model), self._creates, model)
        return chosen if isinstance(chosen, Wait) else Wait(0.0)

    def configured(self, account: str, key_print: str = "") -> bool:
        """See keyring."""
        return key_print in self._keys or any(key.account == account for key in self._keys.values())

    async def reader(self, account: str = "", key_print: str = "") -> Key | None:
        """See keyring."""
        known = self._keys.get(key_print)
        chosen = choice.reader(await self._look(), known.account if known else account)
        return self._keys[chosen] if chosen else None

    async def refused(self, key: Key, code: int, retry_after: float | None, model: str = "") -> None:
        """See keyring."""
        scope = cooling_of(code).scope
        about = {Scope.KEY: key.print, Scope.ACCOUNT: key.account, Scope.MODEL: model}
        unpaid = False
        async with self._database.write() as connection:
            if code in DRY and model:
                unpaid = await pool.rest_unpaid(connection, key.account, model)
            suffices_for_others = code in DRY and model and await pool.holds_something(connection, key.account)
            rests = not suffices_for_others and await pool.rest(connection, scope, about[scope], code, retry_after)
        if rests or unpaid:
            metrics.cooled(code)
            logger.warning("key_cooling", scope=scope.value, about=about[scope], code=code, model=model * unpaid)

    async def accepted(self, key: Key, model: str) -> None:
        """See keyring. Writes only where this process took an order after such a rest."""
        if (key.account, model) in self._tried_again:
            async with self._database.write() as connection:
                await pool.end_unpaid(connection, key.account, model)
            self._tried_again.discard((key.account, model))

    async def note_balance(self, key: Key, credits_left: float) -> None:
        """See keyring."""
        async with self._waking() as connection:
            if not await pool.note_balance(connection, key, credits_left):
                return
            await pool.wake(connection)
        logger.info("key_back", account=key.account, print=key.print)

    async def due(self, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        """See keyring. Looks before it takes, so that an idle town writes nothing."""
        look = await self._look()
        accounts, keys = choice.accounts_due(look, balance_seconds, dry_seconds), choice.keys_due(look)
        if not accounts and not keys:
            return ()
        async with self._database.write() as connection:
            readers = [choice.reader(look, line.name) for line in accounts if await pool.take_account(connection, line)]
            probed = [line.print for line in keys if await pool.take_key(connection, line)]
        return [self._keys[key_print] for key_print in dict.fromkeys([*probed, *readers]) if key_print]

    async def find(self, key_print: str) -> Key:
        """See keyring."""
        if key_print not in self._keys:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return self._keys[key_print]

    async def listing(self) -> Pool:
        """See keyring."""
        names = {key.account for key in self._keys.values()}
        async with self._database.read() as connection:
            look = await pool.look(connection, self._keys, self._window_ms)
            missing = await accounts.waiting(connection, names, self._keys)
        return choice.pool_of(look, missing)

    async def enable(self, key_print: str) -> KeyStatus:
        """See keyring."""
        key = await self.find(key_print)
        async with self._waking() as connection:
            await pool.turn(connection, key.print, disabled=False, strikes=0, **pool.AWAKE)
            await pool.wake(connection)
        return await self.status(key.print)

    async def disable(self, key_print: str) -> KeyStatus:
        """See keyring."""
        key = await self.find(key_print)
        async with self._database.write() as connection:
            await pool.turn(connection, key.print, disabled=True)
        return await self.status(key.print)

    async def status(self, key_print: str) -> KeyStatus:
        """See keyring."""
        statuses = {key.print: key for key in (await self.listing()).keys}
        if key_print not in statuses:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return statuses[key_print]

    async def _look(self, model: str = "") -> choice.Look:
        async with self._database.read() as connection:
            return await pool.look(connection, self._keys, self._window_ms, model)

    @asynccontextmanager
    async def _waking(self) -> AsyncIterator[AsyncConnection]:
        """A transaction after which the orders that wait are looked at."""
        async with self._database.write() as connection:
            yield connection
        self._bell.ring(State.READY)


async def open_keys(
    database: Database, bell: Bell, keys: Sequence[Key], creates: int, window_ms: int = choice.WINDOW_MS
) -> SqlKeys:
    """The pool, made that of the settings."""
    opened = SqlKeys(database, bell, keys, creates, window_ms)
    await opened.register()
    return opened
