"""Renders a generation as the task records that front ends of the seed know from the provider.

There are three: the 4o record (docs/rest.md#4o-details), which Flux wraps in its own (docs/rest.md#flux-details), the
Market's job record, which the Nano Banana pages poll (docs/rest.md#nano-banana), and one word for task-status and for
orders that waited (docs/rest.md#task-status).
"""

from typing import Any, NamedTuple

import orjson
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.names import parse_id
from services.chassis.protobuf import milliseconds

Generation = generationpb.Generation
ACCEPTED = "The order is accepted. Ask for the details of this taskId until the picture is done."
DONE_PERCENT = 100

# Ends without a picture to show (docs/rest.md#states-outside), and what is said of them when the service says nothing.
ENDINGS = {
    Generation.STATE_FAILED: ("GENERATION_FAILED", "The picture could not be made. Try again."),
    Generation.STATE_CANCELED: ("CANCELED", "The order was cancelled."),
    Generation.STATE_EXPIRED: ("EXPIRED", "The order could not be placed in time, and nothing was billed. Try again."),
    Generation.STATE_UNKNOWN: (
        "OUTCOME_UNKNOWN",
        "We could not learn in time what became of this order. If the picture still arrives, it will show here.",
    ),
    Generation.STATE_RESULT_LOST: (
        "RESULT_LOST",
        "The picture was made, but the provider deleted it before it could be copied.",
    ),
}
SHOWABLE = (Generation.STATE_STORING, Generation.STATE_SUCCEEDED)

NANO_WAITING = {
    Generation.STATE_READY: "waiting",
    Generation.STATE_DIALING: "queuing",
    Generation.STATE_SENDING: "queuing",
}

COMPLETED, NOT_MADE, PENDING = "completed", "failed", "pending"

SENTENCES = {COMPLETED: "The picture is done.", PENDING: "The picture is being made."}


class ShownState(NamedTuple):
    """A state as records show it: the 4o word, the Flux word, and the flag of both."""

    status: str
    flux_status: str
    flag: int


GENERATING = ShownState("GENERATING", "GENERATING", 0)
SUCCESS = ShownState("SUCCESS", "SUCCESS", 1)
FAILED = ShownState("GENERATE_FAILED", "FAILED", 3)


def accepted(generation: Generation) -> dict[str, Any]:
    """The answer to an order. It holds no key `url` or `urls`: FE-A would take it for a finished picture."""
    task_id = task_id_of(generation)
    return {
        "success": True,
        "taskId": task_id,
        "message": ACCEPTED,
        "status": "pending",
        "data": {"code": 200, "msg": "success", "data": {"taskId": task_id}},
    }


def details(generation: Generation) -> dict[str, Any]:
    """The 4o record, nested twice as the seed's proxy did."""
    return {"success": True, "data": {"code": 200, "msg": "success", "data": record(generation)}}


def flux_details(generation: Generation) -> dict[str, Any]:
    """The normalised Flux record, both below `data` and flat (docs/rest.md#flux-details)."""
    raw = record(generation)
    flat = {
        "status": _shown_state(generation).flux_status,
        "resultUrls": result_urls(generation),
        "errorMessage": raw["errorMessage"],
    }
    return {"success": True, **flat, "data": {**flat, "raw": raw}}


def record(generation: Generation) -> dict[str, Any]:
    """The upstream's record of a task, with our id and our URLs; times are milliseconds."""
    shown, urls = _shown_state(generation), result_urls(generation)
    code, message = _error_of(generation) if shown is FAILED else (None, "")
    return {
        "taskId": task_id_of(generation),
        "status": shown.status,
        "successFlag": shown.flag,
        "progress": DONE_PERCENT if shown is SUCCESS else generation.progress_percent,
        "response": {"resultUrls": urls, "result_urls": urls} if urls else None,
        "errorCode": code,
        "errorMessage": message,
        "createTime": milliseconds(generation.create_time) or None,
        "completeTime": milliseconds(generation.complete_time) or None,
        "paramJson": orjson.dumps(_settings_of(generation)).decode(),
    }


def _shown_state(generation: Generation) -> ShownState:
    """The state as records show it: SUCCESS only once there is a URL of each picture."""
    if generation.state in ENDINGS:
        return FAILED
    return SUCCESS if result_urls(generation) else GENERATING


def result_urls(generation: Generation) -> list[str]:
    """URLs of all pictures, or none while one is missing."""
    urls = [_url_of(output) for output in generation.outputs]
    return urls if generation.state in SHOWABLE and all(urls) else []


def _url_of(output: Generation.Output) -> str:
    """Our own URL; the provider's once copying has failed; empty while the first copy is being made.

    See docs/durable-core.md#copying.
    """
    return output.uri or (output.source_uri if output.error_message else "")


def _error_of(generation: Generation) -> tuple[str, str]:
    """Machine word and sentence of a failure."""
    reason, message = ENDINGS[generation.state]
    return generation.error.reason or reason, generation.error.message or message


def _settings_of(generation: Generation) -> dict[str, str]:
    """The settings of the order, without the prompt and the input picture: whoever has the id may read this."""
    return {"model": generation.model, "size": generation.aspect_ratio, "outputFormat": generation.output_format}


def task_id_of(generation: Generation) -> str:
    """Our id, which REST calls taskId."""
    return parse_id("generations", generation.name)


NANO_STATES = {SUCCESS: "success", FAILED: "fail"}


def nano_details(generation: Generation) -> dict[str, Any]:
    """The record, nested twice as the original proxy did."""
    return {"success": True, "data": {"code": 200, "msg": "success", "data": _nano_record(generation)}}


def _nano_record(generation: Generation) -> dict[str, Any]:
    """The job record, with our id and our URLs; times are milliseconds. Words that do not apply are empty."""
    known, urls = record(generation), result_urls(generation)
    return {
        "taskId": known["taskId"],
        "model": generation.model,
        "state": _nano_state(generation),
        "progress": known["progress"],
        "resultUrls": urls,
        "resultJson": orjson.dumps({"resultUrls": urls}).decode() if urls else "",
        "failCode": known["errorCode"] or "",
        "failMsg": known["errorMessage"],
        "param": known["paramJson"],
        "createTime": known["createTime"],
        "completeTime": known["completeTime"],
    }


def _nano_state(generation: Generation) -> str:
    """One of waiting, queuing, generating, success, fail."""
    shown = _shown_state(generation)
    return NANO_STATES.get(shown) or NANO_WAITING.get(generation.state, "generating")


OUTCOMES = {SUCCESS: COMPLETED, FAILED: NOT_MADE, GENERATING: PENDING}


def outcome(generation: Generation) -> str:
    """The outcome in one word: completed, failed or pending."""
    return OUTCOMES[_shown_state(generation)]


def _sentence(generation: Generation) -> str:
    """The sentence that goes with the outcome; of a failure the reason."""
    return SENTENCES.get(outcome(generation)) or _error_of(generation)[1]


def status(generation: Generation) -> dict[str, Any]:
    """The answer of /api/task-status; the original answered at random, this one reads the record.

    It shows no prompt: whoever holds an id may ask, and older files carry theirs in their URL.
    """
    word = outcome(generation)
    result = {"imageUrl": result_urls(generation)[0]} if word == COMPLETED else None
    return {
        "success": True,
        "taskId": task_id_of(generation),
        "status": word,
        "message": _sentence(generation),
        **({"result": result} if result else {}),
    }


def waited_for(generation: Generation) -> dict[str, Any]:
    """What a waiting client learns beside the usual answer to an order; nothing while the picture is not done."""
    word, urls = outcome(generation), result_urls(generation)
    if word == PENDING:
        return {}
    shown = {"url": urls[0], "urls": urls} if urls else {}
    return {"status": word, "message": _sentence(generation), **shown}
