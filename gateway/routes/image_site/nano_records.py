"""Renders a generation as the Market's job record, which the Nano Banana pages poll (docs/rest.md#nano-banana)."""

from typing import Any

import orjson
from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.routes.image_site import task_records

Generation = generationpb.Generation
WAITING = {
    Generation.STATE_READY: "waiting",
    Generation.STATE_DIALING: "queuing",
    Generation.STATE_SENDING: "queuing",
}
WORDS = {task_records.SUCCESS: "success", task_records.FAILED: "fail"}


def details(generation: Generation) -> dict[str, Any]:
    """The record, nested twice as the original proxy did."""
    return {"success": True, "data": {"code": 200, "msg": "success", "data": record(generation)}}


def record(generation: Generation) -> dict[str, Any]:
    """The job record, with our id and our URLs; times are milliseconds. Words that do not apply are empty."""
    known, urls = task_records.record(generation), task_records.result_urls(generation)
    return {
        "taskId": known["taskId"],
        "model": generation.model,
        "state": state_of(generation),
        "progress": known["progress"],
        "resultUrls": urls,
        "resultJson": orjson.dumps({"resultUrls": urls}).decode() if urls else "",
        "failCode": known["errorCode"] or "",
        "failMsg": known["errorMessage"],
        "param": known["paramJson"],
        "createTime": known["createTime"],
        "completeTime": known["completeTime"],
    }


def state_of(generation: Generation) -> str:
    """One of waiting, queuing, generating, success, fail."""
    shown = task_records.outward(generation)
    return WORDS.get(shown) or WAITING.get(generation.state, "generating")
