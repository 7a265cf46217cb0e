"""The three upload doors: envelopes with `success`, and HTTP statuses that match the code (kie.md 5.3)."""

import base64
import binascii
import mimetypes
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.doors.desk import body_of, caller, desk_of
from services.sandbox.doors.generation import Door
from services.sandbox.doors.replies import Plain, require_user_agent
from services.sandbox.doors.words import text
from services.sandbox.model import Json, Picture, RefusalError, Upload, digest_of

MAX_UPLOAD_BYTES = 30 * 1024 * 1024  # the largest input any model of kie.md 4.4 takes
STAND_IN_SIDE = 256  # pixels of the picture that stands for a fetched one
BAD_KEY = "Authentication failed: Invalid API Key"


def upload_door(door: Door) -> Door:
    """Give a door the uploads' own way to say no."""

    async def guarded(request: Request) -> Response:
        try:
            return require_user_agent(request) or await door(request)
        except RefusalError as error:
            message = BAD_KEY if error.code == HTTPStatus.UNAUTHORIZED else error.message
            return Plain({"success": False, "code": error.code, "msg": message}, error.code)

    return guarded


@upload_door
async def base64_upload(request: Request) -> Response:
    """POST /api/file-base64-upload {base64Data, uploadPath, fileName?}."""
    account, body = caller(request), await body_of(request)
    head, _, encoded = text(body, "base64Data").rpartition(",")
    mime = head.removeprefix("data:").partition(";")[0] or "image/png"
    return await keep(request, account, body, mime, decode(encoded))


@upload_door
async def stream_upload(request: Request) -> Response:
    """POST /api/file-stream-upload, multipart with file, uploadPath, fileName?."""
    account = caller(request)
    async with request.form(max_files=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RefusalError(400, "file cannot be empty")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        data = await file.read(MAX_UPLOAD_BYTES + 1)
        return await keep(request, account, fields, file.content_type or "application/octet-stream", data)


@upload_door
async def url_upload(request: Request) -> Response:
    """POST /api/file-url-upload {fileUrl, uploadPath, fileName?}.

    The URL is not fetched: the stand-in talks to callback receivers only. A picture drawn from the URL stands for it.
    """
    account, body = caller(request), await body_of(request)
    url = urlsplit(text(body, "fileUrl"))
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise RefusalError(400, "fileUrl must be an http or https URL")
    picture = Picture(digest_of(url.geturl()), STAND_IN_SIDE, STAND_IN_SIDE, "png", "")
    gallery = desk_of(request).gallery
    return await keep(request, account, body, "image/png", await gallery.read(await gallery.draw(picture)))


def decode(encoded: str) -> bytes:
    """Read base64.

    Raises:
        RefusalError: 400 when it is none.
    """
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise RefusalError(400, "base64Data is not valid base64") from None


async def keep(request: Request, account: str, fields: Json, mime: str, data: bytes) -> Response:
    """Store an upload and tell where it is."""
    folder = text(fields, "uploadPath").strip("/")
    if not folder:
        raise RefusalError(400, "uploadPath cannot be empty")
    if not 0 < len(data) <= MAX_UPLOAD_BYTES:
        raise RefusalError(400, "The file is empty or too large")
    random_name = f"{secrets.token_hex(8)}{mimetypes.guess_extension(mime) or ''}"
    name = PurePosixPath(text(fields, "fileName")).name or random_name
    desk = desk_of(request)
    upload = desk.archive.add_upload(account, folder, name, mime, data)
    await desk.gallery.keep(upload.digest, data)
    answer = {"success": True, "code": 200, "msg": "File uploaded successfully"}
    return Plain(answer | {"data": worded(upload, desk.archive.url(upload.path))})


def worded(upload: Upload, url: str) -> Json:
    """The endpoint pages' description of an upload."""
    return {
        "fileName": upload.name,
        "filePath": upload.path,
        "downloadUrl": url,
        "fileSize": upload.size,
        "mimeType": upload.mime,
        "uploadedAt": datetime.fromtimestamp(upload.created_ms / 1000, UTC).isoformat(),
    }
