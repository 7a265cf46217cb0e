"""The file hosts: results under their own paths, direct links, uploads.

Uploads have envelopes with `success`, and HTTP statuses that match the code, unlike the rest of KIE's API:
docs/provider.md#uploads.
"""

import asyncio
import base64
import binascii
import mimetypes
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from services.sandbox.families.family import text
from services.sandbox.files import ResultFile
from services.sandbox.model import Json, Picture, Upload, digest_of
from services.sandbox.refusals import BLOCKED, HTML, Page, RefusalError
from services.sandbox.routes.generation import Handler
from services.sandbox.routes.messages import (
    Plain,
    Reset,
    Truncated,
    account_of,
    body_of,
    components,
    ok,
    page,
    require_user_agent,
)

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "jpg": "image/jpeg"}
NOT_FOUND = Page(404, HTML.format(title="404 Not Found"))
EXPIRED_LINK = Page(
    403,
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
    media_type="application/xml",
)
SIGN_IN_PAGE = Page(200, HTML.format(title="Sign in"))
MAX_UPLOAD_BYTES = 30 * 1024 * 1024  # the largest input that any of KIE's models takes
FETCHED_SIDE = 256  # pixels of the picture that is drawn in place of a fetched one
BAD_KEY = "Authentication failed: Invalid API Key"


async def result(request: Request) -> Response:
    """GET a result by its path, with the faults that its task's script asks for."""
    file = components(request).files.result(request.url.path.removeprefix("/"))
    refusal = require_user_agent(request) or _host_fault(request, file)
    return refusal or (await _scripted(request, file) if file else page(NOT_FOUND))


async def signed(request: Request) -> Response:
    """GET a signed link; for an expired one the bucket answers in XML."""
    file = components(request).files.signed(request.query_params.get("X-Amz-Signature", ""))
    refusal = require_user_agent(request) or _host_fault(request, file)
    return refusal or (await _drawn(request, file) if file else page(EXPIRED_LINK))


def _host_fault(request: Request, file: ResultFile | None) -> Response | None:
    """What the file host answers instead of a result while a script or a switch denies it or resets connections."""
    parts = components(request)
    scripted = file.task.file_host(parts.clock.now_ms()) if file else "up"
    wanted = {parts.store.switches().files, scripted}
    if "away" in wanted:
        return Reset()
    return page(BLOCKED) if "denied" in wanted else None


async def _scripted(request: Request, file: ResultFile) -> Response:
    """The result's bytes, or the fault that the script asks for."""
    life = file.task.life
    match life.result:
        case "truncated":
            whole = await _drawn(request, file)
            data = await asyncio.to_thread(Path(whole.path).read_bytes)
            return Truncated(data, media_type=whole.media_type)
        case "html":
            return page(SIGN_IN_PAGE)
        case "redirect":
            return RedirectResponse(life.redirect, 302)
        case _:
            return await _drawn(request, file)


async def _drawn(request: Request, file: ResultFile) -> FileResponse:
    path = await components(request).files.drawn(file.picture)
    return FileResponse(path, media_type=MEDIA_TYPES[file.picture.extension])


async def download_url(request: Request) -> Response:
    """POST /api/v1/common/download-url {url}: a signed link to any result."""
    account_of(request)
    url = text(await body_of(request), "url")
    if not url:
        raise RefusalError(422, "url cannot be empty")
    return ok(components(request).files.link(url))


async def gpt4o_download_url(request: Request) -> Response:
    """POST /api/v1/gpt4o-image/download-url {taskId, url}: a signed link to a result of one task.

    {imageUrl}, as KIE's quickstart has it, fails as callers report.
    """
    account, body = account_of(request), await body_of(request)
    task_id, url = text(body, "taskId"), text(body, "url")
    if not task_id:
        raise RefusalError(422, "任务id不能为空")
    if not url:
        raise RefusalError(500, "Internal Server Error")
    return ok(components(request).files.task_link(account, "gpt4o_image", task_id, url))


async def upload(request: Request) -> Response:
    """GET an upload until it expires."""
    files = components(request).files
    found = files.upload(request.url.path.removeprefix("/"))
    blocked = require_user_agent(request)
    if blocked or found is None:
        return blocked or page(NOT_FOUND)
    return FileResponse(files.file_of(found), media_type=found.mime)


def upload_handler(handler: Handler) -> Handler:
    """Gives a handler the refusals of the upload routes."""

    async def guarded(request: Request) -> Response:
        try:
            return require_user_agent(request) or await handler(request)
        except RefusalError as error:
            message = BAD_KEY if error.code == HTTPStatus.UNAUTHORIZED else error.message
            return Plain({"success": False, "code": error.code, "msg": message}, error.code)

    return guarded


@upload_handler
async def base64_upload(request: Request) -> Response:
    """POST /api/file-base64-upload {base64Data, uploadPath, fileName?}."""
    account, body = account_of(request), await body_of(request)
    head, _, encoded = text(body, "base64Data").rpartition(",")
    mime = head.removeprefix("data:").partition(";")[0] or "image/png"
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise RefusalError(400, "base64Data is not valid base64") from None
    return await _stored(request, account, body, mime, data)


@upload_handler
async def stream_upload(request: Request) -> Response:
    """POST /api/file-stream-upload, multipart with file, uploadPath, fileName?."""
    account = account_of(request)
    async with request.form(max_files=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RefusalError(400, "file cannot be empty")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        data = await file.read(MAX_UPLOAD_BYTES + 1)
        return await _stored(request, account, fields, file.content_type or "application/octet-stream", data)


@upload_handler
async def url_upload(request: Request) -> Response:
    """POST /api/file-url-upload {fileUrl, uploadPath, fileName?}.

    The URL is not fetched, since the sandbox connects to callback receivers only: a picture is drawn in its place.
    """
    account, body = account_of(request), await body_of(request)
    url = urlsplit(text(body, "fileUrl"))
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise RefusalError(400, "fileUrl must be an http or https URL")
    drawn = await components(request).files.drawn(
        Picture(digest_of(url.geturl()), FETCHED_SIDE, FETCHED_SIDE, "png", "")
    )
    return await _stored(request, account, body, "image/png", await asyncio.to_thread(drawn.read_bytes))


async def _stored(request: Request, account: str, fields: Json, mime: str, data: bytes) -> Response:
    """Stores an upload and answers with its path and URL."""
    folder = text(fields, "uploadPath").strip("/")
    if not folder:
        raise RefusalError(400, "uploadPath cannot be empty")
    if not 0 < len(data) <= MAX_UPLOAD_BYTES:
        raise RefusalError(400, "The file is empty or too large")
    random_name = f"{secrets.token_hex(8)}{mimetypes.guess_extension(mime) or ''}"
    name = PurePosixPath(text(fields, "fileName")).name or random_name
    files = components(request).files
    stored = await files.add_upload(account, folder, name, mime, data)
    answer = {"success": True, "code": 200, "msg": "File uploaded successfully"}
    return Plain(answer | {"data": _upload_data(stored, files.url(stored.path))})


def _upload_data(stored: Upload, url: str) -> Json:
    return {
        "fileName": stored.name,
        "filePath": stored.path,
        "downloadUrl": url,
        "fileSize": stored.size,
        "mimeType": stored.mime,
        "uploadedAt": datetime.fromtimestamp(stored.created_ms / 1000, UTC).isoformat(),
    }
