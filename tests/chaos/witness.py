"""What was seen from outside: the customers' book, the proxy's calls, and how generation was struck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.book import Book
from tests.chaos.proxy import Call
from tests.chaos.town import ChaosTown

CLOCK_SECONDS = 0.25  # a strike is noted a little before or after it falls, and rows round to milliseconds


@dataclass(frozen=True)
class Witness:
    """Everything that is not written by the code that is judged, but for its word that it let work go."""

    book: Book
    calls: Sequence[Call]
    strikes: Sequence[float] = ()
    let_go: frozenset[str] = frozenset()

    @classmethod
    def of(cls, town: ChaosTown, book: Book) -> "Witness":
        """What this town has seen so far."""
        return cls(book, town.proxy.calls, town.strikes, town.diary.let_go())

    def verdicts(self) -> Mapping[str, Call]:
        """The call of each attempt whose answer was passed on and was certain."""
        return {call.attempt: call for call in self.calls if call.attempt and call.verdict}

    def struck(self, generation_id: str, began: float, ended: float) -> bool:
        """Whether who had this generation in hand was struck between two times, or lost it and said so."""
        fell = any(began - CLOCK_SECONDS <= strike <= ended + CLOCK_SECONDS for strike in self.strikes)
        return fell or generation_id in self.let_go
