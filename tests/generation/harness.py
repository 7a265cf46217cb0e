"""The real core between doubles: a provider and a storage that do what a test says and remember what was asked."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import update

from catalogue import MODELS, Model
from services.chassis.database import Database
from services.chassis.notifier import Notifier
from services.chassis.outbound import not_allowed
from services.chassis.parking import Parking
from services.chassis.public_files import PublicFiles
from services.chassis.supervisor import supervised
from services.generation.callbacks.receiver import CallbackReceiver
from services.generation.core.admission import AdmissionControl
from services.generation.core.download_links import DownloadLinks
from services.generation.core.generations import Generations
from services.generation.core.validation import UrlPolicy
from services.generation.key_pool.pool import Key, KeyPool
from services.generation.model import Draft, Generation, Output, State
from services.generation.outcomes import (
    Accepted,
    Copy,
    Gone,
    Later,
    NotVisible,
    Outcome,
    PromptMismatch,
    Record,
    Refused,
)
from services.generation.ports import Provider, ResultStorage
from services.generation.providers.callback_verification import KieCallbackVerifier
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.leases import make_parking
from services.generation.stores.tables import generation as generation_table
from services.generation.stores.tables import inbox as inbox_table
from services.generation.timing import Concurrency, Timing
from services.generation.workers.loops import Workers, make_loops
from services.generation.workers.recover import Recovery
from tests.support.awaited import Awaited, awaited
from tests.support.sql import execute

FAMILY = "gpt4o-image"
KIND = "image-generated"
TEMPORARY = "https://temporary.example/"
FILES = PublicFiles("http://localhost:8080/files")
TIMING = Timing(create_wait=0.2, first_poll=0.0, lost_after=0.0)
CONCURRENCY = Concurrency(submits=4, polls=4, copies=4)
DRAFT = Draft("gpt4o-image", "a cat")

CREATES = 18

Connected = Callable[[], Awaitable[None]]
Script = Callable[["Submit", Connected], Awaitable[Outcome]]


@dataclass(frozen=True)
class Submit:
    """What the provider was asked to make."""

    draft: Draft
    callback_uri: str
    account: str

    @property
    def token(self) -> str:
        """The attempt's secret, as the provider would give it back."""
        return self.callback_uri.rpartition("/")[2]


def answering(outcome: Outcome) -> Script:
    """Takes the order and answers at once."""

    async def script(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        return outcome

    return script


def unreachable(outcome: Outcome) -> Script:
    """Never connects."""

    async def script(_submit: Submit, _connected: Connected) -> Outcome:
        return outcome

    return script


class FakeProvider(Provider):
    """Makes what its records say; an account sees only its own tasks, as at the real one."""

    def __init__(self) -> None:
        self.scripts: deque[Script] = deque()
        self.submits: list[Submit] = []
        self.records: dict[str, Record] = {}
        self.owners: dict[str, str] = {}
        self.prompts: dict[str, str] = {}
        self.links: dict[str, str | Gone | Later] = {}
        self.balances: dict[str, float | Refused | Later] = {}
        self.fetches: list[str] = []

    async def submit(self, draft: Draft, callback_uri: str, key: Key, connected: Connected) -> Outcome:
        """Follow the next script, or accept."""
        asked = Submit(draft, callback_uri, key.account)
        script = self.scripts.popleft() if self.scripts else answering(Accepted(f"task{len(self.submits) + 1}"))

        async def counted() -> None:
            await connected()
            self.submits.append(asked)

        outcome = await script(asked, counted)
        if isinstance(outcome, Accepted):
            self.owners.setdefault(outcome.task_id, key.account)
        return outcome

    async def fetch(self, task_id: str, key: Key) -> Record:
        """The record, to its owner."""
        self.fetches.append(task_id)
        mine = self.owners.get(task_id, key.account) == key.account
        return self.records.get(task_id, NotVisible()) if mine else NotVisible()

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | PromptMismatch:
        """The record, unless it quotes another prompt."""
        record = await self.fetch(task_id, key)
        mismatch = not isinstance(record, NotVisible) and self.prompts.get(task_id, draft.prompt) != draft.prompt
        return PromptMismatch() if mismatch else record

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """A fresh link, if the test gave one."""
        del task_id, key
        return self.links.get(uri, Gone("no record"))

    async def credits(self, key: Key) -> float | Refused | Later:
        """What the account holds, by what the test says."""
        return self.balances.get(key.account, 1000.0)

    def owns(self, uri: str) -> bool:
        """True for the temporary host."""
        return uri.startswith(TEMPORARY)


@dataclass
class FakeStorage(ResultStorage):
    """Keeps everything, unless told otherwise."""

    answers: deque[Copy | Gone | Later] = field(default_factory=deque)
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    async def copy(self, generation_id: str, output: Output, download_uri: str) -> Copy | Gone | Later:
        """The next answer, or a copy."""
        self.asked.append((generation_id, output.index, download_uri))
        if self.answers:
            return self.answers.popleft()
        return Copy(f"generated/{generation_id}/{output.index}.png", "image/png", 7)

    async def check(self, uri: str) -> None:
        """Refuse what a name server would show to lead inside."""
        self.checked.append(uri)
        if "inside" in uri:
            raise not_allowed("The URL leads to an address that is not public.")


@dataclass
class Harness:
    """Everything of the generation service but its skin."""

    database: Database
    sql_store: Awaited
    sql_inbox: Awaited
    notifier: Notifier
    provider: FakeProvider
    storage: FakeStorage
    key_pool: KeyPool
    timing: Timing = TIMING
    models: Mapping[str, Model] = field(default_factory=lambda: MODELS)
    callback_keys: Sequence[str] = ()

    @property
    def store(self) -> Awaited:
        """The store's methods, each in a transaction of its own."""
        return awaited(self.database, self.sql_store)

    @property
    def inbox(self) -> Awaited:
        """The inbox's methods, each in a transaction of its own."""
        return awaited(self.database, self.sql_inbox)

    @property
    def url_policy(self) -> UrlPolicy:
        """The judge of strangers' URLs."""
        return UrlPolicy(FILES, self.storage)

    @property
    def generations(self) -> Generations:
        """The face of the core."""
        return Generations(
            self.database,
            self.sql_store,
            self.notifier,
            AdmissionControl(self.database, self.sql_store, self.notifier, self.key_pool, self.timing),
            self.models,
            url_policy=self.url_policy,
        )

    @property
    def receiver(self) -> CallbackReceiver:
        """The way in for callbacks."""
        return CallbackReceiver(
            self.database, self.sql_store, self.sql_inbox, KieCallbackVerifier(self.callback_keys), (KIND,)
        )

    @property
    def links(self) -> DownloadLinks:
        """Direct links."""
        return DownloadLinks(self.database, self.sql_store, self.key_pool, {FAMILY: self.provider}, self.url_policy)

    @property
    def parking(self) -> Parking:
        """Where poison is parked."""
        return make_parking(self.database)

    @property
    def workers(self) -> Workers:
        """What the loops work with."""
        families = {FAMILY: self.provider}
        return Workers(
            self.database,
            self.sql_store,
            self.sql_inbox,
            self.notifier,
            self.key_pool,
            self.provider,
            families,
            self.models,
            self.storage,
            callback_uri,
            self.timing,
            self.parking,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All loops, as the process runs them."""
        async with supervised(make_loops(self.workers, CONCURRENCY)):
            yield

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Only the loop that reads the inbox."""
        async with supervised([self.workers.processor.run]):
            yield

    def lose_patience(self, *names: str) -> None:
        """From now on orders of these models, or of all, are overdue at once."""
        overdue = {name: replace(self.models[name], patience_seconds=0.0) for name in names or self.models}
        self.models = {**self.models, **overdue}

    async def submit(self) -> None:
        """Work on what waits to be submitted, once."""
        await self._each([State.READY], self.workers.submitter.submit)

    async def poll(self) -> None:
        """Look at what the provider draws, once."""
        await self._each([State.RUNNING, State.UNKNOWN], self.workers.poller.poll)

    async def copy(self) -> None:
        """Copy what is drawn, once."""
        await self._each([State.STORING], self.workers.copier.copy)

    async def recover(self) -> None:
        """Move on what nobody holds, once."""
        states = [State.DIALING, State.SENDING, State.AMBIGUOUS]
        await self._each(states, Recovery(self.database, self.sql_store, self.timing).recover)

    async def order(self, request_key: str = "", draft: Draft = DRAFT) -> Generation:
        """An order that nobody waits for."""
        impatient = replace(self, timing=replace(self.timing, create_wait=0.0))
        return (await impatient.generations.create(draft, request_key)).generation

    async def submitted(self) -> Generation:
        """An order that the provider has accepted."""
        created = await self.order()
        await self.submit()
        return await self.store.get(created.id)

    async def callback(self, task_id: str, token: str = "", code: int = 200) -> bool:
        """A callback, as the provider sends it."""
        body = f'{{"code": {code}, "data": {{"taskId": "{task_id}"}}}}'.encode()
        return await self.receiver.receive(KIND, token, body, {})

    async def let_time_pass(self) -> None:
        """All that waits is due now."""
        await execute(self.database, update(generation_table).values(due_ms=0))
        await execute(self.database, update(inbox_table).values(due_ms=0))
        self.notifier.notify(*State, "inbox")

    async def let_leases_end(self) -> None:
        """Whoever held work is gone, and time has passed since."""
        await execute(self.database, update(generation_table).values(lease_until_ms=0))
        await self.let_time_pass()

    async def _each(self, states: Sequence[State], work: Callable[[Generation], Awaitable[Any]]) -> None:
        for generation in await self.store.claim(states, 50, 60):
            await work(generation)


def keys_of(accounts: Sequence[str] = ("one", "two")) -> list[Key]:
    """A key for each account."""
    return [Key.of(account, f"key-of-{account}") for account in accounts]


def callback_uri(family: str, token: str) -> str:
    """Where the provider is told to announce the end."""
    return f"https://site.example/api/callback/{family}/{token}"


async def make_harness(database: Database, notifier: Notifier, accounts: Sequence[str] = ("one", "two")) -> Harness:
    """A harness on a database that notifies the notifier, with a key for each account."""
    keys = await open_key_pool(database, keys_of(accounts), CREATES)
    return Harness(
        database,
        SqlGenerationStore(),
        SqlInbox(),
        notifier,
        FakeProvider(),
        FakeStorage(),
        keys,
    )


async def killed(harness: Harness, *ends: Awaitable[object]) -> None:
    """Run the loops until one of the ends, then kill them and what they do at this moment."""
    tasks = [asyncio.ensure_future(loop()) for loop in make_loops(harness.workers, CONCURRENCY)]
    waiting = [asyncio.ensure_future(end) for end in ends]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    doomed = [task for task in asyncio.all_tasks() if "LeaseLoop._do" in repr(task.get_coro())]
    for task in [*tasks, *doomed, *waiting]:
        task.cancel()
    await asyncio.gather(*tasks, *doomed, *waiting, return_exceptions=True)
    if begun := asyncio.all_tasks() - {asyncio.current_task()}:  # transactions, which end as they would in the database
        await asyncio.wait(begun)
    await harness.database.write(lambda _: None)  # on SQLite it comes after them
