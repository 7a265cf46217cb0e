"""Uploads: streamed, bounded, and all or nothing (docs/rest.md#uploads)."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message

from gateway.app import make_app
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, PNG, failure

MIB = 1024 * 1024
PATH = "/api/upload-image"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
RAW = [(b"content-type", b"multipart/form-data; boundary=b")]


async def test_a_picture_is_kept_and_described(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post(PATH, files={"file": ("C:\\me\\猫.png", PNG + b"rest", "text/html")})

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "fileUrl": f"{FILES}/uploads/0.png",
        "fileName": "猫.png",
        "fileType": "image/png",
        "fileSize": 12,
        "key": "uploads/0.png",
        "message": "The picture is uploaded.",
    }
    assert doubles.storage.kept == {"uploads/0.png": PNG + b"rest"}
    assert (doubles.storage.specs[0].prefix, doubles.storage.specs[0].max_size_bytes) == ("uploads", 10 * MIB)


async def test_ten_mebibytes_are_taken_and_one_byte_more_is_not(client: httpx.AsyncClient, doubles: Doubles) -> None:
    exact = PNG + b"x" * (10 * MIB - len(PNG))
    assert (await client.post(PATH, files={"file": ("a.png", exact)})).status_code == 200
    response = await client.post(PATH, files={"file": ("a.png", exact + b"x")})

    assert response.status_code == 413
    assert response.json() == failure(
        "PAYLOAD_TOO_LARGE", f"The request is too large: at most {10 * MIB} bytes are taken here."
    )
    assert list(doubles.storage.kept.values()) == [exact]


class SlowBody:
    """A form of 9 MiB that says how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield HEAD + PNG
        for _ in range(9 * 16):
            self.taken += 65_536
            yield b"x" * 65_536
        yield TAIL


async def settled(body: SlowBody) -> int:
    """What was taken of a body once no more is taken: the loop has had ten thousand turns without progress."""
    before, idle = -1, 0
    while idle < 10_000:
        idle = idle + 1 if body.taken == before else 0
        before = body.taken
        await asyncio.sleep(0)
    return before


async def test_an_upload_waits_for_storage_and_is_never_held_whole(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.storage.gate.clear()
    body = SlowBody()
    upload = asyncio.create_task(client.post(PATH, content=body, headers=FORM))
    taken = await settled(body)
    doubles.storage.gate.set()
    response = await upload

    assert 0 < taken < 3 * MIB
    assert response.status_code == 200
    assert sum(doubles.storage.messages) == len(PNG) + 9 * MIB
    assert max(doubles.storage.messages) == 256 * 1024
    assert len(doubles.storage.messages) == 37


async def test_what_is_no_picture_is_refused_by_storage(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post(PATH, files={"file": ("a.png", b"<html>" * 100_000, "image/png")})

    assert response.status_code == 400
    assert response.json() == failure("INVALID_IMAGE", "The file is not a picture.")
    assert not doubles.storage.kept


MISSING = "The form has no field `file` with a file."
TORN = "The form ends in the middle. Send it again."
BROKEN = "The form is not well-formed multipart/form-data."
NO_FORM = "Send the picture as multipart/form-data, in the field `file`."
SMALL_FIELD = b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n'
BAD_FORMS = {
    "another field": (HEAD.replace(b'"file"', b'"image"') + PNG + TAIL, MISSING),
    "no file name": (HEAD.replace(b'; filename="a.png"', b"") + PNG + TAIL, MISSING),
    "extended name only": (HEAD.replace(b"filename=", b"filename*=utf-8''") + PNG + TAIL, MISSING),
    "no parts": (b"--b--\r\n", MISSING),
    "empty file": (HEAD + TAIL, "The file is empty."),
    "nothing at all": (b"", TORN),
    "torn off before the file": (HEAD[:40], TORN),
    "torn off in the file": (HEAD + PNG, TORN),
    "two files": (
        HEAD + PNG + b"\r\n" + HEAD + PNG + TAIL,
        "The form has more than one field `file`. Send one file at a time.",
    ),
    "a text and a file of one name": (
        HEAD.replace(b'; filename="a.png"', b"") + b"x\r\n" + HEAD + PNG + TAIL,
        "The form has more than one field `file`. Send one file at a time.",
    ),
    "a hundred thousand parts": (
        SMALL_FIELD * 100_000 + HEAD + PNG + TAIL,
        "The form has more than 20 parts.",
    ),
    "another boundary": (HEAD.replace(b"--b", b"--c") + PNG + TAIL, BROKEN),
    "a long preamble": (b"x" * 10_000 + HEAD + PNG + TAIL, BROKEN),
    "a header without end": (b"--b\r\nContent-Disposition: " + b"x" * 9000, BROKEN),
    "too many headers": (b"--b\r\n" + b"A: b\r\n" * 9 + b"\r\n" + TAIL, BROKEN),
    "too many parts": (SMALL_FIELD * 21 + HEAD + PNG + TAIL, "The form has more than 20 parts."),
}


@pytest.mark.parametrize("kind", BAD_FORMS)
@pytest.mark.parametrize("piece", [7, 65_536])
async def test_a_bad_form_keeps_nothing(client: httpx.AsyncClient, doubles: Doubles, kind: str, piece: int) -> None:
    content, message = BAD_FORMS[kind]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), piece):
            yield content[start : start + piece]

    response = await client.post(PATH, content=pieces(), headers=FORM)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))
    assert not doubles.storage.kept


@pytest.mark.parametrize(
    "kind",
    [None, "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b"],
)
async def test_what_is_no_form_is_400(client: httpx.AsyncClient, kind: str | None) -> None:
    response = await client.post(PATH, content=HEAD + PNG + TAIL, headers={"Content-Type": kind} if kind else {})

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", NO_FORM))


async def test_an_endless_boundary_is_400(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={'b' * 5000}"}
    response = await client.post(PATH, content=HEAD, headers=headers)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", BROKEN))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/cron.d/x.png", "x.png"),
        ("C:\\windows\\x.png", "x.png"),
        ("..\\..\\x.png", "x.png"),
        ("a\x00b.png", "ab.png"),
        ("a" * 300 + ".png", "a" * 255),
        ("p\u0430ypal.png", "p\u0430ypal.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("CON", "CON"),
        ("..", ".."),
    ],
)
async def test_a_name_is_shown_and_chooses_nothing(
    client: httpx.AsyncClient, doubles: Doubles, given: str, shown: str
) -> None:
    """Whoever reads the answer may write it into a page or a folder."""
    form = HEAD.replace(b"a.png", given.encode()) + PNG + TAIL
    answer = (await client.post(PATH, content=form, headers=FORM)).json()

    assert (answer["fileName"], answer["key"]) == (shown, "uploads/0.png")
    assert doubles.storage.specs[0].prefix == "uploads"


@pytest.mark.parametrize("tail", [b"--b" + b"x" * 1000, b"--b--" + b"x" * 11 * MIB])
async def test_a_form_that_goes_on_without_end_keeps_nothing(
    client: httpx.AsyncClient, doubles: Doubles, tail: bytes
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield HEAD + PNG + b"\r\n"
        for start in range(0, len(tail), 65_536):
            yield tail[start : start + 65_536]

    response = await client.post(PATH, content=pieces(), headers=FORM)

    assert response.status_code in (400, 413)
    assert response.json()["code"] in ("INVALID_INPUT", "PAYLOAD_TOO_LARGE")
    assert not doubles.storage.kept


async def test_small_fields_beside_the_file_are_ignored(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post(
        PATH, content=SMALL_FIELD + HEAD + PNG + b"\r\n" + SMALL_FIELD[:-2] + TAIL, headers=FORM
    )

    assert response.status_code == 200
    assert list(doubles.storage.kept.values()) == [PNG]


async def test_a_client_that_leaves_while_sending_keeps_nothing(doubles: Doubles) -> None:
    pieces: list[Message] = [
        {"type": "http.request", "body": HEAD + PNG + b"x" * 600_000, "more_body": True},
        {"type": "http.disconnect"},
    ]
    answers: list[Message] = []

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        answers.append(message)

    app = make_app(GatewaySettings(), doubles.clients)
    await app({"type": "http", "method": "POST", "path": PATH, "headers": RAW, "query_string": b""}, receive, send)

    assert answers[0]["status"] == 400
    assert doubles.storage.specs
    assert not doubles.storage.kept
