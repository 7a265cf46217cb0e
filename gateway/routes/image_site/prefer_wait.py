"""Reads `Prefer: wait=N` (RFC 7240), and waits at most N seconds for the picture of an order."""

import asyncio
import re
from typing import Any, NamedTuple

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request

from gateway.clients import stubs, watches
from gateway.routes.image_site import task_records
from services.chassis.client_address import client_of_scope

MAX_WAIT_SECONDS = 55  # below the 60 s after which common middle boxes give up, and the 70 s of our own edge
WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


class Patience(NamedTuple):
    """The seconds that a client wants to wait, 0 when it does not, and their end by the loop's clock."""

    seconds: int
    end: float

    @classmethod
    def of(cls, request: Request) -> "Patience":
        """Read it from the request, as of now."""
        seconds = _preferred(request)
        return cls(seconds, asyncio.get_running_loop().time() + seconds)


def _preferred(request: Request) -> int:
    """Seconds of the first `wait` preference, capped; other preferences, respond-async among them, are ignored."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    asked = next((found for text in preferences if (found := WAIT.fullmatch(text))), None)
    return min(int(asked[1]), MAX_WAIT_SECONDS) if asked else 0


async def waited(
    request: Request, generation: generationpb.Generation, patience: Patience
) -> tuple[dict[str, str], dict[str, Any]]:
    """Wait as the client prefers; returns the header that says so, and the fields that the answer gains.

    While too many clients wait the preference is not applied; the order is placed all the same.
    """
    if not patience.seconds:
        return {}, {}
    watching, client = watches.of(request), client_of_scope(request.scope)
    if watching.full(client):
        return {}, {}
    async with watching.open(stubs.of(request).generation, task_records.task_id_of(generation), client) as watch:
        generation = await _decided(watch, generation, patience.end)
    return {"Preference-Applied": f"wait={patience.seconds}"}, task_records.waited_for(generation)


async def _decided(watch: watches.Watch, generation: generationpb.Generation, end: float) -> generationpb.Generation:
    """The generation once it has ended or has its picture, or as it is when the time is over."""
    now = asyncio.get_running_loop().time
    while task_records.outcome(generation) == task_records.PENDING and not watch.over and (left := end - now()) > 0:
        generation = await watch.next(left) or generation
    return generation
