"""Create, record and credit: the script decides whether and how to answer, the family parses and renders."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.families.family import Family
from services.sandbox.model import CreateCall, Json, Step
from services.sandbox.refusals import Page, RefusalError, refuse
from services.sandbox.routes.messages import Components, Plain, Reset, account_of, body_of, components, ok, page

NO_CREDIT = "402"  # the script word after which the balance agrees for a while

Handler = Callable[[Request], Awaitable[Response]]


def create_handler(family: Family) -> Handler:
    """The handler of a family's create paths."""

    async def create(request: Request) -> Response:
        account, body = account_of(request), await body_of(request)
        parts = components(request)
        call = parts.tasks.begin(account, family.name, family.prompt(body))
        await asyncio.sleep(call.step.hang_before)
        if call.step.refusal == NO_CREDIT and not call.step.billed:
            parts.accounts.begin_shortage(account, family.parse(body).credits)
        return _without_task(call.step) or await _with_task(parts, family, call, body)

    return create


def _without_task(step: Step) -> Response | None:
    """The answer of a step that makes no task."""
    if step.reset == "before":
        return Reset()
    return page(refuse(step.refusal)) if step.refusal and not step.billed else None


async def _with_task(parts: Components, family: Family, call: CreateCall, body: Json) -> Response:
    """Creates the task, then answers as the step says."""
    step = call.step
    task = parts.tasks.create(call, family.parse(body))
    if step.refusal == NO_CREDIT:
        parts.accounts.begin_shortage(call.account, task.spec.credits)
    parts.sender.wake()
    if step.callback_first and task.callbacks():
        await parts.sender.first_attempt(task.id)
    await asyncio.sleep(step.hang_after)
    if step.reset == "after":
        return Reset()
    return page(refuse(step.refusal)) if step.refusal else created(parts.tasks.replied_id(task), step.mangled)


def created(task_id: str, mangled: str) -> Response:
    """The answer to an accepted create, whole or mangled in a scripted way."""
    good: Json = {"code": 200, "msg": "success", "data": {"taskId": task_id}}
    match mangled:
        case "badjson":
            return Response(json.dumps(good)[:-20], media_type="application/json")
        case "noid":
            return Plain(good | {"data": {}})
        case "emptyreply":
            return Response(b"", media_type="application/json")
        case _:
            return Plain(good)


def record_handler(family: Family) -> Handler:
    """The handler of a family's record paths."""

    async def record(request: Request) -> Response:
        account, task_id = account_of(request), request.query_params.get("taskId", "")
        if not task_id:
            raise RefusalError(*family.missing_id)
        view = components(request).tasks.record(account, family.name, task_id)
        return page(view) if isinstance(view, Page) else ok(family.record(view))

    return record


async def credit(request: Request) -> Response:
    """GET /api/v1/chat/credit: the credits left, as a number."""
    return ok(components(request).accounts.balance(account_of(request)))
