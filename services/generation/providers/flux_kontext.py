"""KIE's Flux Kontext API: successFlag alone, one result URL, pro and max, edit by inputImage.

See docs/provider.md#flux-kontext.
"""

from typing import Any

from services.generation.model import Draft
from services.generation.outcomes import Record
from services.generation.providers.kie import Family, Kie
from services.generation.providers.replies import by_flag, uris_in

BASE = "/api/v1/flux/kontext"


class FluxKontext(Family):
    """The Flux Kontext family."""

    family = "flux-kontext"

    def __init__(self, kie: Kie) -> None:
        super().__init__(
            kie,
            submit_path=f"{BASE}/generate",
            record_path=f"{BASE}/record-info",
            order_field="paramJson",
            order_of=order_of,
            record_of=record_of,
        )


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
