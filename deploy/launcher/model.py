"""What the launcher is told to run: plain data, so that the process which stays resident needs no settings library."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

STOP_SECONDS = 10.0  # the chassis lets running calls finish for eight; the rest is leeway


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
    secrets: dict[str, str] = field(default_factory=dict)
    """What its environment holds beyond the plan's: the secrets that it alone, or with few others, has to know."""
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
    migration: tuple[str, ...] = ()
    """The command that brings the databases up to date; empty when they are."""


def to_json(plan: Plan) -> str:
    """Render a plan for `from_json`."""
    return json.dumps(asdict(plan))


def from_json(text: str | bytes) -> Plan:
    """Read what `to_json` wrote."""
    data: dict[str, Any] = json.loads(text)
    data["folders"], data["migration"] = tuple(data["folders"]), tuple(data["migration"])
    data["ports"] = tuple(Port(**port) for port in data["ports"])
    data["processes"] = tuple(_process(row) for row in data["processes"])
    return Plan(**data)


def _process(row: dict[str, Any]) -> Process:
    probe = row["probe"] and Probe(**{**row["probe"], "answers": tuple(row["probe"]["answers"])})
    return Process(**{**row, "command": tuple(row["command"]), "probe": probe})
