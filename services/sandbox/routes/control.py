"""The control routes of tests: ledger, tasks, requests, scripts, switches, clock, accounts, reset.

They need no key and answer with plain JSON, because KIE has nothing like them. Their JSON is a contract: the tests of
whole stacks read it.
"""

from dataclasses import asdict, replace
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import InvalidArgument, NotFound, invalid_field
from services.sandbox.model import Json, Phase, Script, Task
from services.sandbox.routes.messages import Plain, body_of, components
from services.sandbox.scripts import parse
from services.sandbox.store import Store

MAX_LISTED = 1000  # requests in one answer


class Form(BaseModel):
    """A control body. Unknown fields are an error, because a misspelt script would look like success."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


F = TypeVar("F", bound=Form)


class MatchForm(Form):
    """The create calls that a script applies to."""

    account: str = ""
    family: Literal["", "gpt4o_image", "flux_kontext", "market_jobs"] = ""
    prompt_contains: str = ""


class ScriptForm(Form):
    """Steps for the next creates that match; times is how many creates, the last step repeats."""

    match: MatchForm = MatchForm()
    steps: Annotated[list[str], Field(min_length=1)]
    times: int | None = Field(None, ge=1)


class SwitchesForm(Form):
    """How replies are written, and whether the file host answers: up, denied (403) or away (connection reset)."""

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


async def _form(kind: type[F], request: Request) -> F:
    """Reads a control body.

    Raises:
        InvalidArgument: with every problem in one message.
    """
    body = await body_of(request)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise InvalidArgument("; ".join(problems)) from None


def ledger_of(store: Store, now_ms: int, prompt: str | None = None, task_id: str | None = None) -> Json:
    """The bills of all tasks, or of those with exactly this prompt or id; tests prove `charged once` with them."""
    entries = [_entry(task, now_ms) for task in store.search_tasks(prompt, task_id)]
    total = sum((entry["credits"] for entry in entries), Decimal(0))
    return {"entries": entries, "totals": {"entries": len(entries), "credits": total}}


def _entry(task: Task, now_ms: int) -> Json:
    spec, phase = task.spec, task.phase(now_ms)
    return {
        "task_id": task.id,
        "account": task.account,
        "family": spec.family,
        "model": spec.model,
        "callback_url": spec.callback_url,
        "prompt_digest": spec.prompt_digest,
        "prompt": spec.prompt,
        "credits": Decimal(0) if phase is Phase.FAILED else spec.credits,
        "state": phase.value,
        "create_ms": task.create_ms,
        "request_number": task.request_number,
        "fault": "" if task.step.text == "ok" else task.step.text,
    }


async def ledger(request: Request) -> Response:
    """GET /sandbox/ledger?prompt=&task_id=."""
    parts, query = components(request), request.query_params
    return Plain(ledger_of(parts.store, parts.clock.now_ms(), query.get("prompt"), query.get("task_id")))


def _task(request: Request) -> Task:
    """The task that a path names.

    Raises:
        NotFound: there is no such task.
    """
    task_id = request.path_params["id"]
    found = components(request).store.task(task_id)
    if found is None:
        raise NotFound(f"The sandbox knows no task {task_id}.")
    return found


async def task(request: Request) -> Response:
    """GET /sandbox/tasks/{id}: the bill, and everything else about the task."""
    parts, found = components(request), _task(request)
    store, now_ms = parts.store, parts.clock.now_ms()
    return Plain(
        _entry(found, now_ms)
        | {
            "complete_ms": found.complete_ms,
            "progress": found.progress(now_ms),
            "images": found.spec.images,
            "param": found.spec.param,
            "step": asdict(found.step),
            "results": [asdict(result) for result in store.results(found.id)],
            "deliveries_planned": store.count_deliveries(found.id),
            "deliveries": store.attempts(found.id),
        }
    )


async def call_back(request: Request) -> Response:
    """POST /sandbox/tasks/{id}/callback: sends the task's callback once more, or although its script prevented it."""
    parts, found = components(request), _task(request)
    parts.store.add_delivery(found, max(parts.clock.now_ms(), found.complete_ms or 0))
    parts.sender.wake()
    return await task(request)


async def requests(request: Request) -> Response:
    """GET /sandbox/requests?path=&limit=: the newest requests whose path begins so."""
    limit = request.query_params.get("limit", "100")
    if not limit.isdecimal():
        raise invalid_field("limit", "limit must be a whole number.")
    path = request.query_params.get("path", "")
    return Plain({"requests": components(request).store.requests(path, min(int(limit), MAX_LISTED))})


async def scripts(request: Request) -> Response:
    """GET /sandbox/script: the scripts with uses left."""
    return Plain({"scripts": [asdict(script) for script in components(request).store.pending_scripts()]})


async def add_script(request: Request) -> Response:
    """POST /sandbox/script {match, steps, times}."""
    asked = await _form(ScriptForm, request)
    for step in asked.steps:
        parse(step)
    match, times = asked.match, asked.times or len(asked.steps)
    script = Script(0, match.account, match.family, match.prompt_contains, tuple(asked.steps), times, 0)
    components(request).store.add_script(script)
    return await scripts(request)


async def clear_scripts(request: Request) -> Response:
    """DELETE /sandbox/script."""
    components(request).store.clear_scripts()
    return await scripts(request)


async def switches(request: Request) -> Response:
    """GET or POST /sandbox/switches."""
    store = components(request).store
    if request.method == "POST":
        changes = (await _form(SwitchesForm, request)).model_dump(exclude_none=True)
        store.set_switches(replace(store.switches(), **changes))
    return Plain(asdict(store.switches()))


async def clock(request: Request) -> Response:
    """POST /sandbox/clock {advance_seconds}."""
    parts = components(request)
    parts.store.advance_clock(round((await _form(ClockForm, request)).advance_seconds * 1000))
    parts.sender.wake()
    return Plain({"now_ms": parts.clock.now_ms()})


async def account(request: Request) -> Response:
    """POST /sandbox/accounts/{account} {credits, state, revoked_keys}; the account is opened when missing."""
    asked = await _form(AccountForm, request)
    revoked = None if asked.state is None else asked.state == "revoked"
    keys = None if asked.revoked_keys is None else tuple(asked.revoked_keys)
    changed = components(request).accounts.change(
        request.path_params["account"], asked.credits, revoked=revoked, revoked_keys=keys
    )
    return Plain(asdict(changed) | {"balance": changed.balance})


async def reset(request: Request) -> Response:
    """POST /sandbox/reset: deletes all state."""
    parts = components(request)
    parts.store.clear()
    parts.accounts.end_shortages()
    return Plain({"reset": True})


async def healthz(_request: Request) -> Response:
    """GET /healthz."""
    return Plain({"status": "ok"})
