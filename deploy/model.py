"""What the launcher is told to run: plain data, so that the process which stays resident needs no settings library."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

STOP_SECONDS = 10.0  # the chassis lets running calls finish for eight; the rest is leeway


@dataclass(frozen=True)
class Process:
    """One program that is kept alive.

    `stop_seconds` is how long it may take after SIGTERM; `migrated` means that its database comes first. `folder` is
    where it runs; where the launcher runs when empty. At `live_port` it answers GET /livez while its event loop turns;
    0 where nobody asks.
    """

    name: str
    command: tuple[str, ...]
    stop_seconds: float = STOP_SECONDS
    migrated: bool = False
    secrets: dict[str, str] = field(default_factory=dict)
    """What its environment holds beyond the plan's: the secrets that it alone, or with few others, has to know."""
    folder: str = ""
    live_port: int = 0


@dataclass(frozen=True)
class Port:
    """A port that a process will listen on, and the variable that moves it."""

    host: str
    port: int
    owner: str
    variable: str


@dataclass(frozen=True)
class Plan:
    """One run of the town: what to write, what to start (in this order; stopping is the reverse) and what to tell."""

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
    data["processes"] = tuple(Process(**{**row, "command": tuple(row["command"])}) for row in data["processes"])
    return Plan(**data)
