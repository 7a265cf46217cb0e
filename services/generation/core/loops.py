"""The five loops that carry generations on, each with its bounds: submit, poll, keep, tidy, and reading the inbox."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.generation.bell import Bell
from services.generation.core import janitor, keeper, poller, submitter
from services.generation.core.postman import Postman
from services.generation.core.worker import Round, Work, Worker
from services.generation.model import State
from services.generation.plan import Bounds, Plan
from services.generation.ports import Archive, GenerationStore, Keys, Provider

TIDIED_AT_ONCE = 50  # each is one statement


@dataclass(frozen=True)
class Crew:
    """What the loops work with."""

    store: GenerationStore
    bell: Bell
    keys: Keys
    providers: Mapping[str, Provider]
    archive: Archive
    callback_uri: Callable[[str, str], str]
    plan: Plan


def make_loops(crew: Crew, bounds: Bounds) -> Sequence[Callable[[], Awaitable[None]]]:
    """The loops, ready to run."""
    reads = poller.Poller(crew.store, crew.keys, crew.providers, crew.plan)
    sends = submitter.Submitter(crew.store, crew.keys, crew.providers, crew.callback_uri, crew.plan)
    keeps = keeper.Keeper(crew.store, crew.archive, crew.keys, crew.providers, crew.plan)
    tidies = janitor.Janitor(crew.store, crew.plan)

    def worker(states: Sequence[State], at_once: int, seconds: float, work: Work) -> Callable[[], Awaitable[None]]:
        return Worker(crew.store, crew.bell, Round(states, states[0], at_once, seconds), work).run

    return (
        worker((State.READY,), bounds.submits, submitter.LEASE_SECONDS, sends.submit),
        worker((State.RUNNING, State.UNKNOWN), bounds.polls, poller.LEASE_SECONDS, reads.poll),
        worker((State.STORING,), bounds.copies, keeper.LEASE_SECONDS, keeps.keep),
        worker((State.DIALING, State.SENDING, State.AMBIGUOUS), TIDIED_AT_ONCE, janitor.LEASE_SECONDS, tidies.tidy),
        Postman(crew.store, crew.bell, reads).run,
    )
