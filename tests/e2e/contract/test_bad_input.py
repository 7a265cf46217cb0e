"""Hostile input at the real edge: each kind has its code, nothing is a 5xx, and nothing pretends to have worked."""

import json
import socket
from typing import Any

import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
GPT4O, FLUX, NANO = "/api/generate-image", "/api/flux-kontext/generate", "/api/nano-banana/generate"
BAD = (400, "INVALID_INPUT")
LARGE = (413, "PAYLOAD_TOO_LARGE")
DEEP = 100_000
NOT_JSON = {
    "nothing": b"",
    "half an object": b'{"prompt": "a"',
    "a trailing comma": b'{"prompt": "a",}',
    "two documents": b'{"prompt": "a"}{"prompt": "b"}',
    "a list": b'["prompt"]',
    "a string": b'"prompt"',
    "null": b"null",
    "NaN": b'{"prompt": "a", "timestamp": NaN}',
    "infinity": b'{"prompt": "a", "timestamp": -Infinity}',
    "a number beyond all": b'{"prompt": "a", "safetyTolerance": 1e999}',
    "a byte order mark": b'\xef\xbb\xbf{"prompt": "a"}',
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "broken UTF-8": b'{"prompt": "\xff\xfe"}',
    "an overlong slash": b'{"prompt": "\xc0\xaf"}',
    "half a character": b'{"prompt": "\\ud800"}',
    "the other half first": b'{"prompt": "\\udc00\\ud800"}',
    "a raw NUL": b'{"prompt": "a\x00b"}',
    "an escaped NUL": b'{"prompt": "a\\u0000b"}',
    "deep lists": b'{"prompt": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"prompt": "a", "x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a duplicate that is wrong": b'{"prompt": "a", "prompt": 7}',
}
WRONG_TYPES: list[tuple[str, str, Any]] = [
    *((path, "prompt", value) for path in (GPT4O, FLUX, NANO) for value in (7, True, [], {}, ["a"], "", " \n\t", None)),
    *(
        (GPT4O, field, value)
        for field in ("size", "mode", "fileUrl", "style_")
        for value in (7, [])
        if field != "style_"
    ),
    (GPT4O, "enhancePrompt", "yes"),
    (GPT4O, "fileUrl", "javascript:alert(1)"),
    (GPT4O, "fileUrl", "file:///etc/passwd"),
    (GPT4O, "fileUrl", "data:text/html,<script>"),
    (GPT4O, "fileUrl", "data:image/png;base64,"),
    (GPT4O, "fileUrl", "https://"),
    (GPT4O, "fileUrl", "https://a.example/" + "a" * 9000),
    (FLUX, "model", "flux-kontext-ultra"),
    (FLUX, "model", 7),
    (FLUX, "aspectRatio", "7:5"),
    (FLUX, "outputFormat", "gif"),
    (FLUX, "enableTranslation", "true"),
    (FLUX, "promptUpsampling", 1),
    (FLUX, "safetyTolerance", 7),
    (FLUX, "safetyTolerance", 1.5),
    (FLUX, "safetyTolerance", 10**30),
    (FLUX, "inputImage", "javascript:alert(1)"),
    (FLUX, "inputImage", {}),
    (NANO, "model", "nano-banana-ultra"),
    (NANO, "model", None),
    (NANO, "input", "a"),
    (NANO, "input", {"prompt": 7}),
    (NANO, "outputFormat", "gif"),
    (NANO, "imageSize", "7:5"),
]
SHARES: list[tuple[str, Any]] = [
    *(("generatedUrl", value) for value in ("", " ", None, 7, [], {}, True)),
    ("generatedUrl", "javascript:alert(1)"),
    ("generatedUrl", "JaVaScRiPt:alert(1)"),
    ("generatedUrl", " javascript:alert(1)"),
    ("generatedUrl", "data:text/html,<script>alert(1)</script>"),
    ("generatedUrl", "vbscript:x"),
    ("generatedUrl", "//a.example/x.png"),
    ("generatedUrl", "https://user:secret@a.example/x.png"),
    ("generatedUrl", "https://a.example/ x.png"),
    ("generatedUrl", "https://a.example/\nx.png"),
    ("generatedUrl", 'https://a.example/"onerror=alert(1) x'),
    ("generatedUrl", "https://a.example/" + "a" * 3000),
    ("originalUrl", "javascript:alert(1)"),
    ("originalUrl", 7),
    ("prompt", "x" * 10_001),
    ("prompt", {}),
    ("style", "x" * 201),
    ("style", 7),
    ("model", []),
    ("timestamp", "yesterday"),
    ("timestamp", -1),
    ("timestamp", 10**20),
    ("isR2Stored", "yes"),
    ("seoTags", "one"),
    ("seoTags", [7]),
    ("seoTags", ["x" * 101]),
]
PAGES = [
    *(("limit", value) for value in ("abc", "-1", "0", "1.5", "1e3", "0x10", " 1 1", "٣", "NaN", "9" * 30, "")),
    *(("offset", value) for value in ("abc", "-1", "1.5", "9" * 30)),
    *(("cursor", value) for value in ("abc", "-1", "1.5", "9" * 30, "eyJhIjoxfQ", "' OR 1=1", "../x")),
    *((facet, "x" * 300) for facet in ("style", "model", "tag")),
    *((facet, "a\x00b") for facet in ("style", "model", "tag")),
]
IDS = ["a%20b", "..", "a%00b", "%3Cscript%3E", "share_%D9%A3", "x" * 200, "share:list", "-x", "a;b", "%25"]


@pytest.mark.parametrize("path", [GPT4O, FLUX, NANO, "/api/share", "/api/download-url", "/api/download-and-upload"])
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_object_is_refused(stack: Stack, validated: Validated, path: str, body: bytes) -> None:
    answer = stack.http.post(path, content=body, headers=JSON)

    assert (answer.status_code, validated(answer)["code"]) == BAD


@pytest.mark.parametrize("path", [GPT4O, FLUX, NANO, "/api/share", "/api/share/share_1"])
def test_a_megabyte_of_prompt_is_too_large_however_it_comes(stack: Stack, validated: Validated, path: str) -> None:
    """An order's body may be this large, for the sake of pasted pictures; its prompt may not."""
    method = "PUT" if path.endswith("share_1") else "POST"
    order = {"prompt": "x" * 1024 * 1024, "model": "nano-banana" if path == NANO else None}
    whole = json.dumps({**order, "generatedUrl": "https://a.example/x.png"}).encode()
    answer = stack.http.request(method, path, content=whole, headers=JSON)
    unannounced = stack.http.request(method, path, content=iter([whole]), headers=JSON)

    assert (answer.status_code, validated(answer)["code"]) == LARGE
    assert (unannounced.status_code, validated(unannounced)["code"]) == LARGE


def test_an_order_beyond_all_bounds_is_not_read(stack: Stack, validated: Validated) -> None:
    answer = stack.http.post(GPT4O, content=b'{"prompt": "' + b"x" * 16 * 1024 * 1024 + b'"}', headers=JSON)

    assert (answer.status_code, validated(answer)["code"]) == LARGE


@pytest.mark.parametrize("path", [GPT4O, FLUX, NANO])
def test_a_prompt_longer_than_its_model_takes_is_refused(stack: Stack, validated: Validated, path: str) -> None:
    answer = stack.post(path, {"prompt": "x" * 20_001, "model": "nano-banana" if path == NANO else None})

    assert (answer.status_code, validated(answer)["code"]) == BAD


@pytest.mark.parametrize(("path", "field", "value"), WRONG_TYPES)
def test_an_order_with_a_wrong_field_is_refused_and_names_it(
    stack: Stack, validated: Validated, path: str, field: str, value: Any
) -> None:
    order = {"prompt": "never made", **({"model": "nano-banana"} if path == NANO else {})}
    answer = stack.post(path, {**order, field: value})

    assert (answer.status_code, validated(answer)["code"]) == BAD
    assert stack.bills("never made") == []


@pytest.mark.parametrize(("field", "value"), SHARES)
def test_a_share_with_a_wrong_field_is_refused(stack: Stack, validated: Validated, field: str, value: Any) -> None:
    answer = stack.post("/api/share", {"generatedUrl": "https://a.example/never.png", field: value})

    assert (answer.status_code, validated(answer)["code"]) == BAD


@pytest.mark.parametrize(("name", "value"), PAGES)
def test_a_page_that_cannot_be_is_refused_or_the_first(
    stack: Stack, validated: Validated, name: str, value: str
) -> None:
    """An empty value is the same as none; a limit above all bounds is brought down."""
    answer = stack.http.get("/api/share/list", params={name: value})

    if name == "limit" and value == "":
        assert (answer.status_code, validated(answer)["data"]["limit"]) == (200, 20)
    else:
        assert (answer.status_code, validated(answer)["code"]) == BAD


def test_a_limit_above_all_bounds_is_brought_down(stack: Stack, validated: Validated) -> None:
    page = validated(stack.http.get("/api/share/list", params={"limit": 10**6}))["data"]

    assert (page["limit"], len(page["items"]) <= 100) == (100, True)


def test_a_cursor_of_no_page_leads_nowhere_and_not_around(stack: Stack, validated: Validated) -> None:
    for cursor in ("0", "1", "9" * 15):
        page = stack.http.get("/api/share/list", params={"cursor": cursor})
        assert page.status_code in (200, 400)
        assert validated(page)["success"] is (page.status_code == 200)


def test_more_than_one_filter_is_refused(stack: Stack, validated: Validated) -> None:
    answer = stack.http.get("/api/share/list", params={"style": "a", "tag": "b"})

    assert (answer.status_code, validated(answer)["code"]) == BAD


@pytest.mark.parametrize("identifier", IDS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_id_that_is_none_is_refused_or_not_found(stack: Stack, identifier: str, method: str) -> None:
    body = None if method == "GET" else {"action": "publish", "token": "ptk_x"}
    answer = stack.http.request(method, f"/api/share/{identifier}", json=body)

    assert answer.status_code in (400, 404, 405)
    assert answer.json()["success"] is False
    assert answer.json()["code"] in ("INVALID_INPUT", "NOT_FOUND", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["/api/share/a%2Fb", "/api/share/..%2F..%2Fetc%2Fpasswd", "/files/..%2f..%2fetc"])
def test_a_hidden_slash_is_refused(stack: Stack, path: str) -> None:
    answer = stack.http.get(path)

    assert (answer.status_code, answer.json()["code"]) == BAD


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_says_that_it_is_no_json_is_refused(stack: Stack, validated: Validated, kind: str) -> None:
    answer = stack.http.post("/api/share", content=b"a=b", headers={"content-type": kind})

    assert (answer.status_code, validated(answer)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("key", ["x" * 256, "\x7f", "é"])
def test_an_idempotency_key_that_is_none_is_refused(stack: Stack, key: str) -> None:
    answer = stack.http.post(GPT4O, json={"prompt": "a"}, headers={"Idempotency-Key": key.encode()})

    assert answer.status_code == 400
    assert answer.json()["success"] is False


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\..\\b.png", "x" * 300 + ".png", "a\u202egnp.exe", "<b>.png"])
def test_a_file_name_chooses_no_key(stack: Stack, validated: Validated, png: bytes, name: str) -> None:
    answer = stack.http.post("/api/upload-image", files={"file": (name, png, "image/png")})

    if answer.status_code == 200:
        assert validated(answer)["key"].startswith("uploads/")
        assert validated(answer)["key"].count("/") == 1
    else:
        assert (answer.status_code, validated(answer)["code"]) == BAD


def test_a_body_that_breaks_off_is_nobody_s_order(stack: Stack) -> None:
    head = f"POST {GPT4O} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.http.base_url.port or 0)) as line:
        line.sendall(head.encode() + b'{"prompt": "a prompt that broke off"')
    assert stack.http.get("/api/share/latest").status_code == 200
    assert stack.bills("a prompt that broke off") == []
