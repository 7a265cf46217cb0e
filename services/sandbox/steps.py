"""The language of bad days: reads `sim:429 then ok,slow:20` from prompts and control calls."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from services.sandbox.model import Json, Life, RefusalError, Step
from services.sandbox.refusals import REFUSALS

SCRIPT = re.compile(r"(?<!\w)sim:([^\s\]]+(?:\s+then\s+[^\s\]]+)*)")
THEN = re.compile(r"\s+then\s+")
DEFAULT_READ_FAULTS = 1
Change = Callable[[str], Json]


def milliseconds(argument: str) -> int:
    """Read seconds, as people write them."""
    return round(float(argument) * 1000)


CREATE: dict[str, Change] = {
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
LIFE: dict[str, Change] = {
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


def script_of(prompt: str) -> tuple[str, ...]:
    """The steps that a prompt asks for; none when it does not speak of them."""
    found = SCRIPT.search(prompt)
    return tuple(THEN.split(found.group(1))) if found else ()


def parse(text: str) -> Step:
    """Read one step: words joined by commas.

    Raises:
        RefusalError: 422; a script that is not understood must not pass for a good day.
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
        count = _change(lambda number: {"n": int(number or DEFAULT_READ_FAULTS)}, word, argument)["n"]
        return _live(step, {"read_fault": word.removeprefix("read-"), "read_faults": count})
    if word in CREATE:
        return replace(step, **_change(CREATE[word], word, argument))
    if word in LIFE:
        return _live(step, _change(LIFE[word], word, argument))
    raise RefusalError(422, f"sandbox: there is no step {word!r}")


def _change(change: Change, word: str, argument: str) -> dict[str, Any]:
    try:
        return change(argument)
    except ValueError:
        raise RefusalError(422, f"sandbox: the step {word!r} needs a number, as in {word}:2") from None


def _live(step: Step, changes: dict[str, Any]) -> Step:
    life: Life = replace(step.life, **changes)
    return replace(step, life=life)
