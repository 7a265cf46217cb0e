"""Pictures in and out (docs/rest.md#direct-links): direct links, permanent copies, finding them again, and uploads."""

import io
import re
import zlib

import httpx
import pytest
from PIL import Image

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

LINK, KEEP, FIND, UPLOAD = (
    "/api/download-url",
    "/api/download-and-upload",
    "/api/get-generated-url",
    "/api/upload-image",
)


def test_a5_any_other_url_is_direct_already(stack: Stack, validated: Validated) -> None:
    url = "https://pictures.example/a.png"

    assert validated(stack.post(LINK, {"url": url, "taskId": "t1"})) == {
        "success": True,
        "downloadUrl": url,
        "isDirectUrl": True,
    }


def test_a5_the_host_is_judged_and_not_some_text_in_the_url(stack: Stack, validated: Validated) -> None:
    url = "https://pictures.example/tempfile.aiquickdraw.com/a.png?u=kie.ai"

    assert validated(stack.post(LINK, {"url": url}))["isDirectUrl"] is True


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "javascript:alert(1)", "ftp://a.example/x", "//a.example/x"])
def test_a5_what_is_no_web_address_is_refused(stack: Stack, validated: Validated, url: str) -> None:
    answer = stack.post(LINK, {"url": url})

    assert (answer.status_code, validated(answer)["code"]) == (400, "INVALID_INPUT")


def test_a6_our_own_picture_is_returned_unchanged(stack: Stack, validated: Validated, done: tuple[str, str]) -> None:
    task, url = done
    key = url.partition("/files/")[2]
    size = len(httpx.get(url).content)

    assert validated(stack.post(KEEP, {"kieImageUrl": url, "taskId": task, "fileName": f"generated_{task}.png"})) == {
        "success": True,
        "publicUrl": url,
        "url": url,
        "key": key,
        "fileName": key.rpartition("/")[2],
        "size": size,
        "contentType": "image/png",
        "taskId": task,
        "originalUrl": url,
    }


def test_a6_kie_image_url_wins_over_url(stack: Stack, validated: Validated, done: tuple[str, str]) -> None:
    answer = validated(stack.post(KEEP, {"kieImageUrl": done[1], "url": "https://elsewhere.example/a.png"}))

    assert answer["publicUrl"] == done[1]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "INVALID_INPUT"),
        ("file:///etc/passwd", "INVALID_INPUT"),
        ("http://127.0.0.1/a.png", "URL_NOT_ALLOWED"),
        ("http://169.254.169.254/latest/meta-data", "URL_NOT_ALLOWED"),
        ("http://[::ffff:10.0.0.1]/a.png", "URL_NOT_ALLOWED"),
        ("http://2130706433/", "URL_NOT_ALLOWED"),
    ],
)
def test_a6_private_addresses_are_not_fetched(stack: Stack, validated: Validated, url: str, code: str) -> None:
    answer = stack.post(KEEP, {"url": url})

    assert (answer.status_code, validated(answer)["code"]) == (400, code)


def test_a7_a_stored_picture_is_found_by_its_task_and_by_no_other(
    stack: Stack, validated: Validated, done: tuple[str, str], failed: str
) -> None:
    task, url = done
    missing = {"success": True, "found": False, "message": "文件尚未上传到R2"}

    assert validated(stack.http.get(FIND, params={"taskId": task})) == {
        "success": True,
        "found": True,
        "url": url,
        "key": url.partition("/files/")[2],
    }
    for other in (task[:-1], failed, "gen_nobody"):
        assert validated(stack.http.get(FIND, params={"taskId": other})) == missing
    assert stack.http.get(FIND).status_code == httpx.codes.BAD_REQUEST


@pytest.mark.parametrize(
    ("form", "kind", "ending"),
    [
        ("PNG", "image/png", "png"),
        ("JPEG", "image/jpeg", "jpg"),
        ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"),
    ],
)
def test_a8_the_type_of_an_upload_comes_from_its_bytes(
    stack: Stack, validated: Validated, form: str, kind: str, ending: str
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(file, form)
    answer = validated(stack.http.post(UPLOAD, files={"file": ("My Photo.HTML", file.getvalue(), "text/html")}))
    key = answer.pop("key")

    assert re.fullmatch(rf"uploads/\d{{13}}-[a-z0-9]+\.{ending}", key)
    assert answer == {
        "success": True,
        "fileUrl": f"http://localhost:{stack.http.base_url.port}/files/{key}",
        "fileName": "My Photo.HTML",
        "fileType": kind,
        "fileSize": len(file.getvalue()),
        "message": "The picture is uploaded.",
    }
    served = httpx.get(answer["fileUrl"])
    assert (served.content, served.headers["content-type"]) == (file.getvalue(), kind)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"other": ("a.png", b"x", "image/png")}, "INVALID_INPUT"),
        ({"file": ("a.png", b"", "image/png")}, "INVALID_INPUT"),
        ({"file": ("a.png", b"<svg/>", "image/png")}, "INVALID_IMAGE"),
    ],
)
def test_a8_what_is_no_picture_is_refused_with_the_reason(
    stack: Stack, validated: Validated, files: dict[str, tuple[str, bytes, str]], code: str
) -> None:
    answer = stack.http.post(UPLOAD, files=files)

    assert (answer.status_code, validated(answer)["code"]) == (400, code)


def padded(png: bytes, size: int) -> bytes:
    """The same picture in a file of exactly so many bytes: a chunk of its own before the last fills it up."""
    head, end = png[:-12], png[-12:]
    kind_and_data = b"kaWi" + bytes(size - len(png) - 12)
    length, checksum = len(kind_and_data) - 4, zlib.crc32(kind_and_data)
    return head + length.to_bytes(4, "big") + kind_and_data + checksum.to_bytes(4, "big") + end


def test_a8_ten_mebibytes_are_taken_and_one_byte_more_is_not(stack: Stack, validated: Validated, png: bytes) -> None:
    room = 10 * 1024 * 1024
    taken = stack.http.post(UPLOAD, files={"file": ("big.png", padded(png, room), "image/png")})
    refused = stack.http.post(UPLOAD, files={"file": ("big.png", padded(png, room + 1), "image/png")})

    assert (taken.status_code, validated(taken).get("fileSize")) == (200, room)
    assert (refused.status_code, validated(refused)["code"]) == (413, "PAYLOAD_TOO_LARGE")
