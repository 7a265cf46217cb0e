"""The tester's doors: they need no key and speak plain JSON, because KIE has nothing like them."""

from dataclasses import asdict, replace
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import InvalidArgument
from services.sandbox.doors.desk import body_of, desk_of
from services.sandbox.doors.replies import Plain
from services.sandbox.model import Script

MAX_LISTED = 1000  # requests shown at once


class Form(BaseModel):
    """A control body: unknown fields are an error, because a misspelt script would look like a good day."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


F = TypeVar("F", bound=Form)


class MatchForm(Form):
    """Which creates a script speaks of."""

    account: str = ""
    family: Literal["", "gpt4o_image", "flux_kontext", "market_jobs"] = ""
    prompt_contains: str = ""


class ScriptForm(Form):
    """Steps for the next creates that match; times is how many, the last step repeats."""

    match: MatchForm = MatchForm()
    steps: Annotated[list[str], Field(min_length=1)]
    times: int | None = Field(None, ge=1)


class SwitchesForm(Form):
    """How replies are worded, and whether the host of results answers: up, denied (403) or away (reset)."""

    http_mode: Literal["body", "status"] | None = None
    casing: Literal["camel", "snake"] | None = None
    times: Literal["native", "ms", "string", "iso"] | None = None
    result_json: Literal["text", "object"] | None = Field(None, alias="resultJson")
    files: Literal["up", "denied", "away"] | None = None


class ClockForm(Form):
    """How far to put the clock forward."""

    advance_seconds: float = Field(ge=0)


class AccountForm(Form):
    """What to change about an account."""

    credits: Decimal | None = Field(None, ge=0, decimal_places=2)
    state: Literal["ok", "revoked"] | None = None
    revoked_keys: list[str] | None = None


async def form(kind: type[F], request: Request) -> F:
    """Read a control body.

    Raises:
        InvalidArgument: it names every problem.
    """
    body = await body_of(request)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise InvalidArgument("; ".join(problems)) from None


async def ledger(request: Request) -> Response:
    """GET /sandbox/ledger?prompt=&task_id=."""
    query = request.query_params
    return Plain(desk_of(request).control.ledger(query.get("prompt"), query.get("task_id")))


async def task(request: Request) -> Response:
    """GET /sandbox/tasks/{id}."""
    return Plain(desk_of(request).control.task(request.path_params["id"]))


async def call_back(request: Request) -> Response:
    """POST /sandbox/tasks/{id}/callback."""
    desk, task_id = desk_of(request), request.path_params["id"]
    desk.control.call_back(task_id)
    desk.sender.wake()
    return Plain(desk.control.task(task_id))


async def requests(request: Request) -> Response:
    """GET /sandbox/requests?path=&limit=."""
    limit = request.query_params.get("limit", "100")
    if not limit.isdecimal():
        raise InvalidArgument("limit must be a whole number.", metadata={"field": "limit"})
    path = request.query_params.get("path", "")
    return Plain({"requests": desk_of(request).control.requests(path, min(int(limit), MAX_LISTED))})


async def scripts(request: Request) -> Response:
    """GET /sandbox/script."""
    return Plain({"scripts": [asdict(script) for script in desk_of(request).control.scripts()]})


async def add_script(request: Request) -> Response:
    """POST /sandbox/script {match, steps, times}."""
    asked = await form(ScriptForm, request)
    match = asked.match
    times = asked.times or len(asked.steps)
    script = Script(0, match.account, match.family, match.prompt_contains, tuple(asked.steps), times, 0)
    desk_of(request).control.add_script(script)
    return await scripts(request)


async def clear_scripts(request: Request) -> Response:
    """DELETE /sandbox/script."""
    desk_of(request).control.clear_scripts()
    return await scripts(request)


async def switches(request: Request) -> Response:
    """GET or POST /sandbox/switches."""
    control = desk_of(request).control
    if request.method == "POST":
        changes = (await form(SwitchesForm, request)).model_dump(exclude_none=True)
        control.set_switches(replace(control.switches(), **changes))
    return Plain(asdict(control.switches()))


async def clock(request: Request) -> Response:
    """POST /sandbox/clock {advance_seconds}."""
    desk = desk_of(request)
    now = desk.control.advance(round((await form(ClockForm, request)).advance_seconds * 1000))
    desk.sender.wake()
    return Plain({"now_ms": now})


async def account(request: Request) -> Response:
    """POST /sandbox/accounts/{account} {credits, state, revoked_keys}."""
    asked = await form(AccountForm, request)
    revoked = None if asked.state is None else asked.state == "revoked"
    keys = None if asked.revoked_keys is None else tuple(asked.revoked_keys)
    changed = desk_of(request).control.set_account(
        request.path_params["account"], asked.credits, revoked=revoked, revoked_keys=keys
    )
    return Plain(asdict(changed) | {"balance": changed.balance})


async def reset(request: Request) -> Response:
    """POST /sandbox/reset."""
    desk_of(request).control.reset()
    return Plain({"reset": True})


async def healthz(_request: Request) -> Response:
    """GET /healthz: it answers, so it serves."""
    return Plain({"status": "ok"})
