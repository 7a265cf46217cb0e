"""Redaction: removes prompts from the provider's messages before these are stored, logged or shown."""

from dataclasses import replace
from typing import TypeVar

from services.generation.outcomes import Ambiguous, Refused, Rejected, TaskFailed

CUT = "[prompt]"
LEAST = 3  # a prompt of fewer letters is in every sentence
LEAST_BEGINNING = 12  # the same for the beginning of one: a message that was cut off may end in the middle of it

A = TypeVar("A")


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
