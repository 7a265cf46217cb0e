"""Ordering pictures (docs/rest.md#4o-orders)."""

import base64
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, PNG, failure

GPT4O, FLUX = "/api/generate-image", "/api/flux-kontext/generate"
ACCEPTED = {
    "success": True,
    "taskId": "gen_1",
    "message": "The order is accepted. Ask for the details of this taskId until the picture is done.",
    "status": "pending",
    "data": {"code": 200, "msg": "success", "data": {"taskId": "gen_1"}},
}


def ordered(doubles: Doubles) -> dict[str, Any]:
    """The one order that was stored."""
    [row] = doubles.generation.rows.values()
    order: dict[str, Any] = MessageToDict(row)
    return {name: value for name, value in order.items() if name not in ("name", "state")}


async def test_a_prompt_is_enough_for_a_4o_picture(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post(GPT4O, json={"prompt": " a cat "})

    assert (response.status_code, response.json()) == (200, ACCEPTED)
    assert ordered(doubles) == {"model": "gpt4o-image", "prompt": " a cat ", "aspectRatio": "1:1", "parameters": {}}


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("1:1", "1:1"),
        ("3:2", "3:2"),
        ("2:3", "2:3"),
        ("1024x1024", "1:1"),
        ("1024x683", "3:2"),
        ("683x1024", "2:3"),
        ("16:9", "1:1"),
        ("huge", "1:1"),
    ],
)
async def test_sizes_become_ratios_and_unknown_ones_a_square(
    client: httpx.AsyncClient, doubles: Doubles, size: str, ratio: str
) -> None:
    await client.post(GPT4O, json={"prompt": "a", "size": size})

    assert ordered(doubles)["aspectRatio"] == ratio


async def test_enhancing_is_a_parameter_and_leaves_the_prompt_alone(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    await client.post(GPT4O, json={"prompt": "a cat", "enhancePrompt": True})

    assert (ordered(doubles)["prompt"], ordered(doubles)["parameters"]) == ("a cat", {"isEnhance": True})


@pytest.mark.parametrize("mode", [None, "template", "image-to-image", "template-mode", "anything"])
async def test_the_picture_goes_along_in_every_mode(
    client: httpx.AsyncClient, doubles: Doubles, mode: str | None
) -> None:
    await client.post(GPT4O, json={"prompt": "a", "mode": mode, "fileUrl": "https://a.test/x.png"})

    assert ordered(doubles)["imageUris"] == ["https://a.test/x.png"]


async def test_text_to_image_leaves_the_picture_out_unread(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(GPT4O, json={"prompt": "a", "mode": "text-to-image", "fileUrl": "ftp://nowhere"})

    assert "imageUris" not in ordered(doubles)


async def test_flux_has_the_seeds_defaults(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post(FLUX, json={"prompt": "a cat"})

    assert (response.status_code, response.json()) == (200, ACCEPTED)
    assert ordered(doubles) == {
        "model": "flux-kontext-pro",
        "prompt": "a cat",
        "aspectRatio": "16:9",
        "outputFormat": "jpeg",
        "parameters": {"enableTranslation": True, "promptUpsampling": False},
    }


async def test_flux_takes_what_the_front_end_sends(client: httpx.AsyncClient, doubles: Doubles) -> None:
    body = {
        "prompt": "a cat",
        "model": "flux-kontext-max",
        "aspectRatio": "21:9",
        "inputImage": "https://a.test/x.png",
        "outputFormat": "png",
        "enableTranslation": False,
        "promptUpsampling": True,
        "safetyTolerance": 2,
    }
    await client.post(FLUX, json=body)

    assert ordered(doubles) == {
        "model": "flux-kontext-max",
        "prompt": "a cat",
        "aspectRatio": "21:9",
        "imageUris": ["https://a.test/x.png"],
        "outputFormat": "png",
        "parameters": {"enableTranslation": False, "promptUpsampling": True, "safetyTolerance": 2.0},
    }


@pytest.mark.parametrize(("path", "field"), [(GPT4O, "fileUrl"), (FLUX, "inputImage")])
async def test_a_data_uri_is_uploaded_and_replaced_by_its_url(
    client: httpx.AsyncClient, doubles: Doubles, path: str, field: str
) -> None:
    content = PNG + b"x" * 300_000
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    await client.post(path, json={"prompt": "a", field: uri})

    assert doubles.storage.kept == {"uploads/0.png": content}
    assert ordered(doubles)["imageUris"] == [f"{FILES}/uploads/0.png"]


@pytest.mark.parametrize(("path", "field"), [(GPT4O, "fileUrl"), (FLUX, "inputImage")])
@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,", "data:image/png;base64,%%%", "data:text/plain,hello", "data:"]
)
async def test_a_data_uri_without_a_picture_is_refused(
    client: httpx.AsyncClient, doubles: Doubles, path: str, field: str, uri: str
) -> None:
    response = await client.post(path, json={"prompt": "a", field: uri})

    assert response.status_code == 400
    assert response.json() == failure(
        "INVALID_INPUT", f"{field} is a data: URI without a base64 picture. Upload the picture instead."
    )
    assert not doubles.generation.rows


@pytest.mark.parametrize(
    "url", ["ftp://a.test/x", "javascript:alert(1)", "/x.png", "https://", "http:///x", "https://a b"]
)
async def test_a_picture_that_is_not_on_the_web_is_refused(
    client: httpx.AsyncClient, doubles: Doubles, url: str
) -> None:
    response = await client.post(GPT4O, json={"prompt": "a", "fileUrl": url})

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "fileUrl must be an http or https URL.")
    assert not doubles.generation.rows


@pytest.mark.parametrize("path", [GPT4O, FLUX])
@pytest.mark.parametrize("body", [{}, {"prompt": ""}, {"prompt": " \n\t"}, {"prompt": None}])
async def test_an_order_needs_a_prompt(
    client: httpx.AsyncClient, doubles: Doubles, path: str, body: dict[str, Any]
) -> None:
    response = await client.post(path, json=body)

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "prompt is missing or blank.")
    assert not doubles.generation.rows


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        (GPT4O, {"prompt": 1}, "prompt must be a string."),
        (GPT4O, {"size": 1024}, "size must be a string."),
        (GPT4O, {"mode": []}, "mode must be a string."),
        (GPT4O, {"fileUrl": {}}, "fileUrl must be a string."),
        (GPT4O, {"enhancePrompt": "yes"}, "enhancePrompt must be true or false."),
        (FLUX, {"prompt": ["a"]}, "prompt must be a string."),
        (FLUX, {"aspectRatio": "5:4"}, "aspectRatio must be one of: 1:1, 4:3, 3:4, 16:9, 9:16, 21:9."),
        (FLUX, {"model": "flux"}, "model must be one of: flux-kontext-pro, flux-kontext-max."),
        (FLUX, {"outputFormat": "gif"}, "outputFormat must be one of: jpeg, png."),
        (FLUX, {"enableTranslation": 1}, "enableTranslation must be true or false."),
        (FLUX, {"promptUpsampling": "true"}, "promptUpsampling must be true or false."),
        (FLUX, {"safetyTolerance": "2"}, "safetyTolerance must be a whole number."),
        (FLUX, {"safetyTolerance": True}, "safetyTolerance must be a whole number."),
        (FLUX, {"inputImage": 5}, "inputImage must be a string."),
    ],
)
async def test_a_field_of_the_wrong_kind_is_named(
    client: httpx.AsyncClient, doubles: Doubles, path: str, wrong: dict[str, object], message: str
) -> None:
    response = await client.post(path, json={"prompt": "a", **wrong})

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))
    assert not doubles.generation.rows
