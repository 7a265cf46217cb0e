"""KIE's 4o Image API (docs/provider.md#4o-image): successFlag beside status, result URLs under response."""

from typing import Any

from services.generation.key_pool.pool import Key
from services.generation.model import Draft
from services.generation.outcomes import Gone, Later, Record
from services.generation.providers.kie import Family, Kie
from services.generation.providers.replies import by_flag, sentence, uris_in

BASE = "/api/v1/gpt4o-image"
FAILED_WORDS = frozenset({"CREATE_TASK_FAILED", "GENERATE_FAILED"})
# Put in front of an enhanced prompt, as the seed's back end did.
STYLE_WORDS = "High quality, highly detailed, beautiful composition, soft lighting, vivid colors. "


class Gpt4oImage(Family):
    """The 4o image family."""

    family = "gpt4o-image"

    def __init__(self, kie: Kie) -> None:
        super().__init__(
            kie,
            submit_path=f"{BASE}/generate",
            record_path=f"{BASE}/record-info",
            order_field="paramJson",
            order_of=order_of,
            record_of=record_of,
        )

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """This family's own endpoint wants the task; without one the common endpoint serves."""
        if not task_id:
            return await super().download_link(task_id, uri, key)
        return await self._kie.link(f"{BASE}/download-url", {"taskId": task_id, "url": uri}, key)


def order_of(draft: Draft, callback_uri: str) -> dict[str, Any]:
    """The body of generate."""
    enhanced = bool(draft.parameters.get("isEnhance"))
    order: dict[str, Any] = {
        "prompt": f"{STYLE_WORDS}{draft.prompt}" if enhanced else draft.prompt,
        "size": draft.aspect_ratio,
        "nVariants": 1,
        "isEnhance": False,
        "callBackUrl": callback_uri,
        **draft.parameters,
    }
    return {**order, "filesUrl": list(draft.image_uris)} if draft.image_uris else order


def record_of(data: dict[str, Any]) -> Record:
    """The verdict of a record."""
    uris = uris_in(data.get("response"), {name: data.get(name) for name in ("resultUrls", "imageUrl", "url")})
    return by_flag(data, uris, failed=sentence(data.get("status")) in FAILED_WORDS)
