"""Metrics of transactions and the bounds of their queue, the same on both engines."""

import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from types import coroutine
from typing import Any, TypeVar

from prometheus_client import Gauge, Histogram

MAX_QUEUED = 1000  # as many as a server's calls (services/chassis/server.py): more callers are told to come back
WAIT_SECONDS = 5.0  # in the queue, before a caller is told to come back
LOOP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)  # buckets: what is longer than 20 ms is a mistake

QUEUED = Gauge("kawaii_database_queued", "Transactions that wait for a thread or a connection.", ("kind",))
WAITED = Histogram("kawaii_database_wait_seconds", "How long a transaction waited for its turn.", ("kind",))
TOOK = Histogram("kawaii_database_transaction_seconds", "From BEGIN to COMMIT, of a group for writes.", ("kind",))
GROUP = Histogram(
    "kawaii_database_group_size", "Transactions that were committed together.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
IN_USE = Gauge("kawaii_database_connections_in_use", "Connections to PostgreSQL on which a transaction runs.")
ON_LOOP = Histogram(
    "kawaii_database_loop_seconds",
    "The longest time the event loop computed for a transaction at a stretch; on SQLite, for all that end together.",
    buckets=LOOP_SECONDS,
)

R = TypeVar("R")


@contextmanager
def on_loop() -> Generator[None, None, None]:
    """Observe the CPU time of what the event loop does inside; waits for a core or for the interpreter do not count."""
    began = time.thread_time()
    try:
        yield
    finally:
        ON_LOOP.observe(time.thread_time() - began)


@coroutine
def steps_on_loop(work: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Await a coroutine, and observe the CPU time of the longest of its steps."""
    longest, step, value = 0.0, work.send, None
    try:
        while True:
            began = time.thread_time()
            try:
                awaited = step(value)
            except StopIteration as end:
                result: R = end.value
                return result
            finally:
                longest = max(longest, time.thread_time() - began)
            try:
                step, value = work.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                step, value = work.throw, error
    finally:
        ON_LOOP.observe(longest)
