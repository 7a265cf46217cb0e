"""The script language: parses `sim:429 then ok,slow:20` out of prompts and control calls.

A script is a list of steps joined by `then`, one step for each create call; the last step repeats. A step is a list of
words joined by commas: a refusal (refusals.py), a fault of the create reply (REPLY_WORDS) or a change of the task that
the call makes (TASK_WORDS). `read-WORD:N` refuses the first N reads of the task's record with a refusal.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from services.sandbox.model import Json, Lifecycle, Step
from services.sandbox.refusals import REFUSALS, RefusalError

SCRIPT = re.compile(r"(?<!\w)sim:([^\s\]]+(?:\s+then\s+[^\s\]]+)*)")
THEN = re.compile(r"\s+then\s+")
DEFAULT_READ_FAULTS = 1
Change = Callable[[str], Json]  # from a word's argument to the changed fields


def milliseconds(argument: str) -> int:
    """Converts a number of seconds to milliseconds."""
    return round(float(argument) * 1000)


REPLY_WORDS: dict[str, Change] = {
    "ok": lambda _: {},
    "billed": lambda _: {"billed": True},
    "badjson": lambda _: {"mangled": "badjson"},
    "noid": lambda _: {"mangled": "noid"},
    "emptyreply": lambda _: {"mangled": "emptyreply"},
    "reset-before": lambda _: {"reset": "before"},
    "reset-after": lambda _: {"reset": "after"},
    "hang-before": lambda seconds: {"hang_before": float(seconds)},
    "hang-after": lambda seconds: {"hang_after": float(seconds)},
    "callback-first": lambda _: {"callback_first": True},
    "reply-unknown-id": lambda _: {"reply_id": "unknown"},
    "reply-earlier-id": lambda _: {"reply_id": "earlier"},
    "reply-foreign-id": lambda _: {"reply_id": "foreign"},
}
TASK_WORDS: dict[str, Change] = {
    "slow": lambda seconds: {"slow_ms": milliseconds(seconds)},
    "stuck": lambda _: {"stuck": True},
    "invisible": lambda seconds: {"invisible_ms": milliseconds(seconds)},
    "fail": lambda _: {"failure": "fail"},
    "policy": lambda _: {"failure": "policy"},
    "fail3": lambda _: {"failure": "fail3"},
    "fail451": lambda _: {"failure": "fail451"},
    "success-no-url": lambda seconds: {"blank_ms": milliseconds(seconds)},
    "early-complete": lambda _: {"early_complete": True},
    "nocallback": lambda _: {"silent": True},
    "dupcallback": lambda copies: {"copies": int(copies)},
    "late-callback": lambda seconds: {"late_ms": milliseconds(seconds)},
    "failcb-then-ok": lambda _: {"contradiction": True},
    "fail-then-ok": lambda seconds: {"mistaken_ms": milliseconds(seconds)},
    "badsig": lambda _: {"signature": "bad"},
    "nosig": lambda _: {"signature": "none"},
    "stalesig": lambda _: {"signature": "stale"},
    "expired-result": lambda _: {"result": "expired"},
    "truncated-result": lambda _: {"result": "truncated"},
    "html-result": lambda _: {"result": "html"},
    "denied-result": lambda seconds: {"denied_ms": milliseconds(seconds)},
    "away-result": lambda seconds: {"away_ms": milliseconds(seconds)},
    "redirect-result": lambda url: {"result": "redirect", "redirect": url},
    "result_urls": lambda _: {"snake": True},
    "variants": lambda count: {"variants": int(count)},
}


def steps_of(prompt: str) -> tuple[str, ...]:
    """The steps of the script in a prompt; none when the prompt has no script."""
    found = SCRIPT.search(prompt)
    return tuple(THEN.split(found.group(1))) if found else ()


def without_script(prompt: str) -> str:
    """The prompt as a person would read it, without its script."""
    return SCRIPT.sub("", prompt).replace("[[]]", "").strip()


def parse(text: str) -> Step:
    """Parses one step.

    Raises:
        RefusalError: 422 for an unknown word or a missing number; a misspelt script must not pass for success.
    """
    step = Step(text=text)
    for part in text.split(","):
        word, _, argument = part.partition(":")
        step = _apply(step, word, argument)
    return step


def _apply(step: Step, word: str, argument: str) -> Step:
    if word in REFUSALS:
        return replace(step, refusal=word)
    if word.startswith("read-") and word.removeprefix("read-") in REFUSALS:
        count = _changes(lambda number: {"n": int(number or DEFAULT_READ_FAULTS)}, word, argument)["n"]
        return _change_life(step, {"read_fault": word.removeprefix("read-"), "read_faults": count})
    if word in REPLY_WORDS:
        return replace(step, **_changes(REPLY_WORDS[word], word, argument))
    if word in TASK_WORDS:
        return _change_life(step, _changes(TASK_WORDS[word], word, argument))
    raise RefusalError(422, f"sandbox: there is no step {word!r}")


def _changes(change: Change, word: str, argument: str) -> dict[str, Any]:
    try:
        return change(argument)
    except ValueError:
        raise RefusalError(422, f"sandbox: the step {word!r} needs a number, as in {word}:2") from None


def _change_life(step: Step, changes: dict[str, Any]) -> Step:
    life: Lifecycle = replace(step.life, **changes)
    return replace(step, life=life)
