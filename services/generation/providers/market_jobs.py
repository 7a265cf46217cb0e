"""KIE's Market, the unified jobs API: two endpoints, a table of models, `state` and JSON inside JSON.

See docs/provider.md#market.
"""

from typing import Any

import orjson

from catalogue import MODELS
from services.generation.model import Draft
from services.generation.outcomes import Completed, InProgress, Record, TaskFailed
from services.generation.providers.kie import Family, Kie
from services.generation.providers.replies import (
    NO_WORDS,
    SERVER_ERROR,
    number,
    percent,
    sentence,
    uris_in,
)

BASE = "/api/v1/jobs"


class MarketJobs(Family):
    """The Market family: nano-banana and its siblings."""

    family = "market-jobs"

    def __init__(self, kie: Kie) -> None:
        super().__init__(
            kie,
            submit_path=f"{BASE}/createTask",
            record_path=f"{BASE}/recordInfo",
            order_field="param",
            order_of=order_of,
            record_of=record_of,
            prompt_of=lambda order: str(order["input"]["prompt"]),
        )


def order_of(draft: Draft, callback_uri: str) -> dict[str, Any]:
    """The body of createTask: every field under the name that this very model has for it."""
    spec = MODELS[draft.model]
    given: dict[str, Any] = {"aspect_ratio": draft.aspect_ratio, "output_format": draft.output_format}
    given["image_uris"] = list(draft.image_uris)
    named = {spec.name_of(field): value for field, value in given.items() if value}
    order_input = {"prompt": draft.prompt, **named, **draft.parameters}
    return {"model": draft.model, "callBackUrl": callback_uri, "input": order_input}


def record_of(data: dict[str, Any]) -> Record:
    """The verdict of a record. Only resultJson holds results: `param` holds the inputs' URLs.

    See docs/provider.md#market-record.
    """
    state = data.get("state")
    if state == "fail":
        return TaskFailed(number(data.get("failCode")) or SERVER_ERROR, sentence(data.get("failMsg")) or NO_WORDS)
    uris = uris_in(parsed(data.get("resultJson")))
    if state == "success" and uris:
        return Completed(uris)
    return InProgress(percent(data.get("progress")))


def parsed(result: Any) -> Any:
    """ResultJson is JSON text on the wire, and an object on some pages."""
    try:
        return orjson.loads(result) if isinstance(result, str) else result
    except orjson.JSONDecodeError:
        return None
