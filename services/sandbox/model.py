"""The sandbox's data: accounts, tasks and how scripts change them, results, uploads, callback deliveries.

A task's progress is never stored: it follows from the task's row and the time, so that a restart loses nothing. Times
are milliseconds since 1970.
"""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

STUCK_SCALE_MS = 60_000  # the progress of a task that never ends reaches 0.99 within a minute, as callers of KIE report
MOST_PROGRESS = 0.99  # 1.00 is shown by finished tasks only


def digest_of(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Rules:
    """The settings that the code below the routes needs. Times in milliseconds, image_side in pixels."""

    base_url: str
    credits: Decimal
    generation_ms: int
    result_ttl_ms: int
    upload_ttl_ms: int
    create_limit: int
    create_window_ms: int
    read_limit: int
    image_side: int


@dataclass(frozen=True)
class Switches:
    """How replies are written at the moment, since KIE's pages and callers disagree, and how the file host behaves.

    The field names are keys of stored JSON and of the control routes.
    """

    http_mode: str = "body"
    casing: str = "camel"
    times: str = "native"
    result_json: str = "text"
    files: str = "up"


@dataclass(frozen=True)
class Account:
    """One customer of KIE: several keys, one balance."""

    name: str
    granted: Decimal
    spent: Decimal
    refunded: Decimal
    revoked: bool
    revoked_keys: tuple[str, ...]

    @property
    def balance(self) -> Decimal:
        """Credits left to spend."""
        return self.granted - self.spent + self.refunded


@dataclass(frozen=True)
class Lifecycle:
    """What a script changes in a task after its creation. Times in milliseconds."""

    slow_ms: int = 0
    invisible_ms: int = 0
    blank_ms: int = 0
    """For how long a successful record shows no URLs; its callbacks wait for them."""
    late_ms: int = 0
    stuck: bool = False
    failure: str = ""
    silent: bool = False
    copies: int = 1
    contradiction: bool = False
    mistaken_ms: int = 0
    """For how long the record of a finished task says that the task failed, before it says that the task succeeded."""
    signature: str = "good"
    result: str = "good"
    redirect: str = ""
    denied_ms: int = 0
    """For how long after the task's end the file host answers 403, for the result and for signed links to it."""
    away_ms: int = 0
    """For how long after the task's end the file host resets the connection instead."""
    snake: bool = False
    early_complete: bool = False
    variants: int = 1
    read_fault: str = ""
    read_faults: int = 0


@dataclass(frozen=True)
class Step:
    """One step of a script: what happens to one create call, and to the task that the call makes."""

    text: str = "ok"
    refusal: str = ""
    billed: bool = False
    reset: str = ""
    hang_before: float = 0.0
    hang_after: float = 0.0
    mangled: str = ""
    callback_first: bool = False
    reply_id: str = ""
    """Which id the reply names instead of the task's own: "unknown", "earlier" (another task of the account) or
    "foreign" (a task of another account). The callback always names the task's own."""
    life: Lifecycle = field(default_factory=Lifecycle)


@dataclass(frozen=True)
class Script:
    """Steps that the control routes set for matching create calls."""

    id: int
    account: str
    family: str
    prompt_contains: str
    steps: tuple[str, ...]
    times: int
    used: int

    def matches(self, account: str, family: str, prompt: str) -> bool:
        """Whether the script applies to a create call; an empty field matches all."""
        return self.account in {"", account} and self.family in {"", family} and self.prompt_contains in prompt


@dataclass(frozen=True)
class CreateCall:
    """An authenticated create call: its number among all create calls, and the script's step for it."""

    account: str
    number: int
    step: Step


@dataclass(frozen=True)
class TaskSpec:
    """A create request that passed validation, the same for every family. Stored as JSON with these field names."""

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


class Phase(Enum):
    """How far a task is, whatever its family calls it."""

    INVISIBLE = "invisible"
    RUNNING = "running"
    SUCCEEDED = "success"
    FAILED = "fail"


@dataclass(frozen=True)
class Task:
    """An accepted and billed create. complete_ms is None for a task that never ends."""

    id: str
    account: str
    spec: TaskSpec
    step: Step
    create_ms: int
    complete_ms: int | None
    request_number: int

    @property
    def life(self) -> Lifecycle:
        """What the script changes in this task."""
        return self.step.life

    def phase(self, now_ms: int) -> Phase:
        """How far the task is at a time."""
        if now_ms < self.create_ms + self.life.invisible_ms:
            return Phase.INVISIBLE
        if self.complete_ms is None or now_ms < self.complete_ms:
            return Phase.RUNNING
        mistaken = now_ms < self.complete_ms + self.life.mistaken_ms
        return Phase.FAILED if self.life.failure or mistaken else Phase.SUCCEEDED

    def succeeded(self, now_ms: int) -> bool:
        """Whether the task's files exist; an invisible task may have files."""
        if self.complete_ms is None or self.life.failure:
            return False
        return now_ms >= self.complete_ms + self.life.mistaken_ms

    def has_urls(self, now_ms: int) -> bool:
        """Whether the record lists the files: KIE may report a success before the URLs are there."""
        return self.succeeded(now_ms - self.life.blank_ms)

    def file_host(self, now_ms: int) -> str:
        """How the file host answers requests for the task's results: "up", "denied" or "away"."""
        age = now_ms - (self.complete_ms or 0)
        if age < self.life.away_ms:
            return "away"
        return "denied" if age < self.life.denied_ms else "up"

    def progress(self, now_ms: int) -> float:
        """The done part, from 0 to 1."""
        if self.complete_ms is not None and now_ms >= self.complete_ms:
            return 1.0
        whole = STUCK_SCALE_MS if self.complete_ms is None else self.complete_ms - self.create_ms
        return max(0.0, min(MOST_PROGRESS, (now_ms - self.create_ms) / whole))

    def callbacks(self) -> list[tuple[bool, int]]:
        """The callbacks to send, in order: whether each reports a success, and when it is due.

        Due times are a millisecond apart at least, so that the callbacks keep their order.
        """
        if self.life.silent or self.complete_ms is None or not self.spec.callback_url:
            return []
        truth = not self.life.failure
        contradicted = self.life.contradiction or self.life.mistaken_ms
        verdicts = [False, truth] if contradicted else [truth] * self.life.copies
        first_ms = self.complete_ms + self.life.blank_ms + self.life.late_ms
        apart_ms = max(self.life.mistaken_ms, 1)
        return [(verdict, first_ms + number * apart_ms) for number, verdict in enumerate(verdicts)]


@dataclass(frozen=True)
class View:
    """A task as its owner may see it at a moment, with everything that a reply or a callback needs."""

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
        """When the task ended; None while it runs."""
        done = self.phase in {Phase.SUCCEEDED, Phase.FAILED}
        return self.task.complete_ms if done else None

    @property
    def failure(self) -> str:
        """The key of the family's failure texts; a contradicting callback needs one although the task succeeded."""
        return self.task.life.failure or "fail"


@dataclass(frozen=True)
class Result:
    """A file of a task, reachable under a path until it expires. The field names are keys of a control route."""

    path: str
    task_id: str
    position: int
    kind: str
    expires_ms: int


@dataclass(frozen=True)
class Picture:
    """What a drawing is made from: equal pictures give equal bytes. Sizes in pixels."""

    seed: str
    width: int
    height: int
    extension: str
    caption: str


@dataclass(frozen=True)
class Upload:
    """A file that a customer uploaded; digest names its bytes on disk. The fields are the table's columns, in order."""

    path: str
    account: str
    name: str
    mime: str
    size: int
    digest: str
    created_ms: int
    expires_ms: int


@dataclass(frozen=True)
class Delivery:
    """A callback to be sent. attempts counts the attempts made."""

    id: int
    task_id: str
    success: bool
    due_ms: int
    attempts: int


@dataclass(frozen=True)
class DeliveryResult:
    """How one attempt to deliver a callback ended: the receiver's status, or 0 and the name of an error."""

    status: int
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the callback; only 200 counts, since KIE does not say what other 2xx mean."""
        return self.status == HTTPStatus.OK
