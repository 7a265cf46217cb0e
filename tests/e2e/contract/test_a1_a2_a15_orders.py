"""Placing orders (docs/rest.md#4o-orders); the whole answer, and what the generation service was told."""

from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

GPT4O, FLUX, NANO = "/api/generate-image", "/api/flux-kontext/generate", "/api/nano-banana/generate"
ORDER = ("model", "prompt", "aspectRatio", "outputFormat", "imageUris", "parameters")


def accepted(task: str, **extra: str) -> dict[str, Any]:
    """The whole answer to an order: pending, and without a key that front ends take for a finished picture."""
    return {
        "success": True,
        "taskId": task,
        "message": "The order is accepted. Ask for the details of this taskId until the picture is done.",
        "status": "pending",
        "data": {"code": 200, "msg": "success", "data": {"taskId": task}},
        **extra,
    }


def ordered(stack: Stack, task: str) -> dict[str, Any]:
    """What the generation service keeps of an order, as an operator reads it."""
    with grpc.insecure_channel(f"127.0.0.1:{stack.base + 1}") as channel:
        stub = generationrpc.GenerationServiceStub(channel)
        kept = stub.GetGeneration(generationpb.GetGenerationRequest(name=f"generations/{task}"))
    return {name: value for name, value in MessageToDict(kept).items() if name in ORDER}


@pytest.mark.parametrize(
    ("size", "ratio"),
    [(None, "1:1"), ("3:2", "3:2"), ("1024x683", "3:2"), ("683x1024", "2:3"), ("1024x1024", "1:1"), ("16:9", "1:1")],
)
def test_a1_a_4o_order(stack: Stack, validated: Validated, size: str | None, ratio: str) -> None:
    body = {"prompt": "a contract cat", "style": "ghibli", "size": size, "mode": "template", "unknown": 1}
    answer = validated(stack.post(GPT4O, body))

    assert answer == accepted(answer["taskId"])
    assert answer["taskId"].startswith("gen_")
    kept = ordered(stack, answer["taskId"])
    assert (kept["model"], kept["prompt"], kept["aspectRatio"]) == ("gpt4o-image", "a contract cat", ratio)


@pytest.mark.parametrize("mode", ["template", "image-to-image", None])
def test_a1_the_picture_goes_along_in_every_mode_but_one(
    stack: Stack, validated: Validated, upload: str, mode: str
) -> None:
    order = {"prompt": "a cat from a picture", "fileUrl": upload, "mode": mode, "enhancePrompt": True}
    kept = ordered(stack, validated(stack.post(GPT4O, order))["taskId"])
    without = ordered(stack, validated(stack.post(GPT4O, {**order, "mode": "text-to-image"}))["taskId"])

    assert (kept["imageUris"], kept["parameters"]["isEnhance"]) == ([upload], True)
    assert "imageUris" not in without


def test_a1_a_refusal_of_the_provider_is_told_with_its_code(stack: Stack, validated: Validated) -> None:
    answer = stack.post(GPT4O, {"prompt": "a forbidden contract sim:422"})

    assert (answer.status_code, validated(answer)["code"]) == (422, "PROVIDER_REJECTED")


def test_a2_a_flux_order_with_the_seed_s_defaults(stack: Stack, validated: Validated) -> None:
    answer = validated(stack.post(FLUX, {"prompt": "a flux cat"}))

    assert answer == accepted(answer["taskId"])
    assert ordered(stack, answer["taskId"]) == {
        "model": "flux-kontext-pro",
        "prompt": "a flux cat",
        "aspectRatio": "16:9",
        "outputFormat": "jpeg",
        "parameters": {"enableTranslation": True, "promptUpsampling": False},
    }


def test_a2_a_flux_order_as_the_front_end_sends_it(stack: Stack, validated: Validated, upload: str) -> None:
    order = {"prompt": "a flux cat", "model": "flux-kontext-max", "aspectRatio": "9:16", "inputImage": upload}
    options = {"enableTranslation": True, "outputFormat": "png", "promptUpsampling": True}
    answer = validated(stack.post(FLUX, {**order, **options}))

    assert ordered(stack, answer["taskId"]) == {
        "model": "flux-kontext-max",
        "prompt": "a flux cat",
        "aspectRatio": "9:16",
        "outputFormat": "png",
        "imageUris": [upload],
        "parameters": {"enableTranslation": True, "promptUpsampling": True},
    }


@pytest.mark.parametrize("model", ["nano-banana", "google/nano-banana"])
@pytest.mark.parametrize("nested", [True, False])
def test_a15_a_nano_banana_order_in_both_spellings_and_layouts(
    stack: Stack, validated: Validated, model: str, *, nested: bool
) -> None:
    flat = {"prompt": "a banana", "outputFormat": "png", "enableTranslation": True, "imageSize": "3:2"}
    below = {"prompt": "a banana", "output_format": "png", "enable_translation": True, "image_size": "3:2"}
    answer = validated(stack.post(NANO, {"model": model, "input": below} if nested else {"model": model, **flat}))

    assert answer == accepted(answer["taskId"], model="google/nano-banana")
    kept = ordered(stack, answer["taskId"])
    assert (kept["model"], kept["aspectRatio"], kept["outputFormat"]) == ("google/nano-banana", "3:2", "png")


@pytest.mark.parametrize("nested", [True, False])
def test_a15_the_edit_model_takes_pictures_in_both_layouts(
    stack: Stack, validated: Validated, upload: str, *, nested: bool
) -> None:
    flat = {"model": "google/nano-banana-edit", "prompt": "peeled", "imageUrls": [upload]}
    below = {"model": "nano-banana-edit", "input": {"prompt": "peeled", "image_urls": [upload]}}
    answer = validated(stack.post(NANO, below if nested else flat))

    assert answer == accepted(answer["taskId"], model="google/nano-banana-edit")
    assert ordered(stack, answer["taskId"])["imageUris"] == [upload]
