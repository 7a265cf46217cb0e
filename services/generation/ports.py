"""The seams of generation: what the core needs of a store, of providers and of an archive."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.generation.answers import Copy, Foreign, Gone, Later, Outcome, Record
from services.generation.keyring import Key
from services.generation.model import Attempt, Draft, Event, Failure, Generation, Output, State, Story
from services.generation.quota import Charge


class FenceLost(Exception):  # noqa: N818 - it is news, not a mistake
    """Somebody else has moved the generation since it was read; whoever hears this drops the work."""


@dataclass(frozen=True)
class Page:
    """Which generations to list: the newest first, from after a position on."""

    size: int
    after: tuple[int, str] | None = None
    states: tuple[State, ...] = ()
    start_ms: int = 0
    end_ms: int = 0


@dataclass(frozen=True)
class Change:
    """What changes beside the state. None leaves a value as it is; a known output is updated, a new one inserted."""

    due_in: float = 0.0
    tries: int = 0
    failure: Failure | None = None
    progress: int | None = None
    outputs: tuple[Output, ...] = ()


NOTHING = Change()


@dataclass(frozen=True)
class Sent:
    """What a caller sent under a request id: its hash, and the order itself unless a digest stands for it."""

    hash: str
    draft: Draft | None = None


@dataclass(frozen=True)
class Refusal:
    """How attempts of an order were refused: seconds since the first began, and the last's code and sentence."""

    seconds: float
    code: int
    message: str


class GenerationStore(Protocol):
    """The truth about generations. Every method is one transaction that writes its outbox event with the change.

    A change that names a Generation is fenced: it applies only while state and fence are those of the argument, else
    FenceLost is raised and nothing changed. Facts about attempts are never fenced. Every method may raise
    errors.Unavailable, with nothing committed.
    """

    async def requested(self, request_key: str, sent: "Sent") -> Generation | None:
        """The generation that a request_key made, None when it made none.

        Raises:
            AlreadyExists: something else was sent under it (reason IDEMPOTENCY_KEY_REUSED, metadata generation).
        """

    async def insert(
        self,
        generation: Generation,
        request_key: str,
        request_hash: str,
        charges: Sequence[Charge] = (),
        *,
        sent_hash: str = "",
    ) -> Generation:
        """Store a new READY generation, due now. A request_key seen before returns its first generation, uncounted.

        request_hash is of the order with its defaults, for replicas of before that know no other.

        Raises:
            AlreadyExists: something else was sent under the request_key (reason IDEMPOTENCY_KEY_REUSED).
            ResourceExhausted: a charge's day is used up (reason RATE_LIMIT, of the site SITE_QUOTA_EXCEEDED);
                nothing is stored, and nothing counted for anybody.
        """

    async def get(self, identifier: str) -> Generation:
        """The generation by our id or by the provider's task id.

        Raises:
            NotFound: no such generation (reason TASK_NOT_FOUND).
        """

    async def made_by(self, request_key: str) -> Generation:
        """The generation that a request made.

        Raises:
            NotFound: it made none (reason TASK_NOT_FOUND).
        """

    async def list(self, page: Page) -> Sequence[Generation]:
        """Generations by (create_ms, id) descending."""

    async def claim(self, states: Collection[State], limit: int, lease_seconds: float) -> Sequence[Generation]:
        """Take work that is due and unleased: fence + 1, tries + 1, leased; no row goes to two.

        Orders go in the order they came; everything else newest first, since that is what somebody may be watching.

        A lease that ran out is how the work of a process that died is found.
        """

    async def renew(self, generation: Generation, lease_seconds: float) -> None:
        """Prolong the lease. Raises FenceLost."""

    async def hold(self, generation: Generation, lease_seconds: float) -> Generation:
        """Lease a generation in any state: fence + 1. Raises FenceLost, also while somebody else holds it."""

    async def dial(self, generation: Generation, attempt: Attempt) -> Generation:
        """READY to DIALING with a new attempt, in one transaction. Raises FenceLost."""

    async def move(self, generation: Generation, state: State, change: Change = NOTHING) -> Generation:
        """Move to another state; complete_ms is set when it is final. Raises FenceLost.

        SENDING keeps the lease, since the same worker goes on; every other state releases it.
        """

    async def touch(self, generation: Generation, change: Change) -> Generation:
        """The same without a change of state; an event is written only when progress or outputs changed."""

    async def accept(self, attempt_id: str, task_id: str, due_in: float) -> Generation:
        """Note the fact that an attempt was answered with a task id, whoever learns it and however late.

        The first id stays. A generation that was unsure of its answer becomes RUNNING; one that was canceled keeps
        its state; one that goes on without this task gets a reminder of it into the inbox. Returns it as it is now.

        Raises:
            AlreadyExists: another attempt of the account was answered with this task, or a webhook named it with
                that one's token, and none with this one's (reason TASK_TAKEN).
        """

    async def assign(self, attempt_id: str, task_id: str, due_in: float) -> bool:
        """Take a task from whichever other attempt of the account was only answered with it, and so lost its answer.

        Its generation becomes AMBIGUOUS, due in due_in, and loses the pictures it was storing; one that has ended
        keeps its state and pictures. What came with the other's own token is looked into anew. False, and nothing
        changes, when the task was named with the other's token, too.
        """

    async def is_told(self, attempt_id: str, task_id: str) -> bool:
        """True when a webhook with the attempt's token named the task."""

    async def decline(self, attempt_id: str, state: State, change: Change) -> bool:
        """Note the fact that an attempt's order was provably not taken: READY or FAILED, ending leases.

        Never fenced, like accept: recovery may have taken the attempt for unanswered while its refusal waited for the
        database. False, and nothing changes, unless the generation waits for this attempt's answer (UNHEARD) and knows
        of no task.
        """

    async def note_outcome(self, attempt_id: str, outcome: Outcome) -> None:
        """Keep the outcome with its attempt, for people who ask later."""

    async def refusal(self, generation: Generation, codes: Collection[int]) -> Refusal | None:
        """How the attempts of an order, since it was last READY as if new, were refused with some codes, if any was."""

    async def attempt(self, attempt_id: str) -> Attempt | None:
        """One attempt."""

    async def attempt_of_task(self, task_id: str) -> Attempt | None:
        """The attempt that was answered with a task id."""

    async def wake(self, generation_id: str) -> bool:
        """Make a generation that waits for its provider due now; False when it is being read, so tell it again."""

    async def cancel(self, generation: Generation) -> Generation:
        """CANCELED from any state that is not final, ending leases. Raises FenceLost."""

    async def restart(
        self, generation: Generation, charges: Sequence[Charge] = (), *, counted_ms: int = 0
    ) -> Generation:
        """READY again for a new chain of attempts, its outputs removed. Of a task still awaited, the inbox is reminded.

        The charges count one order, unless it was counted at `counted_ms` and that is on the present day.

        Raises:
            FenceLost: it changed meanwhile.
            ResourceExhausted: a charge's day is used up, as at insert; nothing is changed.
        """

    async def deliver(
        self, generation: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
    ) -> Generation:
        """From any RESULTLESS state to STORING with the pictures of another task, ending leases. Raises FenceLost.

        Of the task that was awaited instead, a reminder goes into the inbox. An id that only a reply named gives way to
        the task's.
        """

    async def restore(self, generation: Generation) -> bool:
        """Store a generation that ended elsewhere, as it is; False when its id is taken. No event: it is no news."""

    async def mend(self, generation: Generation, outputs: Sequence[Output]) -> Generation:
        """SUCCEEDED, from that or from RESULT_LOST, with pictures whose copies were made late. Raises FenceLost."""

    async def forget(self, generation_id: str) -> bool:
        """Remove prompt and input pictures from a generation that has ended; False when it has not."""

    async def story(self, generation: Generation) -> Story:
        """Everything that happened to a generation, each part oldest first."""

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Outbox events with a higher sequence, in order; 0 begins with the oldest that is kept.

        Raises:
            OutOfRange: events after a sequence other than 0 have been pruned (reason EVENTS_PRUNED).
        """


class Provider(Protocol):
    """One family of a provider's API: the only place that understands its JSON."""

    async def submit(
        self, draft: Draft, callback_uri: str, key: Key, connected: Callable[[], Awaitable[None]]
    ) -> Outcome:
        """Send one order, once.

        `connected` runs after the connection is up and before the first byte; if it raises FenceLost nothing is sent
        and it passes through. Never raises otherwise: every mishap is an Outcome.
        """

    async def fetch(self, task_id: str, key: Key) -> Record:
        """Read the provider's record of a task. Never raises: what cannot be read now is Unreadable."""

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | Foreign:
        """The same for a task that somebody says was ordered by this draft; Foreign when its record says otherwise.

        A record that does not quote the prompt it was ordered with proves nothing, and is believed.
        """

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """A fresh direct link to a result; task_id may be empty when it is not known."""

    def owns(self, uri: str) -> bool:
        """True when the URL is one of the provider's temporary ones, judged by its parsed host."""


class Webhooks(Protocol):
    """The only reader of webhook bodies. A webhook is a hint: nothing in it but its task id and code is believed."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, int]:
        """Verify a webhook and return its task id and code.

        Raises:
            InvalidArgument: not of any known shape, or its ids disagree.
            Unauthenticated: a signature is required and missing, wrong or stale.
        """


class Archive(Protocol):
    """Storage, as generation sees it."""

    async def keep(self, generation_id: str, output: Output, download_uri: str) -> Copy | Gone | Later:
        """Make a permanent copy; idempotent by (generation, index). A download_uri is tried before the source's."""

    async def check(self, uri: str) -> None:
        """Look up where a stranger's URL leads; a name that cannot be resolved now passes.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED, not to the public internet.
            Unavailable, DeadlineExceeded: storage cannot say now.
        """
