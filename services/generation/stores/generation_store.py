"""The generation store on SQL: each method is one transaction, and notifies subscriptions once it is committed."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.errors import Aborted
from services.chassis.shielding import shielded
from services.generation import metrics
from services.generation.model import DECLINABLE, Attempt, Event, Generation, Output, State, TimelineFacts
from services.generation.notifier import Notifier
from services.generation.outcomes import Outcome
from services.generation.ports import NOTHING, Change, Page, Refusal, Sent
from services.generation.quota import Charge
from services.generation.stores import attempts, generations, inbox, key_pool, leases, outbox, quotas, retention, tables


@shielded
class SqlGenerationStore:
    """The generation store on SQLite or PostgreSQL."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier

    async def requested(self, request_key: str, sent: Sent) -> Generation | None:
        async with self._database.read() as connection:
            return await generations.of_request(connection, request_key, sent)

    async def insert(
        self,
        generation: Generation,
        request_key: str,
        request_hash: str,
        charges: Sequence[Charge] = (),
        *,
        sent_hash: str = "",
    ) -> Generation:
        async with self._database.write() as connection:
            if await generations.add(connection, generation, request_key, request_hash, sent_hash) is None:
                first = await generations.of_request(connection, request_key, Sent(sent_hash or request_hash))
                if first is None:
                    raise Aborted("The same order is being made elsewhere at this moment. Try again.")
                return replace(first, joined=True)
            quota = await quotas.count(connection, charges)
            stored = await generations.find(connection, generation.id)
            await outbox.append(connection, stored)
            await failpoints.reach("accept.before_commit")
        await failpoints.reach("accept.after_commit")
        metrics.created(stored)
        return replace(self._notified(stored, stored), quota=quota)

    async def get(self, identifier: str) -> Generation:
        async with self._database.read() as connection:
            return await generations.find(connection, identifier)

    async def made_by(self, request_key: str) -> Generation:
        async with self._database.read() as connection:
            return await generations.made_by(connection, request_key)

    async def list(self, page: Page) -> Sequence[Generation]:
        async with self._database.read() as connection:
            return await generations.newest(connection, page)

    async def claim(self, states: Collection[State], limit: int, lease_seconds: float) -> Sequence[Generation]:
        """Reads before it writes, so that an idle stack writes nothing."""
        if limit < 1 or not await self._any_due(states):
            return []
        async with self._database.write() as connection:
            taken = await leases.claim(connection, states, limit, lease_seconds)
        await failpoints.reach("claim.after")
        return taken

    async def renew(self, generation: Generation, lease_seconds: float) -> None:
        async with self._database.write() as connection:
            await leases.renew(connection, generation, lease_seconds)
        await failpoints.reach("lease.renewed")

    async def hold(self, generation: Generation, lease_seconds: float) -> Generation:
        async with self._database.write() as connection:
            return await leases.hold(connection, generation, lease_seconds)

    async def dial(self, generation: Generation, attempt: Attempt) -> Generation:
        async with self._database.write() as connection:
            await attempts.add(connection, attempt)
            await key_pool.count(connection, attempt.id, attempt.account)
            change = Change(tries=generation.tries)
            dialing = await generations.move(
                connection, generation, State.DIALING, change, attempt_id=attempt.id, task_id=""
            )
            await outbox.append(connection, dialing)
        return self._notified(generation, dialing)

    async def move(self, generation: Generation, state: State, change: Change = NOTHING) -> Generation:
        async with self._database.write() as connection:
            moved = await generations.move(connection, generation, state, change)
            if state is State.FAILED and moved.task_id:
                await inbox.contradict(connection, moved.attempt_id, moved.task_id)
            await outbox.append(connection, moved)
        return self._notified(generation, moved)

    async def touch(self, generation: Generation, change: Change) -> Generation:
        async with self._database.write() as connection:
            touched = await generations.change(connection, generation, generation.state, change)
            if touched.visible != generation.visible:
                await outbox.append(connection, touched)
        return self._notified(generation, touched) if touched.visible != generation.visible else touched

    async def cancel(self, generation: Generation) -> Generation:
        async with self._database.write() as connection:
            raised = generation.fence + 1  # a worker that holds the lease loses it
            canceled = await generations.move(connection, generation, State.CANCELED, NOTHING, fence=raised)
            await generations.unpark(connection, generation.id)
            await outbox.append(connection, canceled)
        return self._notified(generation, canceled)

    async def restart(
        self, generation: Generation, charges: Sequence[Charge] = (), *, counted_ms: int = 0
    ) -> Generation:
        async with self._database.write() as connection:
            ready = await generations.restart(connection, generation)
            quota = await quotas.count(connection, charges, counted_ms)
            if generation.task_id and generation.state is State.UNKNOWN:
                await inbox.remind(connection, generation.attempt_id, generation.task_id)
            await outbox.append(connection, ready)
        return replace(self._notified(generation, ready), quota=quota)

    async def deliver(
        self, generation: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
    ) -> Generation:
        with attempts.one_owner():
            async with self._database.write() as connection:
                await attempts.accept(connection, attempt_id, task_id, instead=True)
                delivered = await generations.deliver(connection, generation, attempt_id, task_id, outputs)
                if generation.task_id and generation.task_id != task_id:
                    await inbox.remind(connection, generation.attempt_id, generation.task_id)
                await outbox.append(connection, delivered)
        return self._notified(generation, delivered)

    async def restore(self, generation: Generation) -> bool:
        async with self._database.write() as connection:
            return await generations.restore(connection, generation)

    async def complete(self, generation: Generation, outputs: Sequence[Output]) -> Generation:
        async with self._database.write() as connection:
            mended = await generations.complete(connection, generation, outputs)
            await outbox.append(connection, mended)
        self._notifier.notify(mended.id, "outbox")  # not counted: how long it took says nothing about the provider
        return mended

    async def forget(self, generation_id: str) -> bool:
        async with self._database.write() as connection:
            return await retention.forget(connection, generation_id)

    async def timeline_facts(self, generation: Generation) -> TimelineFacts:
        async with self._database.read() as connection:
            events = await outbox.of_generation(connection, generation.id)
            chain = await attempts.of_generation(connection, generation.id)
            named = await inbox.of_attempts(connection, chain)
        return TimelineFacts(tuple(events), tuple(chain), tuple(named))

    async def accept(self, attempt_id: str, task_id: str, due_in: float) -> Generation:
        with attempts.one_owner():
            async with self._database.write() as connection:
                before = await self._of_attempt(connection, attempt_id)
                await attempts.accept(connection, attempt_id, task_id)
                news = await generations.accept(connection, attempt_id, task_id, due_in)
                now = await self._of_attempt(connection, attempt_id)
                if now.task_id != task_id:
                    await inbox.remind(connection, attempt_id, task_id)
                if news:
                    await outbox.append(connection, now)
        self._notifier.notify("inbox")
        return self._notified(before, now)

    async def assign(self, attempt_id: str, task_id: str, due_in: float) -> bool:
        async with self._database.write() as connection:
            rightful = await attempts.find(connection, attempt_id)
            holder = await attempts.of_task(connection, task_id, rightful.account) if rightful else None
            if holder is None or holder.id == attempt_id:
                return True
            if await attempts.is_named_by_callback(connection, holder.id, task_id):
                return False
            if not await attempts.disown(connection, holder.id, task_id):
                return True
            before = await self._of_attempt(connection, holder.id, locked=True)
            now = await generations.disown(connection, before, holder.id, task_id, due_in)
            await inbox.ask_again(connection, holder.id)
            if now:
                await outbox.append(connection, now)
        self._notifier.notify("inbox")
        if now:
            self._notified(before, now)
        return True

    async def is_named_by_callback(self, attempt_id: str, task_id: str) -> bool:
        async with self._database.read() as connection:
            return await attempts.is_named_by_callback(connection, attempt_id, task_id)

    async def decline(self, attempt_id: str, outcome: Outcome, state: State, change: Change) -> bool:
        async with self._database.write() as connection:
            await attempts.note(connection, attempt_id, outcome)
            before = await self._of_attempt(connection, attempt_id, locked=True)
            waits = before.state in DECLINABLE and before.attempt_id == attempt_id and not before.task_id
            now = before
            if waits:
                raised = before.fence + 1  # a recovery at this moment loses it
                now = await generations.change(connection, before, state, change, fence=raised)
                await outbox.append(connection, now)
        metrics.attempted(outcome)
        if waits:
            self._notified(before, now)
        return waits

    async def note_outcome(self, attempt_id: str, outcome: Outcome) -> None:
        async with self._database.write() as connection:
            await attempts.note(connection, attempt_id, outcome)
        metrics.attempted(outcome)

    async def refusal(self, generation: Generation, codes: Collection[int]) -> Refusal | None:
        async with self._database.read() as connection:
            return await attempts.refusal(connection, generation, codes)

    async def attempt(self, attempt_id: str) -> Attempt | None:
        async with self._database.read() as connection:
            return await attempts.find(connection, attempt_id)

    async def attempt_of_task(self, task_id: str) -> Attempt | None:
        async with self._database.read() as connection:
            return await attempts.of_task(connection, task_id)

    async def wake(self, generation_id: str) -> bool:
        async with self._database.write() as connection:
            told = await leases.wake(connection, generation_id)
        self._notifier.notify(State.RUNNING)
        self._notifier.notify_later(State.RUNNING, leases.READ_GAP_MS / 1000)
        return told

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        async with self._database.read() as connection:
            return await outbox.following(connection, after, limit)

    async def _any_due(self, states: Collection[State]) -> bool:
        async with self._database.read() as connection:
            return bool(await connection.scalar(select(exists(leases.due(states, 1)))))

    async def _of_attempt(self, connection: AsyncConnection, attempt_id: str, *, locked: bool = False) -> Generation:
        column = tables.attempt.c.generation_id
        owner = await connection.scalar(select(column).where(tables.attempt.c.id == attempt_id))
        return await generations.of_attempt(connection, str(owner), locked=locked)

    def _notified(self, before: Generation, after: Generation) -> Generation:
        metrics.moved(before, after)
        self._notifier.notify(after.id, after.state, "outbox")
        return after
