"""Renders a generation as the task record that front ends of the seed know from the provider.

See docs/rest.md#4o-details.
"""

from typing import Any, NamedTuple

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.names import parse_id

Generation = generationpb.Generation
ACCEPTED = "The order is accepted. Ask for the details of this taskId until the picture is done."
DONE_PERCENT = 100


class Outward(NamedTuple):
    """How a state shows: the 4o word, the Flux word and the flag both share."""

    status: str
    flux_status: str
    flag: int


GENERATING = Outward("GENERATING", "GENERATING", 0)
SUCCESS = Outward("SUCCESS", "SUCCESS", 1)
FAILED = Outward("GENERATE_FAILED", "FAILED", 3)

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
        "status": outward(generation).flux_status,
        "resultUrls": result_urls(generation),
        "errorMessage": raw["errorMessage"],
    }
    return {"success": True, **flat, "data": {**flat, "raw": raw}}


def record(generation: Generation) -> dict[str, Any]:
    """The upstream's record of a task, with our id and our URLs; times are milliseconds."""
    shown, urls = outward(generation), result_urls(generation)
    code, message = error_of(generation) if shown is FAILED else (None, "")
    return {
        "taskId": task_id_of(generation),
        "status": shown.status,
        "successFlag": shown.flag,
        "progress": DONE_PERCENT if shown is SUCCESS else generation.progress_percent,
        "response": {"resultUrls": urls, "result_urls": urls} if urls else None,
        "errorCode": code,
        "errorMessage": message,
        "createTime": milliseconds(generation.create_time),
        "completeTime": milliseconds(generation.complete_time),
        "paramJson": orjson.dumps(settings_of(generation)).decode(),
    }


def outward(generation: Generation) -> Outward:
    """How the state shows: a picture only once there is a URL for it."""
    if generation.state in ENDINGS:
        return FAILED
    return SUCCESS if result_urls(generation) else GENERATING


def result_urls(generation: Generation) -> list[str]:
    """URLs of all pictures, or none while one is missing."""
    urls = [url_of(output) for output in generation.outputs]
    return urls if generation.state in SHOWABLE and all(urls) else []


def url_of(output: Generation.Output) -> str:
    """Our own URL; the provider's once copying has failed; empty while the first copy is being made.

    See docs/durable-core.md#copying.
    """
    return output.uri or (output.source_uri if output.error_message else "")


def error_of(generation: Generation) -> tuple[str, str]:
    """Machine word and sentence of a failure."""
    reason, message = ENDINGS[generation.state]
    return generation.error.reason or reason, generation.error.message or message


def settings_of(generation: Generation) -> dict[str, str]:
    """What the picture was ordered with, without the prompt and the input picture: whoever has the id may read this."""
    return {"model": generation.model, "size": generation.aspect_ratio, "outputFormat": generation.output_format}


def task_id_of(generation: Generation) -> str:
    """Our id, which REST calls taskId."""
    return parse_id("generations", generation.name)


def milliseconds(time: Timestamp) -> int | None:
    """Milliseconds since 1970; None when unset."""
    return time.ToMilliseconds() or None
