"""The Market's unified jobs: state and resultJson, a JSON text inside JSON (kie.md 4)."""

import json
from typing import ClassVar

from services.sandbox.doors.market_models import MODELS, NAMED_SIZES, RATIOS, MarketModel
from services.sandbox.doors.words import cased, choice, ratio, stamp, text, texts
from services.sandbox.model import Draft, Json, Phase, RefusalError, View

FORMATS = ("png", "jpeg", "jpg")
UNKNOWN_MODEL = "The model name you specified is not supported. Please verify it and use one of the supported models."
WAITING_UNTIL, QUEUING_UNTIL = 0.1, 0.25  # parts of a task's time in which it is shown so

# word → failCode, failMsg (kie.md 4.2); a refusal for safety may be one bare word
FAILURES: dict[str, tuple[str, str]] = {
    "fail": ("500", "internal error, please try again later."),
    "policy": ("400", "nsfw"),
    "fail451": ("500", "Failed to fetch the image."),
    "fail3": ("GENERATION_FAILED", "Internal Error"),
}


class MarketJobs:
    """POST /api/v1/jobs/createTask and what belongs to it."""

    name: ClassVar[str] = "market_jobs"
    create_paths: ClassVar[tuple[str, ...]] = ("/api/v1/jobs/createTask", "/api/v1/playground/createTask")
    record_paths: ClassVar[tuple[str, ...]] = ("/api/v1/jobs/recordInfo", "/api/v1/playground/recordInfo")
    missing_id: ClassVar[tuple[int, str]] = (400, "taskId parameter is required")

    def prompt(self, body: Json) -> str:
        """The prompt within the model's input."""
        return text(inputs(body), "prompt")

    def draft(self, body: Json) -> Draft:
        """Validate the model's name first, then its input, as KIE was seen to (kie.md 4.1)."""
        model = MODELS.get(text(body, "model"))
        if model is None:
            raise RefusalError(422, UNKNOWN_MODEL)
        given = inputs(body)
        check(model, given)
        return Draft(
            family=self.name,
            model=model.id,
            prompt=text(given, "prompt"),
            images=texts(given, model.image_field),
            ratio=shape(model, given),
            extension=choice(given, "output_format", model.format_default, FORMATS, code=500),
            credits=model.credits,
            callback_url=text(body, "callBackUrl"),
            param=json.dumps(body, ensure_ascii=False),
            path_shape=model.path_shape,
        )

    def record(self, view: View) -> Json:
        """Word a record; resultJson is there on success only."""
        success, failed = view.phase is Phase.SUCCEEDED, view.phase is Phase.FAILED
        return {
            "taskId": view.task.id,
            "model": view.task.draft.model,
            "state": state(view),
            "param": view.task.draft.param,
            "resultJson": self._result(view) if success else "",
            **self._failure(view, failed=failed),
            **self._times(view),
            "creditsConsumed": float(view.task.draft.credits) if success else 0,
        }

    def callback(self, view: View, *, success: bool) -> Json:
        """Word a callback in the newest schema (kie.md 4.3)."""
        data = self.record(view) | {
            "state": "success" if success else "fail",
            "resultJson": self._result(view) if success else None,
            **self._failure(view, failed=not success),
        }
        data[cased("taskId", view.switches)] = data.pop("taskId")
        if success:
            return {"code": 200, "msg": "Playground task completed successfully.", "data": data}
        return {"code": 501, "msg": "Playground task failed.", "data": data | {"creditsConsumed": 0}}

    @staticmethod
    def _result(view: View) -> str | Json:
        result = {cased("resultUrls", view.switches, snake=view.task.life.snake): list(view.urls)}
        return json.dumps(result) if view.switches.result_json == "text" else result

    @staticmethod
    def _failure(view: View, *, failed: bool) -> Json:
        code, message = FAILURES[view.failure] if failed else (None, None)
        return {"failCode": code, "failMsg": message}

    @staticmethod
    def _times(view: View) -> Json:
        end, start = view.complete_ms, view.task.create_ms
        return {
            "costTime": end - start if end else 0,
            "completeTime": stamp(end, view.switches),
            "createTime": stamp(start, view.switches),
            "updateTime": stamp(end or start, view.switches),
        }


def inputs(body: Json) -> Json:
    """The model's input; KIE's callers send it as an object."""
    found = body.get("input")
    return found if isinstance(found, dict) else {}


def state(view: View) -> str:
    """The task's state in the Market's words (kie.md 4.2)."""
    if view.phase is not Phase.RUNNING:
        return str(view.phase.value)
    progress = view.task.progress(view.now_ms)
    if progress < WAITING_UNTIL:
        return "waiting"
    return "queuing" if progress < QUEUING_UNTIL else "generating"


def check(model: MarketModel, given: Json) -> None:
    """Check required fields and sizes; a missing field is a 500 on this API, not a 422 (kie.md 4.1).

    Raises:
        RefusalError: with the field's name in the sentence.
    """
    for name in model.required:
        if given.get(name) in (None, "", []):
            raise RefusalError(500, f"{name} is required")
    if len(text(given, "prompt")) > model.max_prompt:
        raise RefusalError(500, f"The text length cannot exceed the maximum limit of {model.max_prompt}")
    if len(texts(given, model.image_field)) > max(1, model.max_images):
        raise RefusalError(500, f"{model.image_field} holds more than {model.max_images} images")


def shape(model: MarketModel, given: Json) -> tuple[int, int]:
    """Width to height, from a ratio or from a named size."""
    named = choice(given, model.ratio_field, model.ratio_default, (*RATIOS, *NAMED_SIZES), code=500)
    return ratio(NAMED_SIZES.get(named, named))
