"""What is done to a fleet under load, each as a function that reads like a page of a runbook."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.fleet.fleet import KINDS, Fleet, Member
from tests.fleet.load import Load, Seen
from tests.fleet.promises import Broken, judge
from tests.support.polling import until

LEAST_SHARE, MOST_SHARE = 0.35, 0.65
RECONNECT_SECONDS = 6.0  # an attempt to connect that was under way ends, and the next one succeeds (channels.py)
BALANCE_SECONDS = 30.0  # within which a replica that returned has its share of calls
BALANCE_LOOK_SECONDS = 5.0


@dataclass
class Row:
    """One line of the table."""

    name: str
    requests: int
    repeated: int
    orders: int
    broken: Broken
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Run:
    """A scenario that is under way: the fleet, its load, what is said of it."""

    fleet: Fleet
    notes: list[str]


def prepared(fleet: Fleet) -> list[str]:
    """Make a picture and a share of it; the paths that the load reads."""
    with httpx.Client(base_url=fleet.url, timeout=30, trust_env=False) as client:
        order = client.post("/api/generate-image", json={"prompt": "the first picture of the fleet"})
        task = str(order.raise_for_status().json()["taskId"])

        def finished() -> str | None:
            record = client.get("/api/image-details", params={"taskId": task}).raise_for_status().json()["data"]["data"]
            return str(record["response"]["resultUrls"][0]) if record["status"] == "SUCCESS" else None

        picture = until(finished)
        share = client.post("/api/share", json={"generatedUrl": picture, "prompt": "the first"}).raise_for_status()
        identifier = share.json()["data"]["id"] if "data" in share.json() else share.json()["id"]
    return [
        f"/api/share/{identifier}",
        f"/api/image-details?taskId={task}",
        "/api/share/list?limit=20",
        "/api/feed?limit=20",
        f"/files/{picture.partition('/files/')[2]}",
        "/api/hotness/trending",
    ]


@contextmanager
def scenario(
    fleet: Fleet, name: str, paths: Sequence[str], rate: float, rows: list[Row], *, repeat: bool = True
) -> Iterator[Run]:
    """Run the body under load, then judge, and add a row."""
    load, run = Load(fleet.url, list(paths), rate, repeat=repeat), Run(fleet, [])
    load.start()
    try:
        yield run
    finally:
        seen = load.stop()
    fleet.await_ready()
    rows.append(row(fleet, name, seen, run.notes))


def row(fleet: Fleet, name: str, seen: Seen, notes: list[str]) -> Row:
    """Judge what a load saw."""
    return Row(name, seen.requests, seen.repeated, len(seen.orders), judge(fleet, seen), notes, seen.failures)


def shares(fleet: Fleet, seconds: float) -> dict[str, float]:
    """The share of its kind's calls that each member gets, while the caller's load goes on."""
    before = {name: member.calls() for name, member in fleet.members.items()}
    time.sleep(seconds)  # a span over which calls are counted
    counted = {name: member.calls() - before[name] for name, member in fleet.members.items()}
    totals = {kind: sum(counted[member.name] for member in fleet.of(kind)) for kind in KINDS}
    return {name: counted[name] / max(1.0, totals[fleet.members[name].kind]) for name in counted}


def unbalanced(found: dict[str, float]) -> dict[str, float]:
    """Those of the shares that are out of the bounds."""
    return {name: round(share, 2) for name, share in found.items() if not LEAST_SHARE <= share <= MOST_SHARE}


def await_balance(run: Run) -> None:
    """Wait until all replicas have their share, and note when that takes too long."""
    ends = time.monotonic() + BALANCE_SECONDS
    while off := unbalanced(shares(run.fleet, BALANCE_LOOK_SECONDS)):
        if time.monotonic() > ends:
            run.notes.append(f"not in balance after {BALANCE_SECONDS:.0f} s: {off}")
            return


def kill_each(run: Run, seconds: float, members: Sequence[Member] | None = None) -> None:
    """Kill every member in turn, leave it dead for a while, start it again, and wait for the balance."""
    for member in members or list(run.fleet.members.values()):
        member.kill()
        time.sleep(seconds)  # the client must not notice that it is away
        member.start()
        member.await_ready()
    await_balance(run)


def freeze_each(run: Run, seconds: float) -> None:
    """Halt every member in turn: it holds its connections and answers nothing."""
    for member in list(run.fleet.members.values()):
        member.freeze()
        time.sleep(seconds)  # as above
        member.thaw()
        member.await_ready()


def cut_each(run: Run, seconds: float, how: Callable[[Member], None], members: Sequence[Member] | None = None) -> None:
    """Cut every member's host off in turn, in some way, and mend its line; the next when it is connected again."""
    for member in members or list(run.fleet.members.values()):
        how(member)
        time.sleep(seconds)  # as above
        member.host.mend()
        member.await_ready()
        time.sleep(RECONNECT_SECONDS)


def restart_all(run: Run, times: int, members: Sequence[Member] | None = None) -> None:
    """Restart every member in good order, one after the other, so often."""
    for _ in range(times):
        for member in members or list(run.fleet.members.values()):
            member.restart()


def storm(run: Run, kills: int, seed: int, pause: float) -> None:
    """Kill members at random, never both of a kind at one time, each for a moment."""
    chance = random.Random(seed)
    for _ in range(kills):
        member = chance.choice(list(run.fleet.members.values()))
        member.kill()
        time.sleep(chance.uniform(0.0, pause))  # as above
        member.start()
        member.await_ready()
