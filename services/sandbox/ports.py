"""What the business asks of its surroundings; the docstrings are the contract."""

from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

from services.sandbox.model import (
    Account,
    Delivery,
    Draft,
    Json,
    Outcome,
    Result,
    Script,
    Switches,
    Task,
    Upload,
    View,
)


class Family(Protocol):
    """One of KIE's API families: how it reads requests and words its answers."""

    name: ClassVar[str]
    create_paths: ClassVar[tuple[str, ...]]
    record_paths: ClassVar[tuple[str, ...]]
    missing_id: ClassVar[tuple[int, str]]
    """Code and message of a record read without a taskId."""

    def prompt(self, body: Json) -> str:
        """The prompt of a create body, empty when there is none; never raises."""

    def draft(self, body: Json) -> Draft:
        """Validate a create body.

        Raises:
            RefusalError: with KIE's code and sentence for this fault.
        """

    def record(self, view: View) -> Json:
        """Word the `data` of a record reply."""

    def callback(self, view: View, *, success: bool) -> Json:
        """Word a callback's whole body; success may contradict the record."""


class Accounts(Protocol):
    """Purses. Amounts have two decimals."""

    def open(self, name: str, granted: str) -> None:
        """Add an account unless it exists; granted is a decimal's text."""

    def get(self, name: str, now_ms: int) -> Account:
        """Read an existing account; refunds count from the moment their task failed."""

    def set(self, account: Account) -> None:
        """Write granted, revoked and revoked_keys of an existing account."""


class Tasks(Protocol):
    """Tasks, their bills and their results."""

    def add(self, task: Task, results: list[Result], refund_ms: int | None) -> None:
        """Write task, bill and results, debit the account; the caller holds a transaction."""

    def get(self, task_id: str) -> Task | None:
        """Read a task."""

    def count_since(self, account: str, since_ms: int) -> int:
        """Count the account's tasks created after a time."""

    def neighbour(self, task: Task, *, same_account: bool) -> str:
        """The id of the newest other task, of the same account or of any other; empty when there is none."""

    def search(self, prompt: str | None, task_id: str | None) -> list[Task]:
        """All tasks, or those of exactly this prompt or id, oldest first."""

    def results(self, task_id: str) -> list[Result]:
        """Its files in the order of their position."""

    def result(self, path: str) -> Result | None:
        """The file at a path."""

    def count_read(self, task_id: str) -> int:
        """Count one more record read and return how many there were."""


class Deliveries(Protocol):
    """Callbacks to be sent, and the log of tries."""

    def plan(self, task: Task) -> None:
        """Add the task's callbacks, due one millisecond apart so that they keep their order."""

    def add(self, task: Task, due_ms: int) -> None:
        """Add one more callback that tells how the task truly ended."""

    def due(self, now_ms: int) -> list[Delivery]:
        """Pending deliveries whose time has come, earliest first; a bounded page."""

    def next_due_ms(self, now_ms: int) -> int | None:
        """When the earliest delivery that is not due yet becomes due."""

    def note(self, delivery: Delivery, outcome: Outcome, now_ms: int, retry_ms: int | None) -> None:
        """Log a try; retry_ms is when the next is due, None ends the delivery."""

    def log(self, task_id: str) -> list[Json]:
        """Each try of a task's callbacks, oldest first."""

    def planned(self, task_id: str) -> int:
        """How many deliveries the task has, sent or not."""


class Scripts(Protocol):
    """Bad days that were laid down, and how far each prompt's own script is."""

    def add(self, script: Script) -> None:
        """Lay down a script; its id is given by the store."""

    def pending(self) -> list[Script]:
        """Scripts with uses left, oldest first."""

    def use(self, script_id: int) -> None:
        """Count one use."""

    def clear(self) -> None:
        """Forget all scripts; positions of prompts stay."""

    def advance(self, prompt_digest: str) -> int:
        """Return how many creates with this prompt came before, and count this one."""


class Shelf(Protocol):
    """Signed links and uploads."""

    def add_link(self, token: str, path: str, expires_ms: int) -> None:
        """Remember a signed link to a result's path."""

    def link(self, token: str, now_ms: int) -> str:
        """The path behind a link that still lives, else an empty string."""

    def put_upload(self, upload: Upload) -> None:
        """Remember an upload; the same path overwrites (kie.md 5.3)."""

    def upload(self, path: str, now_ms: int) -> Upload | None:
        """The upload at a path, unless it expired."""


class Notebook(Protocol):
    """Small facts: the request log, counters, the clock's offset, the switches."""

    def note_request(self, at_ms: int, method: str, path: str, code: int | None, status: int) -> None:
        """Log a request; only the newest are kept."""

    def requests(self, path: str, limit: int) -> list[Json]:
        """The newest requests whose path begins so, newest first."""

    def next_request_number(self) -> int:
        """Count one more create call."""

    def offset_ms(self) -> int:
        """How far the clock was put forward."""

    def add_offset(self, milliseconds: int) -> None:
        """Put the clock forward."""

    def switches(self) -> Switches:
        """How replies are worded now."""

    def set_switches(self, switches: Switches) -> None:
        """Change how replies are worded."""


class Store(Protocol):
    """All state of the stand-in. Calls are short and synchronous; a commit survives the death of the process."""

    accounts: Accounts
    tasks: Tasks
    deliveries: Deliveries
    scripts: Scripts
    shelf: Shelf
    notebook: Notebook

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, or nothing."""

    def clear(self) -> None:
        """Forget everything."""
