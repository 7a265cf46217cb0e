"""What the launcher runs, as plain data, and how it fails.

The planner (plan.py) makes a plan and the launcher (run.py) keeps it, so nothing here loads a settings library.
"""

from dataclasses import dataclass, field

STOP_SECONDS = 10.0  # the chassis lets running calls finish for eight; the rest is leeway


class LaunchError(Exception):
    """The stack cannot start or go on; the text says why and what helps."""


class ConfigurationError(LaunchError):
    """Settings are missing or wrong; the text names each."""


@dataclass(frozen=True)
class Probe:
    """What a process is asked, and how its answer begins while its event loop turns.

    It is asked at a port of loopback or, without one, at a socket in the process's folder.
    """

    request: str
    answers: tuple[str, ...]
    port: int = 0
    socket: str = ""


def get(path: str, port: int = 0, socket: str = "") -> Probe:
    """A probe by HTTP; whoever answers it with 200 lives."""
    return Probe(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n", ("HTTP/1.1 200",), port, socket)


@dataclass(frozen=True)
class Process:
    """One program that is kept alive.

    `stop_seconds` is how long it may take after SIGTERM; `migrated` means that its database comes first. `folder` is
    where it runs; where the launcher runs when empty. `probe` is how it is watched; None where nobody watches.
    """

    name: str
    command: tuple[str, ...]
    stop_seconds: float = STOP_SECONDS
    migrated: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    """What its environment holds beyond the plan's: its ports, and the secrets that it alone, or with few others, has
    to know."""
    folder: str = ""
    probe: Probe | None = None


@dataclass(frozen=True)
class Port:
    """A port that a process will listen on, and the variable that moves it."""

    host: str
    port: int
    owner: str
    variable: str


@dataclass(frozen=True)
class Plan:
    """One run of the stack: what to write, what to start (in this order; stopping is the reverse) and what to tell."""

    origin: str
    probe_host: str
    probe_port: int
    data_dir: str
    upstream: str
    text: bool
    environment: dict[str, str]
    folders: tuple[str, ...]
    files: dict[str, str]
    ports: tuple[Port, ...]
    processes: tuple[Process, ...]
    facts: dict[str, str] = field(default_factory=dict)
    """What else the start says, by a word for each: the address, the identity."""
    probe_tls: bool = False
    """Whether the public port speaks HTTPS."""
    migration: tuple[str, ...] = ()
    """The command that brings the databases up to date; empty when they are."""
