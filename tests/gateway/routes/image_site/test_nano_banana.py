"""Ordering from Nano Banana, in both layouts and both spellings (docs/rest.md#nano-banana)."""

import base64
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from services.chassis.errors import InvalidArgument
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, PNG, failure

ORDER = "/api/nano-banana/generate"
PICTURE = "https://a.test/x.png"
PASTED = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
ACCEPTED = {
    "success": True,
    "taskId": "gen_1",
    "model": "google/nano-banana",
    "message": "The order is accepted. Ask for the details of this taskId until the picture is done.",
    "status": "pending",
    "data": {"code": 200, "msg": "success", "data": {"taskId": "gen_1"}},
}
DRAWN = {"model": "google/nano-banana", "prompt": "a cat", "aspectRatio": "3:4", "outputFormat": "jpeg"}
EDITED = {**DRAWN, "model": "google/nano-banana-edit", "imageUris": [PICTURE]}


def ordered(doubles: Doubles) -> dict[str, Any]:
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
    response = await client.post(ORDER, json=body)

    assert (response.status_code, response.json()) == (200, ACCEPTED)
    assert ordered(doubles) == DRAWN


@pytest.mark.parametrize("body", drawing("-edit"))
async def test_an_order_to_edit_is_the_same_in_every_layout(
    client: httpx.AsyncClient, doubles: Doubles, body: dict[str, Any]
) -> None:
    response = await client.post(ORDER, json=body)

    assert (response.status_code, response.json()) == (200, {**ACCEPTED, "model": "google/nano-banana-edit"})
    assert ordered(doubles) == EDITED


async def test_a_prompt_is_enough(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(ORDER, json={"model": "nano-banana", "input": {"prompt": " a cat "}})

    assert ordered(doubles) == {"model": "google/nano-banana", "prompt": " a cat ", "outputFormat": "png"}


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
    await client.post(ORDER, json={"model": "nano-banana", "input": {"prompt": "a", "image_size": size}})

    assert ordered(doubles)["aspectRatio"] == ratio


async def test_jpg_is_jpeg(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(ORDER, json={"model": "nano-banana", "prompt": "a", "outputFormat": "JPG"})

    assert ordered(doubles)["outputFormat"] == "jpeg"


async def test_the_model_that_only_draws_leaves_pictures_out_unread(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    response = await client.post(ORDER, json={"model": "nano-banana", "prompt": "a", "imageUrls": ["ftp://nowhere"]})

    assert response.status_code == 200
    assert "imageUris" not in ordered(doubles)


async def test_pasted_pictures_are_stored_and_keep_their_places(client: httpx.AsyncClient, doubles: Doubles) -> None:
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": [PASTED, PICTURE, PASTED]}}
    await client.post(ORDER, json=body)

    assert ordered(doubles)["imageUris"] == [f"{FILES}/uploads/0.png", PICTURE, f"{FILES}/uploads/1.png"]


@pytest.mark.parametrize(
    "pictures", [[PASTED, "ftp://a.test/x"], [PASTED, "data:image/png;base64,%"], [PASTED] * 11, [PASTED, 5], PASTED]
)
async def test_one_bad_picture_stores_none(client: httpx.AsyncClient, doubles: Doubles, pictures: object) -> None:
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": pictures}}
    response = await client.post(ORDER, json=body)

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_INPUT")
    assert "imageUrls" in response.json()["error"]
    assert not doubles.storage.specs
    assert not doubles.generation.rows


async def test_pasted_pictures_of_a_refused_order_are_removed(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.failure = InvalidArgument("The prompt is longer than 5000 characters. Shorten it.")
    body = {"model": "nano-banana-edit", "input": {"prompt": "a" * 5001, "image_urls": [PASTED, PASTED]}}
    response = await client.post(ORDER, json=body)

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_INPUT")
    assert len(doubles.storage.specs) == 2
    assert not doubles.storage.kept


async def test_a_pasted_file_that_is_no_picture_takes_the_others_with_it(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    text = f"data:image/png;base64,{base64.b64encode(b'<html>').decode()}"
    body = {"model": "nano-banana-edit", "input": {"prompt": "a", "image_urls": [PASTED, text]}}
    response = await client.post(ORDER, json=body)

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
async def test_a_field_of_the_wrong_kind_is_named(
    client: httpx.AsyncClient, doubles: Doubles, wrong: dict[str, object], message: str
) -> None:
    response = await client.post(ORDER, json={"model": "nano-banana", **wrong})

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
    response = await client.post(ORDER, content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not doubles.generation.rows
