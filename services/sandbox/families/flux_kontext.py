"""The Flux Kontext family: successFlag and resultImageUrl in records, empty strings in failed callbacks.

Facts: docs/provider.md#flux-kontext.
"""

import json
from decimal import Decimal
from typing import ClassVar

from catalogue import of_family
from services.sandbox.families.family import choice, field_name, ratio, text, texts, time_field
from services.sandbox.model import Json, Phase, TaskSpec, View
from services.sandbox.refusals import RefusalError

MODELS = of_family("flux-kontext")
RATIOS = ("16:21", *(ratio for model in MODELS for ratio in model.aspect_ratios))
FORMATS = tuple(format_ for model in MODELS for format_ in model.output_formats)
CREDITS = {model.id: Decimal(str(model.credits)) for model in MODELS}
DEFAULT_MODEL = "flux-kontext-pro"
MAX_PROMPT = {model.id: model.max_prompt_length for model in MODELS}
MOST_TOLERANCE, MOST_TOLERANCE_IN_EDIT = 6, 2
DEFAULT_TOLERANCE = 2

# script word → successFlag, errorCode, errorMessage
FAILURES: dict[str, tuple[int, int | None, str]] = {
    "fail": (3, 501, "Image generation task failed"),
    "policy": (3, 400, "Your prompt was flagged by Website as violating content policies."),
    "fail451": (3, 500, "Failed to fetch the image."),
    "fail3": (3, None, "Internal Error"),
}


class FluxKontext:
    """POST /api/v1/flux/kontext/generate, GET /api/v1/flux/kontext/record-info and the callback."""

    name: ClassVar[str] = "flux_kontext"
    create_paths: ClassVar[tuple[str, ...]] = ("/api/v1/flux/kontext/generate",)
    record_paths: ClassVar[tuple[str, ...]] = ("/api/v1/flux/kontext/record-info",)
    missing_id: ClassVar[tuple[int, str]] = (422, "taskId cannot be empty")

    def prompt(self, body: Json) -> str:
        """The prompt at the root of the body."""
        return text(body, "prompt")

    def parse(self, body: Json) -> TaskSpec:
        """Validates a create body; a tolerance out of range is a 500 on this API, not a 422."""
        self._check_prompt(body)
        images = texts(body, "inputImage")
        self._check_tolerance(body, MOST_TOLERANCE_IN_EDIT if images else MOST_TOLERANCE)
        model = choice(body, "model", DEFAULT_MODEL, CREDITS)
        return TaskSpec(
            family=self.name,
            model=model,
            prompt=self.prompt(body),
            images=images,
            ratio=ratio(choice(body, "aspectRatio", "16:9", RATIOS)),
            extension=choice(body, "outputFormat", "jpeg", FORMATS),
            credits=CREDITS[model],
            callback_url=text(body, "callBackUrl"),
            param=json.dumps(body, ensure_ascii=False),
            path_shape="other",
        )

    def record(self, view: View) -> Json:
        """Renders a record; times are ISO text, unlike those of 4o."""
        flag, code, message = self._verdict(view)
        return {
            "taskId": view.task.id,
            "paramJson": view.task.spec.param,
            "completeTime": time_field(view.complete_ms, view.switches, "iso"),
            "response": self._urls(view, snake=view.task.life.snake) if flag == 1 else None,
            "successFlag": flag,
            "errorCode": code,
            "errorMessage": message,
            "createTime": time_field(view.task.create_ms, view.switches, "iso"),
        }

    def callback(self, view: View, *, success: bool) -> Json:
        """Renders a callback; a failed one carries empty strings, not null."""
        _, code, message = FAILURES[view.failure]
        info = self._urls(view) if success else {"originImageUrl": "", "resultImageUrl": ""}
        head = {"code": code or 500, "msg": message}
        if success:
            head = {"code": 200, "msg": "BFL image generated successfully."}
        return head | {"data": {field_name("taskId", view.switches): view.task.id, "info": info}}

    def _check_prompt(self, body: Json) -> None:
        if not self.prompt(body).strip():
            raise RefusalError(422, "prompt cannot be empty")
        most = MAX_PROMPT.get(text(body, "model"), MAX_PROMPT[DEFAULT_MODEL])
        if len(self.prompt(body)) > most:
            raise RefusalError(422, f"The prompt cannot exceed {most} characters")

    @staticmethod
    def _check_tolerance(body: Json, most: int) -> None:
        tolerance = body.get("safetyTolerance", DEFAULT_TOLERANCE)
        if not isinstance(tolerance, int) or not 0 <= tolerance <= most:
            raise RefusalError(500, f"safetyTolerance must be between 0 and {most}")

    @staticmethod
    def _verdict(view: View) -> tuple[int, int | None, str]:
        if view.phase is Phase.FAILED:
            return FAILURES[view.failure]
        return (1, None, "") if view.phase is Phase.SUCCEEDED else (0, None, "")

    @staticmethod
    def _urls(view: View, *, snake: bool = False) -> Json:
        found = {"originImageUrl": view.origin_url, "resultImageUrl": view.urls[0] if view.urls else ""}
        return {field_name(name, view.switches, snake=snake): url for name, url in found.items()}
