"""Speaks for the launcher: sentences for the person on standard output, log lines for the record on standard error."""

import asyncio
import json
import sys
from datetime import UTC, datetime

CHUNK_BYTES = 65_536
MAX_LINE_BYTES = 1_048_576  # a child that writes no line end must not fill our memory


def say(text: str) -> None:
    """Tell the person something, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Log:
    """One line an event, in the format of the stack's other processes."""

    def __init__(self, *, text: bool) -> None:
        self._render = as_text if text else as_json

    def warning(self, event: str, **fields: object) -> None:
        """Record something an operator should look at."""
        sys.stderr.write(f"{self._render(event, fields)}\n")
        sys.stderr.flush()


def as_text(event: str, fields: dict[str, object]) -> str:
    """An event for people."""
    return " ".join([prefix("launcher").decode() + event, *(f"{name}={value}" for name, value in fields.items())])


def as_json(event: str, fields: dict[str, object]) -> str:
    """An event for machines."""
    now = datetime.now(UTC).isoformat()
    return json.dumps({"service": "launcher", "event": event, "level": "warning", "timestamp": now, **fields})


def prefix(name: str) -> bytes:
    """What stands before each line of a process on a terminal."""
    return f"{name:<10} │ ".encode()


async def relay(name: str, stream: asyncio.StreamReader) -> None:
    """Pass a process's output on until it ends, each line under its name."""
    rest = b""
    while data := await stream.read(CHUNK_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        _write(name, lines)
    _write(name, [rest] if rest else [])


def _write(name: str, lines: list[bytes]) -> None:
    sys.stderr.buffer.write(b"".join(prefix(name) + line + b"\n" for line in lines))
    sys.stderr.buffer.flush()
