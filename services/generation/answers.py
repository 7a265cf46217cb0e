"""What the outside may answer: a provider to a submit and about a task, and storage to a copy."""

from dataclasses import dataclass

# What a provider may answer to a submit. Exactly one of these; only NotSent and Refused allow another submit.


@dataclass(frozen=True)
class Accepted:
    """The provider took the order under this task id."""

    task_id: str


@dataclass(frozen=True)
class NotSent:
    """No byte of the order left us."""

    detail: str


@dataclass(frozen=True)
class Refused:
    """The provider said no in so many words, billed nothing, and may say yes later or to another account."""

    code: int
    message: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Rejected:
    """The provider will never take this order."""

    code: int
    message: str


@dataclass(frozen=True)
class Ambiguous:
    """Nobody knows whether the order was taken."""

    detail: str


Outcome = Accepted | NotSent | Refused | Rejected | Ambiguous


# What a provider's record may say of a task.


@dataclass(frozen=True)
class Drawing:
    """Not done yet; progress in percent."""

    progress: int = 0


@dataclass(frozen=True)
class Invisible:
    """The provider does not show the task, or not yet."""


@dataclass(frozen=True)
class Drawn:
    """Done: the temporary URLs, in order."""

    uris: tuple[str, ...]


@dataclass(frozen=True)
class Broken:
    """Over, without a picture."""

    code: int
    message: str


@dataclass(frozen=True)
class Unreadable:
    """The record could not be read this time; code is the provider's, 0 when it gave none."""

    detail: str
    code: int = 0


@dataclass(frozen=True)
class Unasked(Unreadable):
    """The record could not be asked for: no key of the account that ordered the task is configured."""


@dataclass(frozen=True)
class Foreign:
    """The provider shows the task, but it was ordered with another prompt than the order it was compared with."""


Record = Drawing | Invisible | Drawn | Broken | Unreadable


# What becomes of copying a picture, or of asking for a fresh link to it.


@dataclass(frozen=True)
class Copy:
    """A picture that storage has made ours."""

    key: str
    content_type: str
    size: int


@dataclass(frozen=True)
class Gone:
    """The picture can no longer be had from there, and waiting will not bring it back."""

    detail: str


@dataclass(frozen=True)
class Later:
    """Not now: the source, the provider or storage is away."""

    detail: str
