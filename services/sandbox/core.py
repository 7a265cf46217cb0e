"""The business of the stand-in: who may ask, what today's script says, and one bill for each accepted task."""

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from services.sandbox.model import Call, Draft, Phase, RefusalError, Rules, Task, View, digest_of
from services.sandbox.paths import results_of
from services.sandbox.ports import Store
from services.sandbox.refusals import FREQUENCY, NO_ACCESS, NO_CREDIT, NO_RECORD, Page, refuse
from services.sandbox.steps import parse, script_of

KEY = re.compile(r"Bearer (sandbox-([A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*?)(?:-\d+)?)")
READ_WINDOW_MS = 1_000
SHORT_MS = 5_000  # how long an account stays short after a scripted 402: any reader of its balance sees it by then
SMALLEST = Decimal("0.01")  # of a credit
WATCHED_TASKS = 10_000  # tasks whose reads are counted at once; the longest unread are forgotten


def at(steps: tuple[str, ...], place: int) -> str:
    """The step at a place; the last one repeats."""
    return steps[min(place, len(steps) - 1)]


class Sandbox:
    """KIE's side of a generation: accounts, tasks, ledger."""

    def __init__(self, store: Store, rules: Rules, clock: Callable[[], int], new_id: Callable[[], str]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._new_id = new_id
        self._reads: dict[str, deque[int]] = {}
        self._short: dict[str, tuple[int, Decimal]] = {}

    def now_ms(self) -> int:
        """The stand-in's time, which control may put forward."""
        return self._clock() + self._store.notebook.offset_ms()

    def admit(self, authorization: str) -> str:
        """Return the account of a key; an account is made when first seen.

        Raises:
            RefusalError: 401 for a key that is not ours, or was revoked.
        """
        match = KEY.fullmatch(authorization)
        if match is None:
            raise RefusalError(401, NO_ACCESS)
        key, name = match.groups()
        self._store.accounts.open(name, str(self._rules.credits))
        account = self._store.accounts.get(name, self.now_ms())
        if account.revoked or key in account.revoked_keys:
            raise RefusalError(401, NO_ACCESS)
        return name

    def balance(self, account: str) -> Decimal:
        """Credits left, as far as they are shown: too few for a while after a script said that they do not suffice."""
        now = self.now_ms()
        left = self._store.accounts.get(account, now).balance
        until_ms, most = self._short.get(account, (0, left))
        return min(left, most) if now < until_ms else left

    def run_short(self, account: str, cost: Decimal) -> None:
        """Let the balance agree with a scripted 402: for some seconds there is less than the refused order costs."""
        self._short[account] = (self.now_ms() + SHORT_MS, max(cost - SMALLEST, Decimal(0)))

    def fill_up(self, account: str = "") -> None:
        """End the shortage of an account, or of all."""
        self._short = {name: short for name, short in self._short.items() if account and name != account}

    def begin(self, account: str, family: str, prompt: str) -> Call:
        """Count a create call, and take the step that a script has for it; without a script it is a good day.

        Raises:
            RefusalError: 422 for a script that is not understood.
        """
        number = self._store.notebook.next_request_number()
        return Call(account, number, parse(self._step(account, family, prompt)))

    def _step(self, account: str, family: str, prompt: str) -> str:
        for script in self._store.scripts.pending():
            if script.matches(account, family, prompt):
                self._store.scripts.use(script.id)
                return at(script.steps, script.used)
        steps = script_of(prompt)
        return at(steps, self._store.scripts.advance(digest_of(prompt))) if steps else "ok"

    def create(self, call: Call, draft: Draft) -> Task:
        """Accept and bill a task; it is on disk, with its bill and its callbacks, when this returns.

        Raises:
            RefusalError: 429 above the limit, 402 without the credits; neither is charged.
        """
        task = self._task(call, draft)
        with self._store.transaction():
            if (
                self._store.tasks.count_since(task.account, task.create_ms - self._rules.create_window_ms)
                >= self._rules.create_limit
            ):
                raise RefusalError(429, FREQUENCY)
            if self.balance(task.account) < draft.credits:
                raise RefusalError(402, NO_CREDIT)
            refund_ms = task.complete_ms if task.life.failure else None
            self._store.tasks.add(task, results_of(task, self._rules.result_ttl_ms), refund_ms)
            self._store.deliveries.plan(task)
        return task

    def _task(self, call: Call, draft: Draft) -> Task:
        now, life = self.now_ms(), call.step.life
        return Task(
            id=self._new_id(),
            account=call.account,
            draft=draft,
            step=call.step,
            create_ms=now,
            complete_ms=None if life.stuck else now + (life.slow_ms or self._rules.generation_ms),
            request_number=call.number,
        )

    def replied_id(self, task: Task) -> str:
        """The id that the reply to a create names: the task's own, unless the script wants another's."""
        match task.step.reply_id:
            case "":
                return task.id
            case "unknown":
                return self._new_id()
            case wanted:
                return self._store.tasks.neighbour(task, same_account=wanted == "earlier") or self._new_id()

    def record(self, account: str, family: str, task_id: str) -> View | Page:
        """Show a task to its owner, or the page that its script lets readers see.

        Raises:
            RefusalError: 429 when read too often; 422 when there is none, or not for this account, or not yet.
        """
        self._limit_reads(task_id)
        task = self._store.tasks.get(task_id)
        if task is None or (task.account, task.draft.family) != (account, family):
            raise RefusalError(422, NO_RECORD)
        if task.life.read_fault and self._store.tasks.count_read(task_id) <= task.life.read_faults:
            return refuse(task.life.read_fault)
        view = self.view(task)
        if view.phase is Phase.INVISIBLE:
            raise RefusalError(422, NO_RECORD)
        return view

    def view(self, task: Task) -> View:
        """Look at a task now."""
        now, base = self.now_ms(), self._rules.base_url
        shown = self._store.tasks.results(task.id) if task.has_urls(now) else []
        urls = {kind: [f"{base}/{r.path}" for r in shown if r.kind == kind] for kind in ("result", "origin")}
        origin = urls["origin"][0] if urls["origin"] else ""
        return View(task, now, tuple(urls["result"]), origin, self._store.notebook.switches())

    def _limit_reads(self, task_id: str) -> None:
        now = self.now_ms()
        reads = self._reads.pop(task_id, deque())
        while reads and reads[0] <= now - READ_WINDOW_MS:
            reads.popleft()
        self._reads[task_id] = reads
        if len(reads) >= self._rules.read_limit:
            raise RefusalError(429, FREQUENCY)
        reads.append(now)
        if len(self._reads) > WATCHED_TASKS:
            del self._reads[next(iter(self._reads))]
