"""The Market's unified jobs and their models: state and resultJson, a JSON text inside JSON.

Facts: docs/provider.md#market.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from catalogue import Model, of_family
from services.sandbox.families.family import choice, field_name, ratio, text, texts, time_field
from services.sandbox.model import Json, Phase, TaskSpec, View
from services.sandbox.refusals import RefusalError

LISTED = of_family("market-jobs")
RATIOS = ("9:21", *dict.fromkeys(ratio for model in LISTED for ratio in model.aspect_ratios))
# values of image_size, for models that have no aspect_ratio
NAMED_SIZES = {
    "square": "1:1",
    "square_hd": "1:1",
    "portrait_4_3": "3:4",
    "portrait_3_2": "2:3",
    "portrait_16_9": "9:16",
    "landscape_4_3": "4:3",
    "landscape_3_2": "3:2",
    "landscape_16_9": "16:9",
    "landscape_21_9": "21:9",
}


@dataclass(frozen=True)
class MarketModel:
    """What a model takes and costs. ratio_default is empty where the field is required."""

    id: str
    credits: Decimal
    max_prompt: int
    required: tuple[str, ...] = ("prompt",)
    image_field: str = ""
    max_images: int = 0
    ratio_field: str = "aspect_ratio"
    ratio_default: str = "1:1"
    format_default: str = "png"
    path_shape: str = "other"


# What KIE asks of a model, or does with it, beyond what the catalogue says.
BEYOND: dict[str, dict[str, Any]] = {
    "google/nano-banana": {"path_shape": "nano"},
    "google/nano-banana-edit": {"path_shape": "nano"},
    "nano-banana-pro": {"path_shape": "nano"},
    "nano-banana-2": {"path_shape": "nano"},
    # KIE documents 5000 characters; ours stay below, for it was seen to refuse 4900.
    "flux-2/pro-text-to-image": {
        "max_prompt": 5000,
        "required": ("prompt", "aspect_ratio", "resolution"),
        "ratio_default": "",
    },
    "seedream/4.5-text-to-image": {"required": ("prompt", "aspect_ratio", "quality"), "ratio_default": ""},
    "z-image": {"required": ("prompt", "aspect_ratio"), "ratio_default": ""},
}


def _listed(model: Model) -> MarketModel:
    """A model of our catalogue: a new one needs no line here."""
    image_field = model.field_names.get("image_uris", "")
    facts: dict[str, Any] = {
        "credits": Decimal(str(model.credits)),
        "max_prompt": model.max_prompt_length,
        "required": ("prompt", image_field) if model.min_images else ("prompt",),
        "image_field": image_field,
        "max_images": model.max_images,
        "ratio_field": model.name_of("aspect_ratio"),
        "ratio_default": model.aspect_ratios[0],
        "format_default": (model.output_formats or ("png",))[0],
    }
    return MarketModel(model.id, **{**facts, **BEYOND.get(model.id, {})})


# One that we do not offer stands for those that name their sizes.
UNLISTED = MarketModel("qwen/text-to-image", Decimal("4.8"), 5000, ratio_field="image_size", ratio_default="square_hd")
MODELS: dict[str, MarketModel] = {row.id: row for row in (UNLISTED, *map(_listed, LISTED))}
FORMATS = ("png", "jpeg", "jpg")
UNKNOWN_MODEL = "The model name you specified is not supported. Please verify it and use one of the supported models."
WAITING_UNTIL, QUEUING_UNTIL = 0.1, 0.25  # the progress up to which a running task's state is waiting, or queuing

# script word → failCode, failMsg; a safety refusal may be one bare word
FAILURES: dict[str, tuple[str, str]] = {
    "fail": ("500", "internal error, please try again later."),
    "policy": ("400", "nsfw"),
    "fail451": ("500", "Failed to fetch the image."),
    "fail3": ("GENERATION_FAILED", "Internal Error"),
}


class MarketJobs:
    """POST /api/v1/jobs/createTask, GET /api/v1/jobs/recordInfo and the callback; the older playground paths too."""

    name: ClassVar[str] = "market_jobs"
    create_paths: ClassVar[tuple[str, ...]] = ("/api/v1/jobs/createTask", "/api/v1/playground/createTask")
    record_paths: ClassVar[tuple[str, ...]] = ("/api/v1/jobs/recordInfo", "/api/v1/playground/recordInfo")
    missing_id: ClassVar[tuple[int, str]] = (400, "taskId parameter is required")

    def prompt(self, body: Json) -> str:
        """The prompt within the model's input."""
        return text(inputs(body), "prompt")

    def parse(self, body: Json) -> TaskSpec:
        """Validates the model's name first, then its input, as callers of KIE report."""
        model = MODELS.get(text(body, "model"))
        if model is None:
            raise RefusalError(422, UNKNOWN_MODEL)
        given = inputs(body)
        check(model, given)
        return TaskSpec(
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
        """Renders a record; resultJson is filled on success only."""
        success, failed = view.phase is Phase.SUCCEEDED, view.phase is Phase.FAILED
        return {
            "taskId": view.task.id,
            "model": view.task.spec.model,
            "state": state(view),
            "param": view.task.spec.param,
            "resultJson": self._result(view) if success else "",
            **self._failure(view, failed=failed),
            **self._times(view),
            "creditsConsumed": float(view.task.spec.credits) if success else 0,
        }

    def callback(self, view: View, *, success: bool) -> Json:
        """Renders a callback in the newest of the schemas that KIE documents."""
        data = self.record(view) | {
            "state": "success" if success else "fail",
            "resultJson": self._result(view) if success else None,
            **self._failure(view, failed=not success),
        }
        data[field_name("taskId", view.switches)] = data.pop("taskId")
        if success:
            return {"code": 200, "msg": "Playground task completed successfully.", "data": data}
        return {"code": 501, "msg": "Playground task failed.", "data": data | {"creditsConsumed": 0}}

    @staticmethod
    def _result(view: View) -> str | Json:
        result = {field_name("resultUrls", view.switches, snake=view.task.life.snake): list(view.urls)}
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
            "completeTime": time_field(end, view.switches),
            "createTime": time_field(start, view.switches),
            "updateTime": time_field(end or start, view.switches),
        }


def inputs(body: Json) -> Json:
    """The model's input object; empty when the body has none."""
    found = body.get("input")
    return found if isinstance(found, dict) else {}


def state(view: View) -> str:
    """The task's state in the Market's words."""
    if view.phase is not Phase.RUNNING:
        return str(view.phase.value)
    progress = view.task.progress(view.now_ms)
    if progress < WAITING_UNTIL:
        return "waiting"
    return "queuing" if progress < QUEUING_UNTIL else "generating"


def check(model: MarketModel, given: Json) -> None:
    """Checks required fields and sizes; a missing field is a 500 on this API, not a 422.

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
