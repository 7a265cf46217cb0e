"""Has old generations copied whose pictures never were (S4): newest first, at a rate that hurts nobody."""

import sys
import time
from typing import Any

import click

from deploy.cli import rpc
from deploy.cli.tables import clean, show_line

STATES = ("STATE_SUCCEEDED", "STATE_RESULT_LOST")  # STORING is at it already
PAGE = 200
MINUTE = 60.0


def lacking() -> list[str]:
    """Names of the generations that lack a copy of a picture, newest first."""
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        page = rpc.ask("ListGenerations", states=STATES, page_size=PAGE, page_token=token)
        found += [each["name"] for each in page["generations"] if lacks(each)]
        token = page["nextPageToken"] or None
    return found


def lacks(generation: dict[str, Any]) -> bool:
    """Whether some picture of it has no copy."""
    return any(not picture["object"] for picture in generation["outputs"])


def copied(names: list[str], per_minute: int, output: str) -> tuple[int, int]:
    """Try each once, at most so many a minute; how many have all their copies now, and how many do not."""
    done = 0
    with click.progressbar(names, label="Copying", file=sys.stderr) as bar:
        for name in bar:
            began = time.monotonic()
            done += tried(name, output)
            if name != names[-1]:
                time.sleep(max(0.0, MINUTE / per_minute - (time.monotonic() - began)))
    return done, len(names) - done


def tried(name: str, output: str) -> bool:
    """Whether one has all its copies now; if not, say why."""
    generation = rpc.ask("RecopyGeneration", name=name)
    why = [picture["errorMessage"] for picture in generation["outputs"] if not picture["object"]]
    if why:
        show_line({"name": name, "reasons": why}, output, lambda _: f"{name}: {clean(', '.join(why))}")
    return not why
