"""Prepares the environment that every process of the town inherits."""

import os
import sys

from deploy.settings import LauncherSettings

INHERITED = {
    # glibc gives every thread its own heap otherwise, which costs each process some ten resident megabytes.
    "MALLOC_ARENA_MAX": "2",
    # Docstrings are for readers: left out, each process keeps some five resident megabytes less.
    "PYTHONOPTIMIZE": "2",
    # Columns of each instruction: traces do without, and three megabytes of the town. The Makefile compiles so, too.
    "PYTHONNODEBUGRANGES": "1",
    # We have none; looking for them loads the metadata of every installed package.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}
UNWANTED = ("PYTHONDONTWRITEBYTECODE",)  # without byte code every restart compiles every library again


def adopt(settings: LauncherSettings) -> None:
    """Put the town's additions in force in this process, for itself and for its children."""
    overrides = settings.overrides()
    for name in (*UNWANTED, *(f"{name}_FILE" for name in overrides)):
        os.environ.pop(name, None)
    os.environ.update(INHERITED | overrides | ({"LOG_FORMAT": "text"} if speaks_text(settings) else {}))


def speaks_text(settings: LauncherSettings) -> bool:
    """Whether people read our log: text on a terminal, else JSON, unless LOG_FORMAT says otherwise."""
    return (settings.log_format or ("text" if sys.stderr.isatty() else "json")) == "text"


def inherited() -> dict[str, str]:
    """The whole environment of a process of the town, once adopted."""
    return dict(os.environ)
