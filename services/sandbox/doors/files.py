"""The file hosts: results under their own paths, signed links, uploads."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from services.sandbox.archive import File
from services.sandbox.doors.desk import desk_of
from services.sandbox.doors.replies import BLOCKED, Reset, Truncated, page, require_user_agent
from services.sandbox.refusals import HTML, Page

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "jpg": "image/jpeg"}
GONE = Page(404, HTML.format(title="404 Not Found"))
EXPIRED_LINK = Page(
    403,
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
    media_type="application/xml",
)
SIGN_IN_PAGE = Page(200, HTML.format(title="Sign in"))


async def result(request: Request) -> Response:
    """GET a result by its path, with whatever the task's script does to it."""
    file = desk_of(request).archive.result(request.url.path.removeprefix("/"))
    refused = require_user_agent(request) or host_trouble(request, file)
    return refused or (await scripted(request, file) if file else page(GONE))


def host_trouble(request: Request, file: File | None) -> Response | None:
    """What the file host answers instead of a result, while a script or a switch wants it denied or away."""
    desk = desk_of(request)
    scripted_host = file.task.file_host(desk.sandbox.now_ms()) if file else "up"
    wanted = {desk.control.switches().files, scripted_host}
    if "away" in wanted:
        return Reset()
    return page(BLOCKED) if "denied" in wanted else None


async def scripted(request: Request, file: File) -> Response:
    """Serve the bytes, or the bad day."""
    life = file.task.life
    match life.result:
        case "truncated":
            whole = await drawn(request, file)
            return Truncated(await desk_of(request).gallery.read(Path(whole.path)), media_type=whole.media_type)
        case "html":
            return page(SIGN_IN_PAGE)
        case "redirect":
            return RedirectResponse(life.redirect, 302)
        case _:
            return await drawn(request, file)


async def drawn(request: Request, file: File) -> FileResponse:
    """The picture itself."""
    path = await desk_of(request).gallery.draw(file.picture)
    return FileResponse(path, media_type=MEDIA_TYPES[file.picture.extension])


async def signed(request: Request) -> Response:
    """GET a direct link; an expired one is told so by the bucket, in XML."""
    file = desk_of(request).archive.signed(request.query_params.get("X-Amz-Signature", ""))
    refused = require_user_agent(request) or host_trouble(request, file)
    return refused or (await drawn(request, file) if file else page(EXPIRED_LINK))


async def upload(request: Request) -> Response:
    """GET an upload while it lives."""
    desk = desk_of(request)
    found = desk.archive.upload(request.url.path.removeprefix("/"))
    blocked = require_user_agent(request)
    if blocked or found is None:
        return blocked or page(GONE)
    return FileResponse(desk.gallery.kept(found.digest), media_type=found.mime)
