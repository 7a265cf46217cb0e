"""Bad webhooks by the thousand change no row; good ones count once, however often they come.

See docs/durable-core.md#callbacks.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import grpc

from services.chassis import logs
from services.chassis.supervisor import supervised
from services.generation.callbacks.late_results import LateResults
from services.generation.callbacks.processor import CallbackProcessor
from services.generation.stores import tables
from services.generation.stores.leases import make_parking
from services.generation.timing import Timing
from services.generation.workers.poll import Poller
from tests.chaos.anvil import FAMILY, Anvil, Pen, forged
from tests.chaos.hooks import BAD, good

TIMES = 5
BATCH = 1000  # made as they are sent, since their times go stale
SETTLE_SECONDS = 300.0
NO = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
)


async def hammer(anvil: Anvil, seed: str, bad: int, honest: int) -> list[tuple[str, object]]:
    """Strike, and tell what moved."""
    dice, before, began = random.Random(seed), await anvil.fingerprint(), time.monotonic()
    refused = await strike_bad(anvil, dice, bad, honest)
    rate = bad / (time.monotonic() - began)
    unmoved = before == await anvil.fingerprint()
    taken = await strike_good(anvil, dice, honest)
    return [
        ("seed", seed),
        ("bad webhooks", bad),
        ("  refused", sum(refused[code] for code in NO)),
        ("  by code", {code.name: count for code, count in sorted(refused.items(), key=str)}),
        ("  a second", round(rate)),
        ("  every row as before", unmoved),
        ("good webhooks", f"{honest} x {TIMES}"),
        ("  answered OK", taken[grpc.StatusCode.OK]),
        ("  rows in the inbox", await anvil.count(tables.inbox)),
        ("  read to the end", await anvil.count(tables.inbox, tables.inbox.c.verdict == "done")),
        ("  tasks adopted", await anvil.count(tables.attempt, tables.attempt.c.task_id.is_not(None))),
        ("  effects", await anvil.count(tables.outbox)),
    ]


async def strike_bad(anvil: Anvil, dice: random.Random, bad: int, honest: int) -> Counter[grpc.StatusCode]:
    """Each kind of bad webhook in turn, made of a good one for any of the attempts."""
    codes = Counter[grpc.StatusCode]()
    for start in range(0, bad, BATCH):
        numbers = range(start, min(start + BATCH, bad))
        codes += await anvil.strike_all([BAD[number % len(BAD)](good(dice.randrange(honest))) for number in numbers])
    return codes


async def strike_good(anvil: Anvil, dice: random.Random, honest: int) -> Counter[grpc.StatusCode]:
    """Each good webhook several times, in any order, while the processor reads."""
    numbers, codes = [number for number in range(honest) for _ in range(TIMES)], Counter[grpc.StatusCode]()
    dice.shuffle(numbers)
    poller = Poller(anvil.store, cast("Any", Pen()), cast("Any", {FAMILY: Pen()}), Timing())
    late_results = LateResults(anvil.store, cast("Any", None), Timing())
    processor = CallbackProcessor(
        anvil.store, anvil.inbox, anvil.notifier, poller, late_results, parking=make_parking(anvil.database)
    )
    async with supervised([processor.run]):
        for start in range(0, len(numbers), BATCH):
            codes += await anvil.strike_all([good(number) for number in numbers[start : start + BATCH]])
        await settled(anvil, honest)
    return codes


async def settled(anvil: Anvil, honest: int) -> None:
    """Wait until the inbox is read."""
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        if await anvil.count(tables.inbox, tables.inbox.c.verdict != "") == honest:
            return
        await asyncio.sleep(0.1)


async def run(folder: Path, seed: str, bad: int, honest: int) -> dict[str, object]:
    """The whole program; its table."""
    logs.configure("error", "json", "hammer")
    async with forged(folder, honest) as anvil:
        return dict(await hammer(anvil, seed, bad, honest))


def faultless(table: dict[str, object], bad: int, honest: int) -> bool:
    """Whether a table shows what was promised."""
    counted = [table[name] for name in ("  rows in the inbox", "  read to the end", "  tasks adopted", "  effects")]
    whole = table["  answered OK"] == honest * TIMES and counted == [honest] * len(counted)
    return whole and table["  refused"] == bad and bool(table["  every row as before"])


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=100_000)
    parser.add_argument("--good", type=int, default=10_000)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kawaii-hammer-") as folder:
        table = asyncio.run(run(Path(folder), asked.seed, asked.bad, asked.good))
    width = max(map(len, table))
    sys.stdout.write("\n".join(f"{name:<{width}}  {value}" for name, value in table.items()) + "\n")
    return not faultless(table, asked.bad, asked.good)


if __name__ == "__main__":
    raise SystemExit(main())
