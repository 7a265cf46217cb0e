"""The background loops of generation with their bounds: submit, poll, copy and recover, callbacks, key health."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.parking import Parking
from services.generation.callbacks.late_results import LateResults
from services.generation.callbacks.processor import CallbackProcessor
from services.generation.key_pool.health_checks import KeyHealthChecks
from services.generation.key_pool.pool import BalanceReader, KeyPool
from services.generation.model import State
from services.generation.notifier import Notifier
from services.generation.ports import GenerationStore, Inbox, Provider, ResultStorage
from services.generation.timing import Concurrency, Timing
from services.generation.workers import copy, poll, submit
from services.generation.workers.lease_loop import LeaseLoop, LoopSpec, Work, nothing_to_show
from services.generation.workers.parked_work import ParkedWork

RECOVERED_AT_ONCE = 50  # recovering one is one statement


@dataclass(frozen=True)
class Workers:
    """Builds the background workers from what they share."""

    store: GenerationStore
    inbox: Inbox
    notifier: Notifier
    key_pool: KeyPool
    balances: BalanceReader
    providers: Mapping[str, Provider]
    storage: ResultStorage
    callback_uri: Callable[[str, str], str]
    timing: Timing
    parking: Parking

    @property
    def parked_work(self) -> ParkedWork:
        """Shows and releases parked work."""
        return ParkedWork(self.store, self.parking, self.notifier)

    @property
    def poller(self) -> poll.Poller:
        """Reads the provider's records."""
        return poll.Poller(self.store, self.key_pool, self.providers, self.timing)

    @property
    def processor(self) -> CallbackProcessor:
        """Processes the callback inbox."""
        late_results = LateResults(self.store, self.storage, self.timing)
        return CallbackProcessor(self.store, self.inbox, self.notifier, self.poller, late_results, parking=self.parking)

    @property
    def copier(self) -> copy.Copier:
        """Copies results."""
        return copy.Copier(self.store, self.storage, self.key_pool, self.providers, self.timing)

    @property
    def health_checks(self) -> KeyHealthChecks:
        """Checks the health of the provider keys."""
        return KeyHealthChecks(self.key_pool, self.balances, self.timing)


def make_loops(workers: Workers, concurrency: Concurrency) -> Sequence[Callable[[], Awaitable[None]]]:
    """The loops, each ready to run under a supervisor."""
    reads = workers.poller
    sends = submit.Submitter(workers.store, workers.key_pool, workers.providers, workers.callback_uri, workers.timing)
    recovery = submit.Recovery(workers.store, workers.timing)

    parked_work = workers.parked_work

    def loop(
        states: Sequence[State], at_once: int, work: Work, before_parking: Work = nothing_to_show
    ) -> Callable[[], Awaitable[None]]:
        spec = LoopSpec(states, states[0], at_once, workers.timing.lease, before_parking)
        return LeaseLoop(workers.store, workers.parking, workers.notifier, spec, work).run

    return (
        loop((State.READY,), concurrency.submits, sends.submit, parked_work.unsent),
        loop((State.RUNNING, State.UNKNOWN), concurrency.polls, reads.poll, parked_work.unread),
        loop((State.STORING,), concurrency.copies, workers.copier.copy, parked_work.uncopied),
        loop((State.DIALING, State.SENDING, State.AMBIGUOUS), RECOVERED_AT_ONCE, recovery.recover),
        workers.processor.run,
        workers.health_checks.run,
    )
