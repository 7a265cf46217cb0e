"""Repeats reads: one that a replica left unanswered, since it died, hangs or is cut off, is asked of another replica.

A read is a method whose name begins as those of standard methods that change nothing (aip.dev/130): Get, BatchGet,
List; or with Find. Of a host that is cut off nothing is heard until keepalive gives it up (channels.py), which lasts
for most of a caller's time; so a read waits READ_SECONDS for one replica, and then goes to the next in turn. What a
service itself answers is never asked again, neither an error nor a refusal of too much work: it carries details
(status.py).

Repeats are bounded: a channel has a budget, to which answered reads add a fraction. So services that are slow because
they have too much to do are not asked twice as much.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import grpc
from grpc import aio

from services.chassis.status import TORN, has_details

READ = re.compile(r"/(?:Get|BatchGet|List|Find)[A-Z][A-Za-z]*\Z")
# Two replicas are asked in turn, but with other callers' reads: two attempts reach the same one in one case of two.
ATTEMPTS = 3
READ_SECONDS = 2.0  # a read takes some milliseconds, and a busy machine may add a second
# Before the last attempt. gRPC connects to a replica that was started again after a second at most (channels.py).
RECONNECT_SECONDS = 1.0
LEAST_SECONDS = 0.02  # not worth starting below this
MOST_REPEATS = 50.0  # at once: what is under way to one replica at the moment at which its line is cut
REPEATS_PER_ANSWER = 0.2
NOT_ANSWERED = frozenset({grpc.StatusCode.UNAVAILABLE, *TORN})

T = TypeVar("T")


def is_read(method: str) -> bool:
    """Whether a method, as /package.Service/Method, changes nothing."""
    return READ.search(method) is not None


class RepeatBudget:
    """How many reads of a channel may still be repeated."""

    def __init__(self) -> None:
        self._left = MOST_REPEATS

    @property
    def spent(self) -> bool:
        """Whether no read may be repeated at the moment."""
        return self._left < 1.0

    def repeat(self) -> None:
        """A read is repeated."""
        self._left -= 1.0

    def answered(self) -> None:
        """A read was answered."""
        self._left = min(MOST_REPEATS, self._left + REPEATS_PER_ANSWER)


async def read(ask: Callable[[float], Awaitable[T]], seconds: float, budget: RepeatBudget) -> T:
    """The answer to a read within so many seconds. `ask` begins one attempt, which may last as long as it is told.

    Raises:
        aio.AioRpcError: of the last attempt.
    """
    ends, attempt = monotonic() + seconds, 1
    while True:
        left = ends - monotonic()
        last = attempt == ATTEMPTS or budget.spent
        try:
            answer = await ask(left if last else min(READ_SECONDS, left / 2))
        except aio.AioRpcError as failure:
            error = failure
            if last or not _unanswered(error) or ends - monotonic() < LEAST_SECONDS:
                raise
        else:
            budget.answered()
            return answer
        budget.repeat()
        attempt += 1
        if attempt == ATTEMPTS and error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            await asyncio.sleep(min(RECONNECT_SECONDS, (ends - monotonic()) / 2))


def _unanswered(error: aio.AioRpcError) -> bool:
    """Whether no service said this: the connection was lost, or the time of the attempt was over."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # the service says it too, when it notices first
        return True
    return error.code() in NOT_ANSWERED and not has_details(error)
