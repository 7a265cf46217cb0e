"""The loops, each with its bounds: submit, poll, keep and tidy carry generations on, two read mail and mind keys."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.parking import Parking
from services.generation.bell import Bell
from services.generation.core import janitor, keeper, poller, submitter
from services.generation.core.latecomers import Latecomers
from services.generation.core.poison import Poison
from services.generation.core.postman import Postman
from services.generation.core.warden import Warden
from services.generation.core.worker import Round, Work, Worker, unseen
from services.generation.keyring import Bank, Keys
from services.generation.letterbox import Inbox
from services.generation.model import State
from services.generation.plan import Bounds, Plan
from services.generation.ports import Archive, GenerationStore, Provider

TIDIED_AT_ONCE = 50  # each is one statement


@dataclass(frozen=True)
class Crew:
    """What the loops work with."""

    store: GenerationStore
    inbox: Inbox
    bell: Bell
    keys: Keys
    bank: Bank
    providers: Mapping[str, Provider]
    archive: Archive
    callback_uri: Callable[[str, str], str]
    plan: Plan
    parking: Parking

    @property
    def poison(self) -> Poison:
        """Who shows and releases what is parked."""
        return Poison(self.store, self.parking, self.bell)

    @property
    def poller(self) -> poller.Poller:
        """Who reads the provider's records."""
        return poller.Poller(self.store, self.keys, self.providers, self.plan)

    @property
    def postman(self) -> Postman:
        """Who reads the inbox."""
        latecomers = Latecomers(self.store, self.archive, self.plan)
        return Postman(self.store, self.inbox, self.bell, self.poller, latecomers, parking=self.parking)

    @property
    def keeper(self) -> keeper.Keeper:
        """Who has pictures copied."""
        return keeper.Keeper(self.store, self.archive, self.keys, self.providers, self.plan)

    @property
    def warden(self) -> Warden:
        """Who looks after the keys."""
        return Warden(self.keys, self.bank, self.plan)


def make_loops(crew: Crew, bounds: Bounds) -> Sequence[Callable[[], Awaitable[None]]]:
    """The loops, ready to run."""
    reads = crew.poller
    sends = submitter.Submitter(crew.store, crew.keys, crew.providers, crew.callback_uri, crew.plan)
    tidies = janitor.Janitor(crew.store, crew.plan)

    poison = crew.poison

    def worker(
        states: Sequence[State], at_once: int, work: Work, before_parking: Work = unseen
    ) -> Callable[[], Awaitable[None]]:
        round_ = Round(states, states[0], at_once, crew.plan.lease, before_parking)
        return Worker(crew.store, crew.parking, crew.bell, round_, work).run

    return (
        worker((State.READY,), bounds.submits, sends.submit, poison.unsent),
        worker((State.RUNNING, State.UNKNOWN), bounds.polls, reads.poll, poison.unread),
        worker((State.STORING,), bounds.copies, crew.keeper.keep, poison.uncopied),
        worker((State.DIALING, State.SENDING, State.AMBIGUOUS), TIDIED_AT_ONCE, tidies.tidy),
        crew.postman.run,
        crew.warden.run,
    )
