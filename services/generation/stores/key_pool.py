"""The key pool on SQL, shared by all replicas: creates that count, which keys and accounts rest, and until when.

Each method of the pool is one transaction; what it chooses is decided by key_pool/selection.py on one reading of the
rows. The functions below the class are its statements.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import Row, Table, and_, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database, db_now, shielded, upsert
from services.chassis.errors import NotFound
from services.chassis.notifier import Notifier
from services.generation import metrics
from services.generation.key_pool import selection
from services.generation.key_pool.cooldowns import (
    FORGIVEN_SECONDS,
    NOT_BY_TIME,
    OUT_OF_CREDITS,
    UNACCEPTED,
    Scope,
    cooldown_of,
    rest_seconds,
    unpaid_seconds,
)
from services.generation.key_pool.pool import Key, KeyStatus, PoolStatus, Wait
from services.generation.key_pool.selection import Look
from services.generation.model import State
from services.generation.stores import account_names
from services.generation.stores.tables import (
    attempt,
    create_mark,
    generation,
    model_rest,
    provider_account,
    provider_key,
    unpaid_model,
)

AWAKE = {"cause_code": 0, "rest_until_ms": 0}
IN_FLIGHT = and_(
    generation.c.id == attempt.c.generation_id,
    generation.c.attempt_id == attempt.c.id,
    generation.c.state.in_((State.DIALING, State.SENDING)),
)
MARKS = (
    select(create_mark.c.account, create_mark.c.at_ms, attempt.c.answer_ms, generation.c.id.label("in_flight"))
    .outerjoin(attempt, attempt.c.id == create_mark.c.attempt_id)
    .outerjoin(generation, IN_FLIGHT)
)
UNPAID = select(unpaid_model).order_by(unpaid_model.c.account, unpaid_model.c.model)
# The table that has the rows of a cooldown's scope, and the column that names one.
RESTING: dict[Scope, tuple[Table, str]] = {
    Scope.KEY: (provider_key, "print"),
    Scope.ACCOUNT: (provider_account, "name"),
    Scope.MODEL: (model_rest, "model"),
}

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
            await _register(connection, tuple(self._keys.values()))

    async def acquire(self, attempt_id: str, model: str) -> Key | Wait:
        async with self._database.write() as connection:
            look = await _read_pool(connection, self._keys, self._window_ms, model, locked=True)
            chosen = selection.choose(look, self._creates, model)
            if isinstance(chosen, Wait):
                return chosen
            if (pair := (self._keys[chosen].account, model)) in look.unpaid:
                self._tried_again.add(pair)
            await _mark(connection, attempt_id, self._keys[chosen].account, self._window_ms)
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
                unpaid = await _rest_unpaid(connection, key.account, model)
            suffices_for_others = code in OUT_OF_CREDITS and model and await _holds_something(connection, key.account)
            rests = not suffices_for_others and await _rest(connection, scope, about[scope], code, retry_after)
        if rests or unpaid:
            metrics.cooled(code)
            logger.warning("key_cooling", scope=scope.value, about=about[scope], code=code, model=model * unpaid)

    async def accepted(self, key: Key, model: str) -> None:
        """Writes only where this process took an order after such a rest."""
        if (key.account, model) in self._tried_again:
            async with self._database.write() as connection:
                await _end_unpaid(connection, key.account, model)
            self._tried_again.discard((key.account, model))

    async def note_balance(self, key: Key, credits_left: float) -> None:
        async with self._waking() as connection:
            if not await _note_balance(connection, key, credits_left):
                return
            await _wake(connection)
        logger.info("key_back", account=key.account, print=key.print)

    async def due(self, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        """Reads before it writes, so that an idle stack writes nothing."""
        look = await self._look()
        accounts, keys = selection.accounts_due(look, balance_seconds, dry_seconds), selection.keys_due(look)
        if not accounts and not keys:
            return ()
        async with self._database.write() as connection:
            readers = [selection.reader(look, line.name) for line in accounts if await _take_account(connection, line)]
            probed = [line.print for line in keys if await _take_key(connection, line)]
        return [self._keys[key_print] for key_print in dict.fromkeys([*probed, *readers]) if key_print]

    async def find(self, key_print: str) -> Key:
        if key_print not in self._keys:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return self._keys[key_print]

    async def listing(self) -> PoolStatus:
        names = {key.account for key in self._keys.values()}
        async with self._database.read() as connection:
            look = await _read_pool(connection, self._keys, self._window_ms)
            missing = await account_names.waiting(connection, names, self._keys)
        return selection.pool_of(look, missing)

    async def enable(self, key_print: str) -> KeyStatus:
        key = await self.find(key_print)
        async with self._waking() as connection:
            await _turn(connection, key.print, disabled=False, strikes=0, **AWAKE)
            await _wake(connection)
        return await self.status(key.print)

    async def disable(self, key_print: str) -> KeyStatus:
        key = await self.find(key_print)
        async with self._database.write() as connection:
            await _turn(connection, key.print, disabled=True)
        return await self.status(key.print)

    async def status(self, key_print: str) -> KeyStatus:
        statuses = {key.print: key for key in (await self.listing()).keys}
        if key_print not in statuses:
            raise NotFound("There is no key of this name. ListProviderKeys shows them.", "KEY_NOT_FOUND")
        return statuses[key_print]

    async def _look(self, model: str = "") -> selection.Look:
        async with self._database.read() as connection:
            return await _read_pool(connection, self._keys, self._window_ms, model)

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


async def _register(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Make the rows those of the settings; what is known of keys that stay is kept, whatever their accounts' names."""
    names, prints = sorted({key.account for key in keys}), [key.print for key in keys]
    await account_names.rename(connection, keys)
    before = set(await connection.scalars(select(provider_account.c.name)))
    for name in names:
        await connection.execute(upsert(connection, provider_account).values(name=name).on_conflict_do_nothing())
    for position, key in enumerate(keys):
        columns = {"account": key.account, "position": position}
        statement = upsert(connection, provider_key).values(print=key.print, **columns)
        await connection.execute(statement.on_conflict_do_update(index_elements=["print"], set_=columns))
    await connection.execute(delete(provider_key).where(provider_key.c.print.not_in(prints)))
    await connection.execute(delete(provider_account).where(provider_account.c.name.not_in(names)))
    await connection.execute(delete(unpaid_model).where(unpaid_model.c.account.not_in(names)))
    await account_names.wake(connection, set(names) - before)


async def _read_pool(
    connection: AsyncConnection, prints: Collection[str], window_ms: int, model: str = "", *, locked: bool = False
) -> Look:
    """Read the pool, with the keys that this process has; locked, no other transaction may choose meanwhile.

    The lock waits: a row that is passed over would be a limit that is not kept.
    """
    lines = select(provider_account).order_by(provider_account.c.name)
    found = (await connection.execute(lines.with_for_update() if locked else lines)).all()
    openable = provider_key.c.print.in_(prints)
    keys = (await connection.execute(select(provider_key).where(openable).order_by(provider_key.c.position))).all()
    resting = (await connection.execute(select(model_rest).where(model_rest.c.model == model))).first()
    marks = (await connection.execute(MARKS)).all()
    unpaid = {(row.account, row.model): row.rest_until_ms for row in await connection.execute(UNPAID)}
    return Look(await _clock(connection), found, keys, marks, resting, window_ms, unpaid)


async def _clock(connection: AsyncConnection) -> int:
    """Milliseconds since 1970, by the database."""
    return int(await connection.scalar(select(db_now())) or 0)


async def _mark(connection: AsyncConnection, attempt_id: str, account: str, window_ms: int) -> None:
    """Count a create, and forget those that count no more."""
    counts = or_(attempt.c.answer_ms > db_now() - window_ms, exists().where(IN_FLIGHT))
    counted = exists().where(attempt.c.id == create_mark.c.attempt_id, counts)
    await connection.execute(delete(create_mark).where(create_mark.c.at_ms <= db_now() - window_ms, ~counted))
    await connection.execute(insert(create_mark).values(attempt_id=attempt_id, account=account, at_ms=db_now()))


async def count_create(connection: AsyncConnection, attempt_id: str, account: str) -> None:
    """Count a create from its dialling, also when its mark was forgotten since its key was given."""
    marked = upsert(connection, create_mark).values(attempt_id=attempt_id, account=account, at_ms=db_now())
    moved = marked.on_conflict_do_update(index_elements=["attempt_id"], set_={"at_ms": db_now()})
    await connection.execute(moved)


async def _rest(connection: AsyncConnection, scope: Scope, who: str, code: int, retry_after: float | None) -> bool:
    """Rest a key, an account or a model; False when it rests longer, or for a cause that time does not end, already."""
    table, column = RESTING[scope]
    if scope is Scope.MODEL:
        await connection.execute(upsert(connection, table).values(model=who).on_conflict_do_nothing())
    named = table.c[column] == who
    line = (await connection.execute(select(table).where(named).with_for_update())).first()
    until = await _clock(connection) + int(rest_seconds(code, retry_after) * 1000)
    if line is None or not _outranks(code, until, line):
        return False
    await connection.execute(update(table).where(named).values(cause_code=code, rest_until_ms=until))
    return True


def _outranks(code: int, until: int, line: Row[Any]) -> bool:
    """True when a new rest replaces a row's: a probed one beats a timed one, and the longer time the shorter."""
    if line.cause_code in NOT_BY_TIME:
        return False
    return code in NOT_BY_TIME or until > line.rest_until_ms


async def _holds_something(connection: AsyncConnection, account: str) -> bool:
    """True when the balance that an account was last known to have is more than nothing."""
    query = select(provider_account.c.credits).where(provider_account.c.name == account)
    return (await connection.scalar(query) or 0) > 0


async def _rest_unpaid(connection: AsyncConnection, account: str, model: str) -> bool:
    """Rest an account and a model together, and have the balance read at once; False when they rest already."""
    await connection.execute(update(provider_account).where(provider_account.c.name == account).values(asked_ms=0))
    first = {"account": account, "model": model, "strikes": 0, "rest_until_ms": 0}
    await connection.execute(upsert(connection, unpaid_model).values(first).on_conflict_do_nothing())
    pair = and_(unpaid_model.c.account == account, unpaid_model.c.model == model)
    line = (await connection.execute(select(unpaid_model).where(pair).with_for_update())).one()
    now = await _clock(connection)
    if line.rest_until_ms > now:
        return False
    forgiven = now - line.rest_until_ms > FORGIVEN_SECONDS * 1000
    strikes = 1 if forgiven else line.strikes + 1
    until = now + int(unpaid_seconds(strikes) * 1000)
    await connection.execute(update(unpaid_model).where(pair).values(strikes=strikes, rest_until_ms=until))
    return True


async def _end_unpaid(connection: AsyncConnection, account: str, model: str = "") -> bool:
    """Forget that a balance did not suffice for a model, or for any; True when it was so."""
    of_account = delete(unpaid_model).where(unpaid_model.c.account == account)
    ended = await connection.execute(of_account.where(unpaid_model.c.model == model) if model else of_account)
    return bool(ended.rowcount)


async def _note_balance(connection: AsyncConnection, key: Key, credits_left: float) -> bool:
    """Store a balance and end the rests that it ends; True when it ended one."""
    account = update(provider_account).where(provider_account.c.name == key.account)
    grown = credits_left > 0 and await _held_less(connection, key.account, credits_left)
    paid = grown and await _end_unpaid(connection, key.account)
    if credits_left <= 0:
        unpaid = exists().where(unpaid_model.c.account == provider_account.c.name)
        dry = {
            "cause_code": min(OUT_OF_CREDITS),
            "rest_until_ms": db_now() + int(rest_seconds(min(OUT_OF_CREDITS)) * 1000),
        }
        await connection.execute(account.where(unpaid, provider_account.c.cause_code.not_in(NOT_BY_TIME)).values(dry))
    await connection.execute(account.values(credits=credits_left, credits_ms=db_now()))
    ran_dry = account.where(provider_account.c.cause_code.in_(OUT_OF_CREDITS))
    if credits_left > 0:
        refilled = (await connection.execute(ran_dry.values(AWAKE))).rowcount
    else:
        refilled = 0
        until = db_now() + int(rest_seconds(min(OUT_OF_CREDITS)) * 1000)
        await connection.execute(ran_dry.values(rest_until_ms=until))
    refused = and_(provider_key.c.print == key.print, provider_key.c.cause_code.in_(UNACCEPTED))
    accepted = (await connection.execute(update(provider_key).where(refused).values(strikes=0, **AWAKE))).rowcount
    return bool(refilled or accepted or paid)


async def _held_less(connection: AsyncConnection, account: str, credits_left: float) -> bool:
    """True when an account's balance was read before, and was smaller."""
    known = select(provider_account.c.credits).where(
        provider_account.c.name == account, provider_account.c.credits_ms > 0
    )
    before = await connection.scalar(known)
    return before is not None and before < credits_left


async def _take_account(connection: AsyncConnection, line: Row[Any]) -> bool:
    """Claim the read of an account's balance; False when another replica was faster."""
    unasked = and_(provider_account.c.name == line.name, provider_account.c.asked_ms == line.asked_ms)
    taken = await connection.execute(update(provider_account).where(unasked).values(asked_ms=db_now()))
    return taken.rowcount == 1


async def _take_key(connection: AsyncConnection, line: Row[Any]) -> bool:
    """Claim the probe of a key, its next probe later by one more strike; False when another replica was faster."""
    unprobed = and_(provider_key.c.print == line.print, provider_key.c.rest_until_ms == line.rest_until_ms)
    seconds = rest_seconds(line.cause_code, strikes=line.strikes + 1)
    later = {"strikes": line.strikes + 1, "rest_until_ms": db_now() + int(seconds * 1000)}
    return (await connection.execute(update(provider_key).where(unprobed).values(later))).rowcount == 1


async def _turn(connection: AsyncConnection, key_print: str, **values: Any) -> None:
    """Change a key's row for an operator."""
    await connection.execute(update(provider_key).where(provider_key.c.print == key_print).values(**values))


async def _wake(connection: AsyncConnection) -> None:
    """Make every order that waits for a key due now. A worker that is postponing one at this moment loses it.

    Rows are locked in one order, so that two transactions that wake do not deadlock.
    """
    waits = or_(generation.c.due_ms > db_now(), generation.c.lease_until_ms > db_now())
    waiting = select(generation.c.id).where(generation.c.state == State.READY, waits)
    ids = list(await connection.scalars(waiting.order_by(generation.c.id).with_for_update()))
    afresh = {"due_ms": db_now(), "lease_until_ms": 0, "fence": generation.c.fence + 1}
    await connection.execute(update(generation).where(generation.c.id.in_(ids)).values(afresh))
