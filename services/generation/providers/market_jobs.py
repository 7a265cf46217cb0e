"""KIE's Market, the unified jobs API: two endpoints, a table of models, `state` and JSON inside JSON.

See docs/provider.md#market.
"""

from typing import Any

import orjson

from catalogue import MODELS
from services.generation.key_pool.pool import Key
from services.generation.model import Draft
from services.generation.outcomes import Completed, Gone, InProgress, Later, Outcome, PromptMismatch, Record, TaskFailed
from services.generation.providers.kie import COMMON_LINK, Connected, Kie
from services.generation.providers.replies import (
    NO_WORDS,
    SERVER_ERROR,
    NonJson,
    Reply,
    is_foreign,
    number,
    percent,
    record_in,
    sentence,
    uris_in,
)

BASE = "/api/v1/jobs"


class MarketJobs:
    """The Market family: nano-banana and its siblings."""

    family = "market-jobs"

    def __init__(self, kie: Kie) -> None:
        self._kie = kie

    async def submit(self, draft: Draft, callback_uri: str, key: Key, connected: Connected) -> Outcome:
        return await self._kie.submit(f"{BASE}/createTask", order_of(draft, callback_uri), key, connected)

    async def fetch(self, task_id: str, key: Key) -> Record:
        return record_in(await self._record(task_id, key), record_of)

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | PromptMismatch:
        reply = await self._record(task_id, key)
        return (
            PromptMismatch()
            if is_foreign(reply, "param", order_of(draft, "")["input"]["prompt"])
            else record_in(reply, record_of)
        )

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """The common endpoint needs the URL alone."""
        del task_id
        return await self._kie.link(COMMON_LINK, {"url": uri}, key)

    def owns(self, uri: str) -> bool:
        return self._kie.owns(uri)

    async def _record(self, task_id: str, key: Key) -> Reply | NonJson | Later:
        return await self._kie.read(f"{BASE}/recordInfo", {"taskId": task_id}, key)


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
