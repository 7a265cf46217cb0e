"""Sets up structured logs: JSON lines or text, with the request's id on every line and no secret on any."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_WORDS = ("key", "token", "secret", "authorization", "cookie", "password", "prompt", "signature")
MAX_VALUE_LENGTH = 512  # a log line is read by people; an upstream page is not quoted whole
Event = MutableMapping[str, Any]

logger = structlog.get_logger()


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Blank values whose name sounds secret, and cut long ones."""
    for name, value in event.items():
        if name != "event" and any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
        elif isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            event[name] = f"{value[:MAX_VALUE_LENGTH]}…"
    return event


def configure(level: str, format_: str, service: str) -> None:
    """Send structlog and the standard library's warnings to standard error in one format."""
    text = format_ == "text" or (not format_ and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer(colors=text and sys.stderr.isatty()) if text else _json()
    severity = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=max(severity, logging.WARNING), format="%(levelname)s %(name)s %(message)s")


def _json() -> structlog.processors.JSONRenderer:
    return structlog.processors.JSONRenderer(ensure_ascii=False)
