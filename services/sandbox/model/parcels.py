"""What goes out and comes in: results, pictures, uploads, callbacks."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class Result:
    """A file of a task, reachable under a path until it expires."""

    path: str
    task_id: str
    position: int
    kind: str
    expires_ms: int


@dataclass(frozen=True)
class Picture:
    """A recipe: equal recipes give equal bytes. Sizes in pixels."""

    seed: str
    width: int
    height: int
    extension: str
    caption: str


@dataclass(frozen=True)
class Upload:
    """A file that a customer left with us; digest names its bytes on our disk."""

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
    """A callback to be sent. attempts counts the tries made."""

    id: int
    task_id: str
    success: bool
    due_ms: int
    attempts: int


@dataclass(frozen=True)
class Outcome:
    """What came of one try: the receiver's status, or 0 and an error."""

    status: int
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it; what other 2xx mean to KIE is unknown, so only 200 counts (kie.md 7)."""
        return self.status == HTTPStatus.OK
