"""What must hold after every fault: no order lost, none billed twice, every picture stored."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fleet.fleet import Fleet
from tests.fleet.load import Seen
from tests.support.polling import until

SETTLE_SECONDS = 120.0


@dataclass(frozen=True)
class Broken:
    """How often each promise was broken; every number is zero in a fleet that keeps them."""

    failed_requests: int
    unfinished: int
    not_succeeded: int
    billed_twice: int
    billed_without_order: int
    missing_bytes: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())


def judge(fleet: Fleet, seen: Seen) -> Broken:
    """Wait until all orders of a load have ended, and count what was broken."""
    open_orders = dict(seen.orders)
    states: dict[str, str] = {}
    pictures: dict[str, str] = {}
    with httpx.Client(base_url=fleet.url, timeout=20, trust_env=False) as client:

        def settled() -> bool:
            for prompt, task in list(open_orders.items()):
                record = _record(client, task)
                if record is not None and record["status"] != "GENERATING":
                    states[prompt] = str(record["status"])
                    if urls := record["response"] and record["response"].get("resultUrls"):
                        pictures[prompt] = str(urls[0])
                    del open_orders[prompt]
            return not open_orders

        with suppress(AssertionError):  # those that have not ended are counted
            until(lambda: settled() or None, SETTLE_SECONDS)
        missing = sum(not _is_picture(client, url) for url in pictures.values())
    bills = Counter(str(entry["prompt"]) for entry in fleet.ledger())
    return Broken(
        failed_requests=len(seen.failures),
        unfinished=len(open_orders),
        not_succeeded=sum(state != "SUCCESS" for state in states.values()),
        billed_twice=sum(bills[prompt] > 1 for prompt in seen.orders),
        billed_without_order=sum(bills[prompt] == 0 for prompt in states if states[prompt] == "SUCCESS"),
        missing_bytes=missing + sum(state == "SUCCESS" and prompt not in pictures for prompt, state in states.items()),
    )


def _record(client: httpx.Client, task: str) -> dict[str, Any] | None:
    try:
        answer = client.get("/api/image-details", params={"taskId": task}).raise_for_status()
    except httpx.HTTPError:
        return None
    return dict(answer.json()["data"]["data"])


def _is_picture(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).raise_for_status().content.startswith(b"\x89PNG")
    except httpx.HTTPError:
        return False
