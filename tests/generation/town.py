"""The real core between doubles: a provider and an archive that do what a test says and remember what was asked."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import update

from services.chassis.database import Database
from services.chassis.files import PublicFiles
from services.chassis.outbound import not_allowed
from services.chassis.parking import Parking
from services.chassis.supervisor import supervised
from services.generation.answers import Accepted, Copy, Foreign, Gone, Invisible, Later, Outcome, Record, Refused
from services.generation.bell import Bell
from services.generation.core import Counter, Generations
from services.generation.core.janitor import Janitor
from services.generation.core.keeper import Keeper
from services.generation.core.links import Links
from services.generation.core.loops import Crew, make_loops
from services.generation.core.mailbox import Mailbox
from services.generation.core.pictures import Pictures
from services.generation.core.poller import Poller
from services.generation.core.submitter import Submitter
from services.generation.keyring import Key
from services.generation.model import Draft, Generation, Output, State
from services.generation.plan import Bounds, Plan
from services.generation.ports import Archive, Provider
from services.generation.providers.models import MODELS
from services.generation.providers.webhooks import KieWebhooks
from services.generation.stores import make_parking
from services.generation.stores.keys import SqlKeys, open_keys
from services.generation.stores.mail import SqlInbox
from services.generation.stores.sql import SqlStore
from services.generation.stores.tables import generation as generation_table
from services.generation.stores.tables import inbox as inbox_table

FAMILY = "gpt4o-image"
KIND = "image-generated"
TEMPORARY = "https://temporary.example/"
FILES = PublicFiles("http://localhost:8080/files")
PLAN = Plan(create_wait=0.2, first_poll=0.0, lost_after=0.0)
BOUNDS = Bounds(submits=4, polls=4, copies=4)
DRAFT = Draft("gpt4o-image", "a cat")

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
        return self.records.get(task_id, Invisible()) if mine else Invisible()

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | Foreign:
        """The record, unless it quotes another prompt."""
        record = await self.fetch(task_id, key)
        mismatch = not isinstance(record, Invisible) and self.prompts.get(task_id, draft.prompt) != draft.prompt
        return Foreign() if mismatch else record

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
class FakeArchive(Archive):
    """Keeps everything, unless told otherwise."""

    answers: deque[Copy | Gone | Later] = field(default_factory=deque)
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    async def keep(self, generation_id: str, output: Output, download_uri: str) -> Copy | Gone | Later:
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
class Town:
    """Everything of the generation service but its skin."""

    database: Database
    store: SqlStore
    inbox: SqlInbox
    bell: Bell
    provider: FakeProvider
    archive: FakeArchive
    keys: SqlKeys
    plan: Plan = PLAN
    webhook_keys: Sequence[str] = ()

    @property
    def pictures(self) -> Pictures:
        """The judge of strangers' URLs."""
        return Pictures(FILES, self.archive)

    @property
    def generations(self) -> Generations:
        """The face of the core."""
        return Generations(
            self.store, self.bell, Counter(self.store, self.bell, self.keys, self.plan), MODELS, self.pictures
        )

    @property
    def mailbox(self) -> Mailbox:
        """The way in for webhooks."""
        return Mailbox(self.store, self.inbox, KieWebhooks(self.webhook_keys), (KIND,))

    @property
    def links(self) -> Links:
        """Direct links."""
        return Links(self.store, self.keys, {FAMILY: self.provider}, self.pictures)

    @property
    def parking(self) -> Parking:
        """Where poison is parked."""
        return make_parking(self.database)

    @property
    def crew(self) -> Crew:
        """What the loops work with."""
        families = {FAMILY: self.provider}
        return Crew(
            self.store,
            self.inbox,
            self.bell,
            self.keys,
            self.provider,
            families,
            self.archive,
            callback_uri,
            self.plan,
            self.parking,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All loops, as the process runs them."""
        async with supervised(make_loops(self.crew, BOUNDS)):
            yield

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Only the loop that reads the inbox."""
        async with supervised([self.crew.postman.run]):
            yield

    async def submit(self) -> None:
        """Work on what waits to be submitted, once."""
        crew = self.crew
        worker = Submitter(crew.store, crew.keys, crew.providers, crew.callback_uri, crew.plan)
        await self._each([State.READY], worker.submit)

    async def poll(self) -> None:
        """Look at what the provider draws, once."""
        await self._each([State.RUNNING, State.UNKNOWN], self._poller.poll)

    async def keep(self) -> None:
        """Copy what is drawn, once."""
        crew = self.crew
        worker = Keeper(crew.store, crew.archive, crew.keys, crew.providers, crew.plan)
        await self._each([State.STORING], worker.keep)

    async def tidy(self) -> None:
        """Move on what nobody holds, once."""
        states = [State.DIALING, State.SENDING, State.AMBIGUOUS]
        await self._each(states, Janitor(self.store, self.plan).tidy)

    async def order(self, request_key: str = "", draft: Draft = DRAFT) -> Generation:
        """An order that nobody waits for."""
        return await replace(self, plan=replace(self.plan, create_wait=0.0)).generations.create(draft, request_key)

    async def callback(self, task_id: str, token: str = "", code: int = 200) -> bool:
        """A webhook, as the provider sends it."""
        body = f'{{"code": {code}, "data": {{"taskId": "{task_id}"}}}}'.encode()
        return await self.mailbox.receive(KIND, token, body, {})

    async def let_time_pass(self) -> None:
        """All that waits is due now."""
        async with self.database.write() as connection:
            await connection.execute(update(generation_table).values(due_ms=0))
            await connection.execute(update(inbox_table).values(due_ms=0))
        self.bell.ring(*State, "inbox")

    async def let_leases_end(self) -> None:
        """Whoever held work is gone, and time has passed since."""
        async with self.database.write() as connection:
            await connection.execute(update(generation_table).values(lease_until_ms=0))
        await self.let_time_pass()

    @property
    def _poller(self) -> Poller:
        return Poller(self.store, self.keys, {FAMILY: self.provider}, self.plan)

    async def _each(self, states: Sequence[State], work: Callable[[Generation], Awaitable[Any]]) -> None:
        for generation in await self.store.claim(states, 50, 60):
            await work(generation)


def callback_uri(family: str, token: str) -> str:
    """Where the provider is told to announce the end."""
    return f"https://site.example/api/callback/{family}/{token}"


async def make_town(database: Database, accounts: Sequence[str] = ("one", "two")) -> Town:
    """A town on an open database, with a key for each account."""
    bell = Bell()
    pool = [Key.of(account, f"key-of-{account}") for account in accounts]
    keys = await open_keys(database, bell, pool, creates=18)
    return Town(database, SqlStore(database, bell), SqlInbox(database, bell), bell, FakeProvider(), FakeArchive(), keys)
