"""How soon a waiter on another replica hears of a commit on PostgreSQL: from the commit's answer to the waking.

Against the poll that is the safety net. Milliseconds, over so many commits; ends with 1 when one took more than 50 ms.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.chassis.database import Transaction, connect_database
from services.chassis.lease_loop import LOOK_SECONDS
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings
from tests.support.postgres import postgres

COMMITS = 500
BOUND_MS = 50.0


async def measure(settings: CommonSettings) -> list[float]:
    """Commit on one replica, and wait on the other."""
    took = []
    notifier = Notifier()
    with notifier.subscribed("gen_1") as subscription:
        async with (
            connect_database(settings, "public", notifier=Notifier()) as one,
            connect_database(settings, "public", notifier=notifier),
        ):
            await subscription.wait(LOOK_SECONDS)  # the other one listens: it has woken everybody
            for _ in range(COMMITS):
                await one.write(Transaction.notify, "gen_1")
                committed = time.perf_counter()
                await subscription.wait(LOOK_SECONDS)
                took.append((time.perf_counter() - committed) * 1000)
    return took


def main() -> int:
    """Print one row."""
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        url = server.create_database()
        took = sorted(asyncio.run(measure(CommonSettings(data_dir=Path(folder), database_url=url, _env_file=None))))
    print("| | median ms | p99 ms | worst ms |\n|---|--:|--:|--:|")
    print(f"| NOTIFY | {statistics.median(took):.2f} | {took[int(len(took) * 0.99)]:.2f} | {took[-1]:.2f} |")
    print(f"| polling | {LOOK_SECONDS * 500:.0f} | | {LOOK_SECONDS * 1000:.0f} |")
    return 0 if took[-1] <= BOUND_MS else 1


if __name__ == "__main__":
    sys.exit(main())
