"""The event loop of a process: how late it wakes who sleeps, and what spares it the longest pauses.

The lag is what callers feel: work on the loop, other threads of the process that hold the interpreter, and the wait
for a core. `kawaii_database_loop_seconds` is the part that is the database's own work (docs/database.md).
"""

import asyncio
import gc
import time

from prometheus_client import Histogram

EVERY_SECONDS = 0.25  # a sample is one wake-up of the process; fewer would miss short blocks even over an hour
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)

LAG = Histogram("kawaii_event_loop_lag_seconds", "How late the event loop woke a task that slept.", buckets=BUCKETS)


async def measure_lag() -> None:
    """Observe the lag until cancelled."""
    while True:
        due = time.monotonic() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        LAG.observe(max(0.0, time.monotonic() - due))


def freeze_startup_objects() -> None:
    """Exempt what the start has made from garbage collection; called once, when the process is ready to serve.

    Modules, classes and routes are some 90,000 objects that live as long as the process. A full collection looks
    through all of them, 50 to 80 ms in which no thread of the process runs Python.
    """
    gc.freeze()
