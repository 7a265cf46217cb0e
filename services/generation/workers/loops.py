"""The background loops of generation with their bounds: submit, poll, copy and recover, callbacks, key health."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from catalogue import Model
from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.lease_loop import LeasedWork, LeaseLoop, no_change
from services.chassis.notifier import Notifier
from services.chassis.parking import TRANSIENT, Parking, WorkFault
from services.generation.callbacks.late_results import LateResults
from services.generation.callbacks.processor import CallbackProcessor
from services.generation.key_pool.health_checks import KeyHealthChecks
from services.generation.key_pool.pool import BalanceReader, KeyPool
from services.generation.model import LOOP_OF, Generation, State
from services.generation.ports import Change, FenceLost, GenerationStore, Inbox, Provider, ResultStorage
from services.generation.timing import Concurrency, Timing
from services.generation.workers import copy, poll, recover, submit
from services.generation.workers.leases import Leases
from services.generation.workers.parked_work import ParkedWork

RECOVERED_AT_ONCE = 50  # recovering one is one statement

Work = Callable[[Generation], Awaitable[object]]

logger = structlog.get_logger()


@dataclass(frozen=True)
class Workers:
    """Builds the background workers from what they share."""

    database: Database
    store: GenerationStore
    inbox: Inbox
    notifier: Notifier
    key_pool: KeyPool
    balances: BalanceReader
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    storage: ResultStorage
    callback_uri: Callable[[str, str], str]
    timing: Timing
    parking: Parking

    @property
    def parked_work(self) -> ParkedWork:
        """Shows and releases parked work."""
        return ParkedWork(self.database, self.store, self.parking, self.notifier)

    @property
    def submitter(self) -> submit.Submitter:
        """Sends orders."""
        return submit.Submitter(
            self.database, self.store, self.key_pool, self.providers, self.callback_uri, timing=self.timing
        )

    @property
    def poller(self) -> poll.Poller:
        """Reads the provider's records."""
        return poll.Poller(self.database, self.store, self.key_pool, self.providers, self.models, timing=self.timing)

    @property
    def processor(self) -> CallbackProcessor:
        """Processes the callback inbox."""
        late_results = LateResults(self.database, self.store, self.storage, self.timing)
        return CallbackProcessor(
            self.database,
            self.store,
            self.inbox,
            self.notifier,
            self.poller,
            late_results=late_results,
            parking=self.parking,
        )

    @property
    def copier(self) -> copy.Copier:
        """Copies results."""
        return copy.Copier(self.database, self.store, self.storage, self.key_pool, self.providers, timing=self.timing)

    @property
    def health_checks(self) -> KeyHealthChecks:
        """Checks the health of the provider keys."""
        return KeyHealthChecks(self.key_pool, self.balances, self.timing)

    def lease_loop(
        self, states: Sequence[State], at_once: int, work: Work, before_parking: Work = no_change
    ) -> LeaseLoop[Generation]:
        """The loop that works on due generations in some states; without `before_parking` a state shows enough."""
        leases = Leases(self.database, self.store, self.timing.lease)

        async def do(generation: Generation) -> None:
            with failpoints.work_on(generation.id):
                await work(generation)

        async def failed(generation: Generation, fault: WorkFault) -> None:
            change = Change(due_in=fault.pause_seconds, tries=generation.tries)
            await self.database.write(self.store.touch, generation, change)

        leased = LeasedWork(
            loop=LOOP_OF[states[0]],
            claim=partial(leases.claim, states),
            do=do,
            failed=failed,
            postponed=_log_postponed,
            at_once=at_once,
            lease_seconds=leases.seconds,
            renew=leases.renew,
            fenced=True,
            expected=(FenceLost, *TRANSIENT),
            before_parking=before_parking,
        )
        return LeaseLoop(leased, self.parking, self.notifier, states[0])


async def _log_postponed(generation: Generation, error: Exception) -> None:
    match error:
        case FenceLost():
            logger.info("fence_lost", generation=generation.id, state=generation.state)
        case _:
            logger.warning("work_postponed", generation=generation.id, cause=str(error))


def make_loops(workers: Workers, concurrency: Concurrency) -> Sequence[Callable[[], Awaitable[None]]]:
    """The loops, each ready to run under a supervisor."""
    reads = workers.poller
    recovery = recover.Recovery(workers.database, workers.store, workers.timing)

    parked_work, loop = workers.parked_work, workers.lease_loop
    return (
        loop((State.READY,), concurrency.submits, workers.submitter.submit, parked_work.unsent).run,
        loop((State.RUNNING, State.UNKNOWN), concurrency.polls, reads.poll, parked_work.unread).run,
        loop((State.STORING,), concurrency.copies, workers.copier.copy, parked_work.uncopied).run,
        loop((State.DIALING, State.SENDING, State.AMBIGUOUS), RECOVERED_AT_ONCE, recovery.recover).run,
        workers.processor.run,
        workers.health_checks.run,
    )
