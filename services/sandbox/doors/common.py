"""Credits and direct links, which belong to no family (kie.md 2.3, 5.1, 5.2)."""

from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.doors.desk import body_of, caller, desk_of
from services.sandbox.doors.replies import ok
from services.sandbox.doors.words import text
from services.sandbox.model import RefusalError


async def credit(request: Request) -> Response:
    """GET /api/v1/chat/credit: what is left, as a number."""
    return ok(desk_of(request).sandbox.balance(caller(request)))


async def download_url(request: Request) -> Response:
    """POST /api/v1/common/download-url {url}: a link of twenty minutes."""
    caller(request)
    url = text(await body_of(request), "url")
    if not url:
        raise RefusalError(422, "url cannot be empty")
    return ok(desk_of(request).archive.link(url))


async def gpt4o_download_url(request: Request) -> Response:
    """POST /api/v1/gpt4o-image/download-url {taskId, url}; the quickstart's {imageUrl} fails as it did in the field."""
    account, body = caller(request), await body_of(request)
    task_id, url = text(body, "taskId"), text(body, "url")
    if not task_id:
        raise RefusalError(422, "任务id不能为空")
    if not url:
        raise RefusalError(500, "Internal Server Error")
    return ok(desk_of(request).archive.task_link(account, "gpt4o_image", task_id, url))
