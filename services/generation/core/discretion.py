"""Keeps prompts out of what is kept, logged and shown: a provider may quote them in its messages."""

from dataclasses import replace
from typing import TypeVar

from services.generation.answers import Ambiguous, Broken, Refused, Rejected

CUT = "[prompt]"
LEAST = 3  # a prompt of fewer letters is in every sentence
LEAST_BEGINNING = 12  # the same for the beginning of one: a message that was cut off may end in the middle of it

A = TypeVar("A")


def discreet(answer: A, prompt: str) -> A:
    """An answer whose words do not quote the prompt."""
    match answer:
        case Refused() | Rejected() | Broken():
            return replace(answer, message=without(answer.message, prompt))
        case Ambiguous():
            return replace(answer, detail=without(answer.detail, prompt))
    return answer


def without(text: str, prompt: str) -> str:
    """The text without the prompt, or without its beginning where the text ends in it."""
    words = prompt.strip()
    rest = text.replace(words, CUT) if len(words) >= LEAST else text
    for length in range(min(len(words), len(rest)), LEAST_BEGINNING - 1, -1):
        if rest.endswith(words[:length]):
            return f"{rest[:-length]}{CUT}"
    return rest
