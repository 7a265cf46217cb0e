"""What was seen from outside: the customers' book, the proxy's calls, and which process had which work in hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.chaos.book import Book
from tests.chaos.diary import Piece
from tests.chaos.process import Life
from tests.chaos.proxy import Call
from tests.chaos.stack import ChaosStack

CLOCK_SECONDS = 0.05  # rows round to milliseconds, and a line is written a little after what it tells


@dataclass(frozen=True)
class Witness:
    """What is not written by the code that is judged, but for each process's word which work it has in hand."""

    book: Book
    calls: Sequence[Call]
    pieces: Sequence[Piece] = ()
    lives: Sequence[Life] = ()

    @classmethod
    def of(cls, stack: ChaosStack, book: Book) -> "Witness":
        """What this stack has seen so far."""
        return cls(book, stack.proxy.calls, stack.diary.pieces(), stack.lives)

    def verdicts(self) -> Mapping[str, Call]:
        """The call of each attempt whose answer was passed on and was certain."""
        return {call.attempt: call for call in self.calls if call.attempt and call.verdict}

    def holder(self, generation_id: str, call: Call) -> Piece | None:
        """The piece of work that made a call: of this generation, by this process, the last to begin before it."""
        begun = [
            each for each in self._of_generation.get(generation_id, ()) if each.began <= call.began + CLOCK_SECONDS
        ]
        last = max(begun, key=lambda piece: piece.began, default=None)
        return last if last is not None and call.pid in {0, last.pid} else None

    def died(self, piece: Piece) -> float | None:
        """When the process that had a piece in hand died, if it died with it; pids are used again, lives are not."""
        if piece.how:
            return None
        lives = [life for life in self.lives if life.pid == piece.pid and life.born <= piece.began + CLOCK_SECONDS]
        return max(lives, key=lambda life: life.born).died if lives else None

    @cached_property
    def _of_generation(self) -> Mapping[str, Sequence[Piece]]:
        found: dict[str, list[Piece]] = {}
        for piece in self.pieces:
            found.setdefault(piece.subject, []).append(piece)
        return found
