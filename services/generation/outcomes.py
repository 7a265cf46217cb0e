"""Outcomes of outgoing calls: a provider's answer to a submit, its record of a task, storage's answer to a copy."""

from dataclasses import dataclass, replace
from typing import TypeVar

CUT = "[prompt]"
LEAST = 3  # a prompt of fewer letters is in every sentence
LEAST_BEGINNING = 12  # the same for the beginning of one: a message that was cut off may end in the middle of it

A = TypeVar("A")

# What a provider may answer to a submit. Exactly one of these; only NotSent and Refused allow another submit.


@dataclass(frozen=True)
class Accepted:
    """The provider took the order under this task id."""

    task_id: str


@dataclass(frozen=True)
class NotSent:
    """No byte of the order was sent."""

    detail: str


@dataclass(frozen=True)
class Refused:
    """The provider refused explicitly and billed nothing; it may accept later, or from another account."""

    code: int
    message: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Rejected:
    """The provider refused explicitly and will never accept this order."""

    code: int
    message: str


@dataclass(frozen=True)
class Ambiguous:
    """It is unknown whether the provider took the order."""

    detail: str


Outcome = Accepted | NotSent | Refused | Rejected | Ambiguous


# What a provider's record may show of a task.


@dataclass(frozen=True)
class InProgress:
    """The provider is still working on the task; progress in percent."""

    progress: int = 0


@dataclass(frozen=True)
class NotVisible:
    """The provider does not show the task, or not yet."""


@dataclass(frozen=True)
class Completed:
    """The task is done: the temporary URLs of its results, in order."""

    uris: tuple[str, ...]


@dataclass(frozen=True)
class TaskFailed:
    """The task ended without a result."""

    code: int
    message: str


@dataclass(frozen=True)
class Unreadable:
    """The record could not be read this time; code is the provider's, 0 when it gave none."""

    detail: str
    code: int = 0


@dataclass(frozen=True)
class NoAccountKey(Unreadable):
    """The record could not be read: no key of the account that ordered the task is configured."""


@dataclass(frozen=True)
class PromptMismatch:
    """The provider shows the task, but it was ordered with another prompt than the order it was compared with."""


Record = InProgress | NotVisible | Completed | TaskFailed | Unreadable


# The outcome of copying a result to storage, or of asking the provider for a fresh link to it.


@dataclass(frozen=True)
class Copy:
    """The result is stored under this key."""

    key: str
    content_type: str
    size: int


@dataclass(frozen=True)
class Gone:
    """The result is no longer at its source, and waiting will not bring it back."""

    detail: str


@dataclass(frozen=True)
class Later:
    """The copy is not possible now: the source, the provider or storage is away."""

    detail: str


# Redaction: a provider may quote the prompt, which is its owner's, in a message that is stored, logged or shown.


def redacted(answer: A, prompt: str) -> A:
    """The answer with the prompt removed from its message."""
    match answer:
        case Refused() | Rejected() | TaskFailed():
            return replace(answer, message=without_prompt(answer.message, prompt))
        case Ambiguous():
            return replace(answer, detail=without_prompt(answer.detail, prompt))
    return answer


def without_prompt(text: str, prompt: str) -> str:
    """The text without the prompt, or without the prompt's beginning where the text ends in it."""
    words = prompt.strip()
    rest = text.replace(words, CUT) if len(words) >= LEAST else text
    for length in range(min(len(words), len(rest)), LEAST_BEGINNING - 1, -1):
        if rest.endswith(words[:length]):
            return f"{rest[:-length]}{CUT}"
    return rest
