"""A task, and where it stands at a moment."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from services.sandbox.model.basics import Switches, digest_of
from services.sandbox.model.scripts import Life, Step

STUCK_SCALE_MS = 60_000  # a stuck task creeps to 0.99 within a minute, as real ones are seen to (kie.md 8)
MOST_PROGRESS = 0.99  # 1.00 is shown by finished tasks only


class Phase(Enum):
    """How far a task is, whatever its family calls it."""

    INVISIBLE = "invisible"
    RUNNING = "running"
    SUCCEEDED = "success"
    FAILED = "fail"


@dataclass(frozen=True)
class Draft:
    """A create request that passed validation, the same for every family."""

    family: str
    model: str
    prompt: str
    images: tuple[str, ...]
    ratio: tuple[int, int]
    extension: str
    credits: Decimal
    callback_url: str
    param: str
    path_shape: str

    @property
    def prompt_digest(self) -> str:
        """SHA-256 of the prompt, in hex."""
        return digest_of(self.prompt)


@dataclass(frozen=True)
class Task:
    """An accepted and billed create. complete_ms is None for a task that never ends."""

    id: str
    account: str
    draft: Draft
    step: Step
    create_ms: int
    complete_ms: int | None
    request_number: int

    @property
    def life(self) -> Life:
        """What the script has in store for it."""
        return self.step.life

    def phase(self, now_ms: int) -> Phase:
        """Tell how far it is at a time."""
        if now_ms < self.create_ms + self.life.invisible_ms:
            return Phase.INVISIBLE
        if self.complete_ms is None or now_ms < self.complete_ms:
            return Phase.RUNNING
        mistaken = now_ms < self.complete_ms + self.life.mistaken_ms
        return Phase.FAILED if self.life.failure or mistaken else Phase.SUCCEEDED

    def succeeded(self, now_ms: int) -> bool:
        """Whether its files exist; an invisible task may have some already."""
        if self.complete_ms is None or self.life.failure:
            return False
        return now_ms >= self.complete_ms + self.life.mistaken_ms

    def file_host(self, now_ms: int) -> str:
        """How the file host treats whoever asks for a result: "up", "denied" or "away"."""
        age = now_ms - (self.complete_ms or 0)
        if age < self.life.away_ms:
            return "away"
        return "denied" if age < self.life.denied_ms else "up"

    def has_urls(self, now_ms: int) -> bool:
        """Whether its files are listed: a task may be called a success before they are (kie.md 2.2)."""
        return self.succeeded(now_ms - self.life.blank_ms)

    def progress(self, now_ms: int) -> float:
        """Tell the done part, from 0 to 1."""
        if self.complete_ms is not None and now_ms >= self.complete_ms:
            return 1.0
        whole = STUCK_SCALE_MS if self.complete_ms is None else self.complete_ms - self.create_ms
        return max(0.0, min(MOST_PROGRESS, (now_ms - self.create_ms) / whole))

    def verdicts(self) -> tuple[bool, ...]:
        """The callbacks to send, in order: True tells of a success."""
        if self.life.silent or self.complete_ms is None or not self.draft.callback_url:
            return ()
        truth = not self.life.failure
        contradicted = self.life.contradiction or self.life.mistaken_ms
        return (False, truth) if contradicted else (truth,) * self.life.copies

    def callbacks_ms(self) -> tuple[int, ...]:
        """When each callback is due; a millisecond apart at least, so that they keep their order."""
        first = (self.complete_ms or self.create_ms) + self.life.blank_ms + self.life.late_ms
        apart = max(self.life.mistaken_ms, 1)
        return tuple(first + place * apart for place in range(len(self.verdicts())))


@dataclass(frozen=True)
class View:
    """A task as its owner may see it now, with all that the wording of a reply needs."""

    task: Task
    now_ms: int
    urls: tuple[str, ...]
    origin_url: str
    switches: Switches

    @property
    def phase(self) -> Phase:
        """How far the task is."""
        return self.task.phase(self.now_ms)

    @property
    def complete_ms(self) -> int | None:
        """When it ended; None while it runs."""
        done = self.phase in {Phase.SUCCEEDED, Phase.FAILED}
        return self.task.complete_ms if done else None

    @property
    def failure(self) -> str:
        """Which failure to word; a contradicting callback needs one although the task succeeded."""
        return self.task.life.failure or "fail"
