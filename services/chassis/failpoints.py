"""Failpoints: named places at which a test may kill, fail or hold this process, by the variable FAILPOINT."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count

from services.chassis.errors import Unavailable

HANG_SECONDS = "30"  # three leases; FAILPOINT_HANG_SECONDS follows a stack whose leases are shorter
SLEEP_SECONDS = 0.3  # long enough for concurrent work to overtake
WORK, BEGUN, DONE = "work", "begun", "done"  # of log lines that say which work a process has begun

_pieces = count(1)
_in_hand: ContextVar[str] = ContextVar("in_hand", default="-")  # the id of what this task works on


@dataclass(frozen=True)
class Fault:
    """The fault at a failpoint: always, with a probability, or the nth time only. The name `*` is every failpoint."""

    name: str
    action: str
    chance: float = 1.0
    nth: int = 0

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read name:action[:chance|nth]; a number with a dot is a chance. Raises ValueError."""
        name, action, *rest = text.split(":")
        if action not in ("kill", "error", "sleep", "hang", "note") or len(rest) > 1:
            raise ValueError(f"FAILPOINT takes name:kill|error|sleep|hang|note[:chance|nth], not {text}")
        if not rest:
            return cls(name, action)
        return cls(name, action, chance=float(rest[0])) if "." in rest[0] else cls(name, action, nth=int(rest[0]))


class Failpoints:
    """The faults of this process, drawn from a seed so that a run can be repeated."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._faults = tuple(map(Fault.parse, filter(None, environment.get("FAILPOINT", "").split(","))))
        self._dice = random.Random(environment.get("FAILPOINT_SEED", ""))  # noqa: S311 - chooses faults, hides nothing
        self._log = environment.get("FAILPOINT_LOG", "")
        self._hang_seconds = float(environment.get("FAILPOINT_HANG_SECONDS", HANG_SECONDS))
        self._quiet_until = time.monotonic() + float(environment.get("FAILPOINT_AFTER_SECONDS", "0"))
        # The harness's own clock: that of this process may be wrong on purpose, its monotonic one is the machine's.
        self._epoch = float(environment.get("FAILPOINT_EPOCH", "") or time.time() - time.monotonic())
        self._reached: Counter[str] = Counter()

    @property
    def armed(self) -> bool:
        """Whether there is any fault at all."""
        return bool(self._faults)

    def strike(self, name: str) -> str:
        """Carry out the fault of a failpoint, unless it is a sleep; returns the action, or an empty string.

        Raises:
            Unavailable: the action is error.
        """
        if time.monotonic() < self._quiet_until:
            return ""
        self._reached[name] += 1
        action = next((fault.action for fault in self._faults if self._applies(fault, name)), "")
        if action:
            self.note(name, action, _in_hand.get())
        match action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "error":
                raise Unavailable("A test's failpoint raised this error. Try again.", retry_after=1)
            case "note":  # it is in the log, and nothing else happens
                return ""
            case "hang":  # the whole process halts, as when it is stopped or its machine swaps
                _halt(self._hang_seconds)
        return action

    def _applies(self, fault: Fault, name: str) -> bool:
        if fault.name not in ("*", name):
            return False
        return self._reached[name] == fault.nth if fault.nth else self._dice.random() < fault.chance

    def note(self, name: str, action: str, subject: str) -> None:
        """Append a line to FAILPOINT_LOG for the test harness; O_APPEND keeps the lines of several processes whole."""
        if self._log:
            descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            now = self._epoch + time.monotonic()
            os.write(descriptor, f"{now:.6f} {name} {action} {os.getpid()} {subject}\n".encode())
            os.close(descriptor)


def _halt(seconds: float) -> None:
    """Stop this process, all its threads, for some seconds; a process of its own wakes it."""
    pid = os.getpid()
    stopped = f"grep -q '^State:.T' /proc/{pid}/status"  # a signal to go on that came too early would be lost
    waking = f"until {stopped}; do sleep 0.001; done; sleep {seconds}; kill -CONT {pid}"
    subprocess.Popen(["/bin/sh", "-c", waking], stdin=subprocess.DEVNULL)  # noqa: S603 - numbers of ours
    os.kill(pid, signal.SIGSTOP)


# Read here and not in the settings: it is no knob for operators, and must hold before the settings are read.
FAILPOINTS = Failpoints(os.environ)


async def reach(name: str) -> None:
    """Pass a failpoint. Raises Unavailable when a test asks for an error."""
    if FAILPOINTS.armed and FAILPOINTS.strike(name) == "sleep":
        await asyncio.sleep(SLEEP_SECONDS)


def reach_in_thread(name: str) -> None:
    """Pass a failpoint outside the event loop. Raises Unavailable when a test asks for an error."""
    if FAILPOINTS.armed and FAILPOINTS.strike(name) == "sleep":
        time.sleep(SLEEP_SECONDS)


@contextmanager
def work_on(subject: str) -> Iterator[None]:
    """Note when this process begins a piece of work, and how that work ended: `done` or an exception's name.

    Only a process that dies leaves a beginning without an end. A harness can therefore tell an answer that died with
    its process from one that was dropped. A number tells pieces on one subject apart: a lease may run out, and its work
    be taken again by the same process. Nothing is noted unless FAILPOINT_LOG is set.
    """
    token, piece = _in_hand.set(subject), f"{subject}#{next(_pieces)}"
    FAILPOINTS.note(WORK, BEGUN, piece)
    ended = DONE
    try:
        yield
    except BaseException as error:
        ended = type(error).__name__
        raise
    finally:
        FAILPOINTS.note(WORK, ended, piece)
        _in_hand.reset(token)
