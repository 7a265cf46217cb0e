"""The 4o image family: successFlag, status and resultUrls in records, info.result_urls in callbacks.

Facts: docs/provider.md#4o-image.
"""

import json
from decimal import Decimal
from typing import ClassVar

from catalogue import MODELS
from services.sandbox.families.family import choice, field_name, ratio, text, texts, time_field
from services.sandbox.model import Json, Phase, TaskSpec, View
from services.sandbox.refusals import RefusalError

MODEL = MODELS["gpt4o-image"]
SIZES = MODEL.aspect_ratios
MAX_FILES = MODEL.max_images
CREDITS = Decimal(str(MODEL.credits))

# script word → successFlag, status, errorCode, errorMessage; a safety refusal may be flag 3 without a code
FAILURES: dict[str, tuple[int, str, int | None, str]] = {
    "fail": (2, "GENERATE_FAILED", 500, "Failed to generate image"),
    "policy": (2, "GENERATE_FAILED", 400, "Your content was flagged by OpenAI as violating content policies"),
    "fail451": (2, "GENERATE_FAILED", 451, "Failed to download the image in filesUrl"),
    "fail3": (3, "GENERATE_FAILED", None, "Internal Error"),
}


class Gpt4oImage:
    """POST /api/v1/gpt4o-image/generate, GET /api/v1/gpt4o-image/record-info and the callback."""

    name: ClassVar[str] = "gpt4o_image"
    create_paths: ClassVar[tuple[str, ...]] = ("/api/v1/gpt4o-image/generate",)
    record_paths: ClassVar[tuple[str, ...]] = ("/api/v1/gpt4o-image/record-info",)
    missing_id: ClassVar[tuple[int, str]] = (422, "taskId cannot be empty")

    def prompt(self, body: Json) -> str:
        """The prompt at the root of the body."""
        return text(body, "prompt")

    def parse(self, body: Json) -> TaskSpec:
        """Validates a create body; fields that KIE dropped from its schema are ignored."""
        size = choice(body, "size", "", SIZES)
        images = texts(body, "filesUrl") or texts(body, "fileUrl")
        if not (self.prompt(body).strip() or images):
            raise RefusalError(422, "prompt and filesUrl cannot both be empty")
        if len(images) > MAX_FILES:
            raise RefusalError(422, f"filesUrl holds more than {MAX_FILES} images")
        return TaskSpec(
            family=self.name,
            model="gpt-4o-image",
            prompt=self.prompt(body),
            images=images,
            ratio=ratio(size),
            extension="png",
            credits=CREDITS,
            callback_url=text(body, "callBackUrl"),
            param=json.dumps(body, ensure_ascii=False),
            path_shape="4o",
        )

    def record(self, view: View) -> Json:
        """Renders a record; a success without URLs lists none."""
        flag, status, code, message = self._verdict(view)
        progress = 1.0 if flag else view.task.progress(view.now_ms)
        return {
            "taskId": view.task.id,
            "paramJson": view.task.spec.param,
            "completeTime": time_field(self._complete_ms(view), view.switches),
            "response": self._response(view) if flag == 1 else None,
            "successFlag": flag,
            "status": status,
            "errorCode": code,
            "errorMessage": message,
            "createTime": time_field(view.task.create_ms, view.switches),
            "progress": f"{progress:.2f}",
        }

    def callback(self, view: View, *, success: bool) -> Json:
        """Renders a callback; a failed one carries no info."""
        _, _, code, message = FAILURES[view.failure]
        info = {"result_urls": list(view.urls)} if success else None
        head = {"code": 200, "msg": "success"} if success else {"code": code or 500, "msg": message}
        return head | {"data": {field_name("taskId", view.switches): view.task.id, "info": info}}

    @staticmethod
    def _verdict(view: View) -> tuple[int, str, int | None, str | None]:
        if view.phase is Phase.FAILED:
            return FAILURES[view.failure]
        return (1, "SUCCESS", None, None) if view.phase is Phase.SUCCEEDED else (0, "GENERATING", None, None)

    @staticmethod
    def _complete_ms(view: View) -> int | None:
        return view.now_ms if view.task.life.early_complete and view.complete_ms is None else view.complete_ms

    @staticmethod
    def _response(view: View) -> Json:
        return {field_name("resultUrls", view.switches, snake=view.task.life.snake): list(view.urls)}
