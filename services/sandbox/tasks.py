"""Tasks: which script step a create call gets, limits, one bill for each accepted task, and what its owner may read.

Accepting a task writes its row, its bill, the paths of its results and its callbacks in one transaction; everything
that happens to the task later follows from those rows and the time.
"""

import hashlib
from collections import deque
from collections.abc import Callable

from services.sandbox.accounts import Accounts
from services.sandbox.model import CreateCall, Phase, Result, Rules, Task, TaskSpec, View, digest_of
from services.sandbox.refusals import FREQUENCY, NO_CREDIT, NO_RECORD, Page, RefusalError, refuse
from services.sandbox.scripts import parse, steps_of
from services.sandbox.store import Clock, Store

READ_WINDOW_MS = 1_000
WATCHED_TASKS = 10_000  # tasks whose reads are counted at once; the longest unread are forgotten
ORIGIN_TTL_MS = 600_000  # KIE shows the URL of Flux's own upstream for ten minutes: docs/provider.md#flux-record


class Tasks:
    """Creates tasks and shows them."""

    def __init__(self, store: Store, accounts: Accounts, rules: Rules, clock: Clock, new_id: Callable[[], str]) -> None:
        self._store = store
        self._accounts = accounts
        self._rules = rules
        self._clock = clock
        self._new_id = new_id
        self._reads: dict[str, deque[int]] = {}

    def begin(self, account: str, family: str, prompt: str) -> CreateCall:
        """Counts a create call, and takes the step that a script has for it; without a script the call succeeds.

        Scripts of the control routes come before the prompt's own.

        Raises:
            RefusalError: 422 for a script with an unknown word.
        """
        number = self._store.next_request_number()
        return CreateCall(account, number, parse(self._next_step(account, family, prompt)))

    def _next_step(self, account: str, family: str, prompt: str) -> str:
        for script in self._store.pending_scripts():
            if script.matches(account, family, prompt):
                self._store.use_script(script.id)
                return _step_at(script.steps, script.used)
        steps = steps_of(prompt)
        return _step_at(steps, self._store.advance_prompt(digest_of(prompt))) if steps else "ok"

    def create(self, call: CreateCall, spec: TaskSpec) -> Task:
        """Accepts and bills a task, which is on disk with its bill and its callbacks when this returns.

        Raises:
            RefusalError: 429 above the limit, 402 without the credits; neither is charged.
        """
        task = self._task(call, spec)
        window_began_ms = task.create_ms - self._rules.create_window_ms
        with self._store.transaction():
            if self._store.count_tasks_since(task.account, window_began_ms) >= self._rules.create_limit:
                raise RefusalError(429, FREQUENCY)
            if self._accounts.balance(task.account) < spec.credits:
                raise RefusalError(402, NO_CREDIT)
            refund_ms = task.complete_ms if task.life.failure else None
            self._store.add_task(task, results_of(task, self._rules.result_ttl_ms), refund_ms)
            self._store.add_deliveries(task)
        return task

    def _task(self, call: CreateCall, spec: TaskSpec) -> Task:
        now, life = self._clock.now_ms(), call.step.life
        return Task(
            id=self._new_id(),
            account=call.account,
            spec=spec,
            step=call.step,
            create_ms=now,
            complete_ms=None if life.stuck else now + (life.slow_ms or self._rules.generation_ms),
            request_number=call.number,
        )

    def replied_id(self, task: Task) -> str:
        """The id that the reply to a create names: the task's own, unless the script asks for another."""
        match task.step.reply_id:
            case "":
                return task.id
            case "unknown":
                return self._new_id()
            case wanted:
                return self._store.other_task_id(task, same_account=wanted == "earlier") or self._new_id()

    def record(self, account: str, family: str, task_id: str) -> View | Page:
        """A task for its owner, or the page with which its script refuses this read.

        Raises:
            RefusalError: 429 when read too often; 422 when there is no such task, or of another account, or not yet.
        """
        self._limit_reads(task_id)
        task = self._store.task(task_id)
        if task is None or (task.account, task.spec.family) != (account, family):
            raise RefusalError(422, NO_RECORD)
        if task.life.read_fault and self._store.count_record_read(task_id) <= task.life.read_faults:
            return refuse(task.life.read_fault)
        view = self.view(task)
        if view.phase is Phase.INVISIBLE:
            raise RefusalError(422, NO_RECORD)
        return view

    def view(self, task: Task) -> View:
        """A task as it is now."""
        now, base = self._clock.now_ms(), self._rules.base_url
        shown = self._store.results(task.id) if task.has_urls(now) else []
        urls = {kind: [f"{base}/{r.path}" for r in shown if r.kind == kind] for kind in ("result", "origin")}
        origin = urls["origin"][0] if urls["origin"] else ""
        return View(task, now, tuple(urls["result"]), origin, self._store.switches())

    def _limit_reads(self, task_id: str) -> None:
        now = self._clock.now_ms()
        reads = self._reads.pop(task_id, deque())
        while reads and reads[0] <= now - READ_WINDOW_MS:
            reads.popleft()
        self._reads[task_id] = reads
        if len(reads) >= self._rules.read_limit:
            raise RefusalError(429, FREQUENCY)
        reads.append(now)
        if len(self._reads) > WATCHED_TASKS:
            del self._reads[next(iter(self._reads))]


def _step_at(steps: tuple[str, ...], position: int) -> str:
    """The step at a position; the last step repeats."""
    return steps[min(position, len(steps) - 1)]


def results_of(task: Task, ttl_ms: int) -> list[Result]:
    """The files that a task will have when it ends; none when the task fails or never ends."""
    if task.complete_ms is None or task.life.failure:
        return []
    count, end_ms = task.life.variants, task.complete_ms
    results = [
        Result(_path(task, position, end_ms), task.id, position, "result", end_ms + ttl_ms) for position in range(count)
    ]
    if task.spec.family == "flux_kontext":
        results.append(Result(_path(task, count, end_ms), task.id, count, "origin", end_ms + ORIGIN_TTL_MS))
    return results


def _path(task: Task, position: int, end_ms: int) -> str:
    """A path in one of the shapes of docs/provider.md#hosts, always the same for the same task and position."""
    digest = hashlib.sha256(f"{task.id}/{position}".encode()).hexdigest()
    extension, end = task.spec.extension, end_ms // 1000
    match task.spec.path_shape:
        case "4o":
            return f"s/{task.id}_{position}_{end}_{int(digest, 16) % 10_000:04}.{extension}"
        case "nano":
            return f"workers/nano/image_{end_ms}_{digest[:6]}.{extension}"
        case _:
            return f"r/{digest[:32]}_{end}_{digest[-8:]}.{extension}"
