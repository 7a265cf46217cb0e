"""The ports of generation: what its logic needs of a store, of providers and of storage."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis.database import Transaction
from services.generation.key_pool.pool import Key
from services.generation.model import (
    Attempt,
    Callback,
    Draft,
    Event,
    Failure,
    Generation,
    Output,
    Placed,
    State,
    TimelineFacts,
)
from services.generation.outcomes import Copy, Gone, Later, Outcome, PromptMismatch, Record
from services.generation.quota import Charge


class FenceLost(Exception):  # noqa: N818 - an expected outcome, not a mistake
    """Another worker has moved the generation since it was read; who gets this drops the work."""


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
    """Changes beside the state. None leaves a value as it is; a known output is updated, a new one inserted."""

    due_in: float = 0.0
    tries: int = 0
    failure: Failure | None = None
    progress: int | None = None
    outputs: tuple[Output, ...] = ()


NOTHING = Change()


@dataclass(frozen=True)
class Sent:
    """What a caller sent under a request id: its hash, and the order itself unless the caller gave a digest of it."""

    hash: str
    draft: Draft | None = None


@dataclass(frozen=True)
class Refusal:
    """How an order's attempts were refused: seconds since the first of them began, and code and message of the last."""

    seconds: float
    code: int
    message: str


class GenerationStore(Protocol):
    """The store of generations. Every method works in the caller's transaction and writes its event with the change.

    A change that names a Generation is fenced: it applies only while state and fence are those of the argument, else
    FenceLost is raised and nothing changed. Facts about attempts are never fenced. Once a change is committed it is
    counted, and wakes whoever waits for it.
    """

    def requested(self, transaction: Transaction, request_key: str, sent: "Sent") -> Generation | None:
        """The generation that a request_key made, None when it made none.

        Raises:
            AlreadyExists: something else was sent under it (reason IDEMPOTENCY_KEY_REUSED, metadata generation).
        """

    def insert(
        self,
        transaction: Transaction,
        generation: Generation,
        request_key: str,
        request_hash: str,
        charges: Sequence[Charge] = (),
        *,
        sent_hash: str = "",
    ) -> Placed:
        """Store a new READY generation, due now. A request_key seen before returns its first generation, uncounted.

        request_hash is of the order with its defaults, for replicas of before that know no other.

        Raises:
            AlreadyExists: something else was sent under the request_key (reason IDEMPOTENCY_KEY_REUSED).
            ResourceExhausted: a charge's day is used up (reason RATE_LIMIT, of the site SITE_QUOTA_EXCEEDED);
                nothing is stored, and nothing counted for anybody.
        """

    def get(self, transaction: Transaction, identifier: str) -> Generation:
        """The generation by our id or by the provider's task id.

        Raises:
            NotFound: no such generation (reason TASK_NOT_FOUND).
        """

    def made_by(self, transaction: Transaction, request_key: str) -> Generation:
        """The generation that a request made.

        Raises:
            NotFound: it made none (reason TASK_NOT_FOUND).
        """

    def list(self, transaction: Transaction, page: Page) -> Sequence[Generation]:
        """Generations by (create_ms, id) descending."""

    def any_due(self, transaction: Transaction, states: Collection[State]) -> bool:
        """True when there is work that claim would take."""

    def claim(
        self, transaction: Transaction, states: Collection[State], limit: int, lease_seconds: float
    ) -> Sequence[Generation]:
        """Take work that is due and unleased: fence + 1, tries + 1, leased; no row goes to two.

        Orders go in the order they came; everything else newest first, since that is most likely being watched.

        The work of a process that died is found by its expired lease.
        """

    def renew(self, transaction: Transaction, generation: Generation, lease_seconds: float) -> None:
        """Prolong the lease. Raises FenceLost."""

    def hold(self, transaction: Transaction, generation: Generation, lease_seconds: float) -> Generation:
        """Lease a generation in any state: fence + 1. Raises FenceLost, also while another worker holds it."""

    def dial(self, transaction: Transaction, generation: Generation, attempt: Attempt) -> Generation:
        """READY to DIALING with a new attempt. Raises FenceLost."""

    def move(
        self, transaction: Transaction, generation: Generation, state: State, change: Change = NOTHING
    ) -> Generation:
        """Move to another state; complete_ms is set when it is final. Raises FenceLost.

        SENDING keeps the lease, since the same worker goes on; every other state releases it.
        """

    def touch(self, transaction: Transaction, generation: Generation, change: Change) -> Generation:
        """Change a generation without a change of state; an event is written only when progress or outputs changed."""

    def accept(self, transaction: Transaction, attempt_id: str, task_id: str, due_in: float) -> Generation:
        """Record that an attempt was answered with a task id, by whatever way and however late that becomes known.

        The first id stays. A generation that was unsure of its answer becomes RUNNING; one that was canceled keeps
        its state; one that goes on without this task gets a reminder of it in the inbox. Returns the generation.

        Raises:
            AlreadyExists: another attempt of the account was answered with this task, or a callback named it with
                that one's token, and none with this one's (reason TASK_TAKEN).
        """

    def assign(self, transaction: Transaction, attempt_id: str, task_id: str, due_in: float) -> bool:
        """Give an attempt a task that another attempt of the account was answered with by mistake.

        The other's becomes AMBIGUOUS, due in due_in, and loses the pictures it was storing; one that has ended
        keeps its state and pictures. What came with the other's own token is looked into anew. False, and nothing
        changes, when the task was named with the other's token, too.
        """

    def is_named_by_callback(self, transaction: Transaction, attempt_id: str, task_id: str) -> bool:
        """True when a callback with the attempt's token named the task."""

    def decline(
        self, transaction: Transaction, attempt_id: str, outcome: Outcome, state: State, change: Change
    ) -> bool:
        """Record that an attempt's order was provably not taken: its generation becomes READY or FAILED, leases end.

        The outcome is noted with that: one that is noted is one that was followed. Never fenced, like
        accept: recovery may have taken the attempt for unanswered while its refusal waited for the database. False,
        and only the outcome is noted, unless the generation waits for this attempt's answer (DECLINABLE) and knows of
        no task.
        """

    def note_outcome(self, transaction: Transaction, attempt_id: str, outcome: Outcome) -> None:
        """Record an outcome other than a refusal with its attempt, for the timeline; see decline."""

    def refusal(self, transaction: Transaction, generation: Generation, codes: Collection[int]) -> Refusal | None:
        """How the attempts of an order, since it last became READY anew, were refused with a code, if any was."""

    def attempt(self, transaction: Transaction, attempt_id: str) -> Attempt | None:
        """The attempt with this id, if there is one."""

    def attempt_of_task(self, transaction: Transaction, task_id: str) -> Attempt | None:
        """The attempt that was answered with a task id."""

    def wake(self, transaction: Transaction, generation_id: str) -> bool:
        """Make a generation that waits for its provider due now; False while its record is read."""

    def cancel(self, transaction: Transaction, generation: Generation) -> Generation:
        """CANCELED from any state that is not final, ending leases. Raises FenceLost."""

    def restart(
        self, transaction: Transaction, generation: Generation, charges: Sequence[Charge] = (), *, counted_ms: int = 0
    ) -> Placed:
        """READY again for a new chain of attempts, its outputs removed. Of a task still awaited, the inbox is reminded.

        The charges count one order, unless it was counted at `counted_ms` and that is on the present day.

        Raises:
            FenceLost: it changed meanwhile.
            ResourceExhausted: a charge's day is used up, as at insert; nothing is changed.
        """

    def deliver(
        self, transaction: Transaction, generation: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
    ) -> Generation:
        """From any RESULTLESS state to STORING with the pictures of another task, ending leases. Raises FenceLost.

        Of the task that was awaited instead, a reminder goes into the inbox. An id that only a reply named gives way to
        the task's.
        """

    def restore(self, transaction: Transaction, generation: Generation) -> bool:
        """Store a generation that ended elsewhere, as it is; False when its id is taken. Writes no event."""

    def complete(self, transaction: Transaction, generation: Generation, outputs: Sequence[Output]) -> Generation:
        """SUCCEEDED, from that or from RESULT_LOST, with pictures whose copies were made late. Raises FenceLost."""

    def forget(self, transaction: Transaction, generation_id: str) -> bool:
        """Remove prompt and input pictures from a generation that has ended; False when it has not."""

    def timeline_facts(self, transaction: Transaction, generation: Generation) -> TimelineFacts:
        """The facts of a generation's timeline, each kind oldest first."""

    def events(self, transaction: Transaction, after: int, limit: int) -> Sequence[Event]:
        """Outbox events with a higher sequence, in order; 0 begins with the oldest that is kept.

        Raises:
            OutOfRange: events after a sequence other than 0 have been pruned (reason EVENTS_PRUNED).
        """

    def old_events(self, transaction: Transaction, older_than: float, limit: int) -> tuple[int, int]:
        """The last of the oldest events that are older than `older_than` seconds, and how many; of `limit` at most."""

    def delete_events(self, transaction: Transaction, through: int) -> None:
        """Delete the events up to a sequence, and record that they are deleted."""


class Inbox(Protocol):
    """Callbacks, and our own reminders, until they are processed. Every method works in the caller's transaction."""

    def add(self, transaction: Transaction, callback: Callback) -> bool:
        """Store a callback; False when the same (attempt, task, code) is stored already.

        A repetition opens a closed callback again, unless its verdict is settled: done, delivered, extra or recorded.
        """

    def open_without_token(self, transaction: Transaction) -> int:
        """How many open callbacks came without a token."""

    def open_with_token_of(self, transaction: Transaction, attempt_id: str) -> int:
        """How many open callbacks came with an attempt's token."""

    def take(self, transaction: Transaction, limit: int) -> Sequence[Callback]:
        """Open callbacks that are due, oldest first: leased for some seconds, tries + 1."""

    def finish(self, transaction: Transaction, callback: Callback, verdict: str) -> None:
        """Close a callback with a verdict; one that was repeated since it was taken stays open."""

    def renew(self, transaction: Transaction, callback: Callback) -> None:
        """Prolong the lease of a callback, unless it was repeated since it was taken."""

    def postpone(self, transaction: Transaction, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        """Make a callback due again later; with `counted` False this try does not count."""

    def old(self, transaction: Transaction, older_than: float, limit: int) -> Sequence[str]:
        """Ids of closed callbacks older than `older_than` seconds, else of all but the newest without a token."""

    def delete_closed(self, transaction: Transaction, ids: Sequence[str]) -> None:
        """Delete those of the callbacks that are closed still."""


class Provider(Protocol):
    """One family of a provider's API: the only place that understands its JSON."""

    async def submit(
        self, draft: Draft, callback_uri: str, key: Key, connected: Callable[[], Awaitable[None]]
    ) -> Outcome:
        """Send one order, once.

        `connected` runs after the connection is up and before the first byte; if it raises FenceLost nothing is sent
        and it passes through. Never raises otherwise: every failure is an Outcome.
        """

    async def fetch(self, task_id: str, key: Key) -> Record:
        """Read the provider's record of a task. Never raises: a record that cannot be read now is Unreadable."""

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | PromptMismatch:
        """Read the record of a task that may be this draft's; PromptMismatch when the record shows another prompt.

        A record that does not quote the prompt it was ordered with proves nothing, and is accepted.
        """

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """A fresh direct link to a result; task_id may be empty when it is not known."""

    def owns(self, uri: str) -> bool:
        """True when the URL is one of the provider's temporary ones, judged by its parsed host."""


class CallbackVerifier(Protocol):
    """Verifies and reads callbacks. A callback is a hint: only its task id and code are read."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, int]:
        """Verify a callback and return its task id and code.

        Raises:
            InvalidArgument: not of any known shape, or its ids disagree.
            Unauthenticated: a signature is required and missing, wrong or stale.
        """


class ResultStorage(Protocol):
    """The storage service, as generation uses it."""

    async def copy(self, generation_id: str, output: Output, download_uri: str) -> Copy | Gone | Later:
        """Copy a result for good; idempotent by (generation, index). A download_uri is tried before the source's."""

    async def check(self, uri: str) -> None:
        """Resolve the host of an input URL and check that it is public; a name that cannot be resolved now passes.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED, not to the public internet.
            Unavailable, DeadlineExceeded: storage cannot say now.
        """
