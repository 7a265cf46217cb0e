"""Create and record, the same two doors for every family: they follow the script, the family finds the words."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.doors.desk import Desk, body_of, caller, desk_of
from services.sandbox.doors.replies import Reset, created, ok, page, refused
from services.sandbox.model import Call, Json, RefusalError, Step
from services.sandbox.ports import Family
from services.sandbox.refusals import Page, refuse

NO_CREDIT = "402"  # the word of a script after which the balance agrees for a while

Door = Callable[[Request], Awaitable[Response]]


def creator(family: Family) -> Door:
    """The create door of a family."""

    async def create(request: Request) -> Response:
        account, body = caller(request), await body_of(request)
        desk = desk_of(request)
        call = desk.sandbox.begin(account, family.name, family.prompt(body))
        await asyncio.sleep(call.step.hang_before)
        if call.step.refusal == NO_CREDIT and not call.step.billed:
            desk.sandbox.run_short(account, family.draft(body).credits)
        return before(call.step) or await follow(desk, family, call, body)

    return create


def before(step: Step) -> Response | None:
    """What the script wants instead of a task."""
    if step.reset == "before":
        return Reset()
    return page(refuse(step.refusal)) if step.refusal and not step.billed else None


async def follow(desk: Desk, family: Family, call: Call, body: Json) -> Response:
    """Make the task, then answer in the way the script wants."""
    step = call.step
    task = desk.sandbox.create(call, family.draft(body))
    if step.refusal == NO_CREDIT:
        desk.sandbox.run_short(call.account, task.draft.credits)
    desk.sender.wake()
    if step.callback_first and task.verdicts():
        await desk.sender.first_try(task.id)
    await asyncio.sleep(step.hang_after)
    if step.reset == "after":
        return Reset()
    return page(refuse(step.refusal)) if step.refusal else created(desk.sandbox.replied_id(task), step.mangled)


def reader(family: Family) -> Door:
    """The record door of a family."""

    async def record(request: Request) -> Response:
        account, task_id = caller(request), request.query_params.get("taskId", "")
        if not task_id:
            raise RefusalError(*family.missing_id)
        view = desk_of(request).sandbox.record(account, family.name, task_id)
        return page(view) if isinstance(view, Page) else ok(family.record(view))

    return record


async def on_refusal(request: Request, error: Exception) -> Response:
    """Word every refusal in KIE's envelope."""
    assert isinstance(error, RefusalError)  # noqa: S101  Starlette calls this for nothing else, and types it so
    return refused(error, desk_of(request).control.switches())
