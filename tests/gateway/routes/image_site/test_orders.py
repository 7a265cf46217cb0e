"""Ordering pictures: 4o, Flux, Nano Banana (docs/rest.md#4o-orders, docs/rest.md#nano-banana)."""

import base64
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from gateway.routes.image_site.orders import FLUX_MODELS, FLUX_RATIOS
from services.chassis.errors import InvalidArgument
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, PNG, REFUSED, failure

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
        (FLUX, {"aspectRatio": "5:4"}, f"aspectRatio must be one of: {', '.join(FLUX_RATIOS)}."),
        (FLUX, {"model": "flux"}, f"model must be one of: {', '.join(FLUX_MODELS)}."),
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


NANO_ORDER = "/api/nano-banana/generate"
PICTURE = "https://a.test/x.png"
PASTED = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
NANO_ACCEPTED = {
    "success": True,
    "taskId": "gen_1",
    "model": "google/nano-banana",
    "message": "The order is accepted. Ask for the details of this taskId until the picture is done.",
    "status": "pending",
    "data": {"code": 200, "msg": "success", "data": {"taskId": "gen_1"}},
}
DRAWN = {"model": "google/nano-banana", "prompt": "a cat", "aspectRatio": "3:4", "outputFormat": "jpeg"}
EDITED = {**DRAWN, "model": "google/nano-banana-edit", "imageUris": [PICTURE]}


def nano_ordered(doubles: Doubles) -> dict[str, Any]:
    """The one order that was stored."""
    [row] = doubles.generation.rows.values()
    order: dict[str, Any] = MessageToDict(row)
    return {name: value for name, value in order.items() if name not in ("name", "state")}


def drawing(edit: str = "") -> list[dict[str, Any]]:
    """The same order as the original backend took it, as the front end sends it, and in every mixture."""
    camel: dict[str, Any] = {"prompt": "a cat", "outputFormat": "jpeg", "enableTranslation": False, "imageSize": "3:4"}
    snake: dict[str, Any] = {
        "prompt": "a cat",
        "output_format": "jpeg",
        "enable_translation": False,
        "image_size": "3:4",
    }
    if edit:
        camel["imageUrls"] = snake["image_urls"] = [PICTURE]
    short, long = f"nano-banana{edit}", f"google/nano-banana{edit}"
    return [
        {"model": long, **camel},
        {"model": short, "input": snake},
        {"model": short, **snake},
        {"model": long, "input": camel},
        {"model": short, "input": {**snake, "n": 1, "seed": "?"}, "callBackUrl": "x", "other": {}},
        {"model": short, **dict.fromkeys(camel), "input": snake},
        {"model": short, "input": {**snake, "image_size": None, "aspect_ratio": "3:4"}},
    ]


@pytest.mark.parametrize("body", drawing())
async def test_an_order_to_draw_is_the_same_in_every_layout(
    client: httpx.AsyncClient, doubles: Doubles, body: dict[str, Any]
) -> None:
    response = await client.post(NANO_ORDER, json=body)

    assert (response.status_code, response.json()) == (200, NANO_ACCEPTED)
    assert nano_ordered(doubles) == DRAWN


@pytest.mark.parametrize("body", drawing("-edit"))
async def test_an_order_to_edit_is_the_same_in_every_layout(
    client: httpx.AsyncClient, doubles: Doubles, body: dict[str, Any]
) -> None:
    response = await client.post(NANO_ORDER, json=body)

    assert (response.status_code, response.json()) == (200, {**NANO_ACCEPTED, "model": "google/nano-banana-edit"})
    assert nano_ordered(doubles) == EDITED


async def test_a_prompt_is_enough(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(NANO_ORDER, json={"model": "nano-banana", "input": {"prompt": " a cat "}})

    assert nano_ordered(doubles) == {"model": "google/nano-banana", "prompt": " a cat ", "outputFormat": "png"}


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("auto", "auto"),
        ("16:9", "16:9"),
        ("square_hd", "1:1"),
        ("Portrait_16_9", "9:16"),
        ("landscape", "4:3"),
        ("1024x1024", "1:1"),
        ("7:5", "7:5"),
    ],
)
async def test_sizes_in_words_become_ratios_and_the_rest_is_for_the_model_to_judge(
    client: httpx.AsyncClient, doubles: Doubles, size: str, ratio: str
) -> None:
    await client.post(NANO_ORDER, json={"model": "nano-banana", "input": {"prompt": "a", "image_size": size}})

    assert nano_ordered(doubles)["aspectRatio"] == ratio


async def test_jpg_is_jpeg(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(NANO_ORDER, json={"model": "nano-banana", "prompt": "a", "outputFormat": "JPG"})

    assert nano_ordered(doubles)["outputFormat"] == "jpeg"


async def test_the_model_that_only_draws_leaves_pictures_out_unread(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    response = await client.post(
        NANO_ORDER, json={"model": "nano-banana", "prompt": "a", "imageUrls": ["ftp://nowhere"]}
    )

    assert response.status_code == 200
    assert "imageUris" not in nano_ordered(doubles)


async def test_pasted_pictures_are_stored_and_keep_their_places(client: httpx.AsyncClient, doubles: Doubles) -> None:
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": [PASTED, PICTURE, PASTED]}}
    await client.post(NANO_ORDER, json=body)

    assert nano_ordered(doubles)["imageUris"] == [f"{FILES}/uploads/0.png", PICTURE, f"{FILES}/uploads/1.png"]


@pytest.mark.parametrize(
    "pictures", [[PASTED, "ftp://a.test/x"], [PASTED, "data:image/png;base64,%"], [PASTED] * 11, [PASTED, 5], PASTED]
)
async def test_one_bad_picture_stores_none(client: httpx.AsyncClient, doubles: Doubles, pictures: object) -> None:
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": pictures}}
    response = await client.post(NANO_ORDER, json=body)

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_INPUT")
    assert "imageUrls" in response.json()["error"]
    assert not doubles.storage.specs
    assert not doubles.generation.rows


async def test_pasted_pictures_of_a_refused_order_are_removed(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.failure = InvalidArgument("The prompt is longer than 5000 characters. Shorten it.")
    body = {"model": "nano-banana-edit", "input": {"prompt": "a" * 5001, "image_urls": [PASTED, PASTED]}}
    response = await client.post(NANO_ORDER, json=body)

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_INPUT")
    assert len(doubles.storage.specs) == 2
    assert not doubles.storage.kept


async def test_a_pasted_file_that_is_no_picture_takes_the_others_with_it(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    text = f"data:image/png;base64,{base64.b64encode(b'<html>').decode()}"
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": [PASTED, text]}}
    response = await client.post(NANO_ORDER, json=body)

    assert response.status_code == 400
    assert response.json() == failure("INVALID_IMAGE", "The file is not a picture.")
    assert not doubles.storage.kept
    assert not doubles.generation.rows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"model": None},
            "model must be one of: google/nano-banana, google/nano-banana-edit, nano-banana, nano-banana-edit.",
        ),
        (
            {"model": "nano-banana-pro"},
            "model must be one of: google/nano-banana, google/nano-banana-edit, nano-banana, nano-banana-edit.",
        ),
        ({"model": 5}, "model must be a string."),
        ({"input": "a cat"}, "input must be an object."),
        ({"input": [1]}, "input must be an object."),
        ({"input": {}}, "prompt is missing or blank."),
        ({"input": {"prompt": " \n"}}, "prompt is missing or blank."),
        ({"input": {"prompt": ["a"]}}, "prompt must be a string."),
        ({"input": {"prompt": "a\u0000b"}}, "prompt holds a NUL character. Remove it."),
        ({"input": {"prompt": "a", "output_format": 1}}, "outputFormat must be a string."),
        ({"input": {"prompt": "a", "enable_translation": "yes"}}, "enableTranslation must be true or false."),
        ({"input": {"prompt": "a", "image_size": {"w": 1}}}, "imageSize must be a string."),
        (
            {"input": {"prompt": "a", "image_urls": {}}, "model": "nano-banana-edit"},
            "imageUrls must be a list of strings.",
        ),
    ],
)
async def test_a_field_of_the_wrong_kind_is_named_of_nano_banana_too(
    client: httpx.AsyncClient, doubles: Doubles, wrong: dict[str, object], message: str
) -> None:
    response = await client.post(NANO_ORDER, json={"model": "nano-banana", **wrong})

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))
    assert not doubles.generation.rows


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"model": "nano-banana", "input": {"prompt": "\\ud800"}}', 400, "INVALID_INPUT"),
        (b'{"model": "nano-banana", "input": {"prompt": "\xff"}}', 400, "INVALID_INPUT"),
        (b'{"model": "nano-banana", "input": {"prompt": "%s"}}' % (b"a" * 1_048_576), 413, "PAYLOAD_TOO_LARGE"),
        (b'{"input": ' * 2000 + b"1" + b"}" * 2000, 400, "INVALID_INPUT"),
    ],
    ids=["lone surrogate", "no UTF-8", "a megabyte", "too deep"],
)
async def test_what_is_no_text_is_refused(
    client: httpx.AsyncClient, doubles: Doubles, content: bytes, status: int, code: str
) -> None:
    response = await client.post(NANO_ORDER, content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not doubles.generation.rows


async def test_a_definite_refusal_is_an_error(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.failure = REFUSED
    response = await client.post(GPT4O, json={"prompt": "a"})

    assert response.status_code == 422
    assert response.json() == failure("PROVIDER_REJECTED", "The provider refused this prompt. Change it.")
