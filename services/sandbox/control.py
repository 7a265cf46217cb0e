"""What a tester may see and change: the ledger, tasks, requests, scripts, switches, the clock, accounts."""

from dataclasses import asdict, replace
from decimal import Decimal

from services.chassis.errors import NotFound
from services.sandbox.core import Sandbox
from services.sandbox.model import Account, Json, Phase, Rules, Script, Switches, Task
from services.sandbox.ports import Store
from services.sandbox.steps import parse


class Control:
    """The view from behind the counter."""

    def __init__(self, sandbox: Sandbox, store: Store, rules: Rules) -> None:
        self._sandbox = sandbox
        self._store = store
        self._rules = rules

    def ledger(self, prompt: str | None, task_id: str | None) -> Json:
        """Every billed task, or those of exactly this prompt or id; the oracle for `charged once`."""
        entries = [self._entry(task) for task in self._store.tasks.search(prompt, task_id)]
        total = sum((entry["credits"] for entry in entries), Decimal(0))
        return {"entries": entries, "totals": {"entries": len(entries), "credits": total}}

    def _entry(self, task: Task) -> Json:
        draft, phase = task.draft, task.phase(self._sandbox.now_ms())
        return {
            "task_id": task.id,
            "account": task.account,
            "family": draft.family,
            "model": draft.model,
            "callback_url": draft.callback_url,
            "prompt_digest": draft.prompt_digest,
            "prompt": draft.prompt,
            "credits": Decimal(0) if phase is Phase.FAILED else draft.credits,
            "state": phase.value,
            "create_ms": task.create_ms,
            "request_number": task.request_number,
            "fault": "" if task.step.text == "ok" else task.step.text,
        }

    def task(self, task_id: str) -> Json:
        """Everything about a task.

        Raises:
            NotFound: there is no such task.
        """
        task = self._store.tasks.get(task_id)
        if task is None:
            raise NotFound(f"The sandbox knows no task {task_id}.")
        return self._entry(task) | {
            "complete_ms": task.complete_ms,
            "progress": task.progress(self._sandbox.now_ms()),
            "images": task.draft.images,
            "param": task.draft.param,
            "step": asdict(task.step),
            "results": [asdict(result) for result in self._store.tasks.results(task_id)],
            "deliveries_planned": self._store.deliveries.planned(task_id),
            "deliveries": self._store.deliveries.log(task_id),
        }

    def call_back(self, task_id: str) -> None:
        """Send a task's callback once more, or for the first time although its script keeps it silent.

        Raises:
            NotFound: there is no such task.
        """
        task = self._store.tasks.get(task_id)
        if task is None:
            raise NotFound(f"The sandbox knows no task {task_id}.")
        self._store.deliveries.add(task, max(self._sandbox.now_ms(), task.complete_ms or 0))

    def requests(self, path: str, limit: int) -> list[Json]:
        """The newest requests whose path begins so."""
        return self._store.notebook.requests(path, limit)

    def add_script(self, script: Script) -> None:
        """Lay down steps for matching creates.

        Raises:
            RefusalError: a step is not understood.
        """
        for step in script.steps:
            parse(step)
        self._store.scripts.add(script)

    def scripts(self) -> list[Script]:
        """Scripts with uses left."""
        return self._store.scripts.pending()

    def clear_scripts(self) -> None:
        """Back to good days; a prompt's own script keeps its place."""
        self._store.scripts.clear()

    def switches(self) -> Switches:
        """How replies are worded now."""
        return self._store.notebook.switches()

    def set_switches(self, switches: Switches) -> None:
        """Change how replies are worded."""
        self._store.notebook.set_switches(switches)

    def advance(self, milliseconds: int) -> int:
        """Put the clock forward, and tell the time it shows."""
        self._store.notebook.add_offset(milliseconds)
        return self._sandbox.now_ms()

    def set_account(
        self, name: str, balance: Decimal | None, *, revoked: bool | None, revoked_keys: tuple[str, ...] | None
    ) -> Account:
        """Change an account, which is made when missing; None leaves a thing as it is."""
        self._store.accounts.open(name, str(self._rules.credits))
        account = self._store.accounts.get(name, self._sandbox.now_ms())
        granted = account.granted if balance is None else account.granted + balance - account.balance
        changed = replace(
            account,
            granted=granted,
            revoked=account.revoked if revoked is None else revoked,
            revoked_keys=account.revoked_keys if revoked_keys is None else revoked_keys,
        )
        self._store.accounts.set(changed)
        if balance is not None:
            self._sandbox.fill_up(name)
        return changed

    def reset(self) -> None:
        """Forget everything."""
        self._store.clear()
        self._sandbox.fill_up()
