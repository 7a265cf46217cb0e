"""KIE's Flux Kontext API: successFlag alone, one result URL, pro and max, edit by inputImage.

See docs/provider.md#flux-kontext.
"""

from typing import Any

from services.generation.key_pool.pool import Key
from services.generation.model import Draft
from services.generation.outcomes import Gone, Later, Outcome, PromptMismatch, Record
from services.generation.providers.kie import COMMON_LINK, Connected, Kie
from services.generation.providers.replies import NonJson, Reply, by_flag, is_foreign, record_in, uris_in

BASE = "/api/v1/flux/kontext"


class FluxKontext:
    """The Flux Kontext family."""

    family = "flux-kontext"

    def __init__(self, kie: Kie) -> None:
        self._kie = kie

    async def submit(self, draft: Draft, callback_uri: str, key: Key, connected: Connected) -> Outcome:
        return await self._kie.submit(f"{BASE}/generate", order_of(draft, callback_uri), key, connected)

    async def fetch(self, task_id: str, key: Key) -> Record:
        return record_in(await self._record(task_id, key), record_of)

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | PromptMismatch:
        reply = await self._record(task_id, key)
        return (
            PromptMismatch()
            if is_foreign(reply, "paramJson", order_of(draft, "")["prompt"])
            else record_in(reply, record_of)
        )

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """The common endpoint needs the URL alone."""
        del task_id
        return await self._kie.link(COMMON_LINK, {"url": uri}, key)

    def owns(self, uri: str) -> bool:
        return self._kie.owns(uri)

    async def _record(self, task_id: str, key: Key) -> Reply | NonJson | Later:
        return await self._kie.read(f"{BASE}/record-info", {"taskId": task_id}, key)


def order_of(draft: Draft, callback_uri: str) -> dict[str, Any]:
    """The body of generate. The ratio is always sent: its default in edit mode is in dispute.

    See docs/provider.md#flux-create.
    """
    order: dict[str, Any] = {
        "prompt": draft.prompt,
        "model": draft.model,
        "aspectRatio": draft.aspect_ratio,
        "outputFormat": draft.output_format,
        "enableTranslation": True,
        "callBackUrl": callback_uri,
        **draft.parameters,
    }
    return {**order, "inputImage": draft.image_uris[0]} if draft.image_uris else order


def record_of(data: dict[str, Any]) -> Record:
    """The verdict of a record. originImageUrl is an echo that lives ten minutes, not a product."""
    return by_flag(data, uris_in(data.get("response"), {"resultImageUrl": data.get("resultImageUrl")})[:1])
