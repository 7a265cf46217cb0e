"""Makes result paths in the shapes seen on KIE's hosts (kie.md 5.6), always the same for the same task."""

import hashlib
from collections.abc import Callable

from services.sandbox.model import Result, Task

ORIGIN_TTL_MS = 600_000  # Flux shows its upstream's own URL for ten minutes (kie.md 3.2)
PREFIXES = ("s/", "workers/", "r/")


def _hash(task: Task, position: int) -> str:
    return hashlib.sha256(f"{task.id}/{position}".encode()).hexdigest()


def _gpt4o(task: Task, position: int, end_ms: int) -> str:
    four = int(_hash(task, position), 16) % 10_000
    return f"s/{task.id}_{position}_{end_ms // 1000}_{four:04}.{task.draft.extension}"


def _nano(task: Task, position: int, end_ms: int) -> str:
    return f"workers/nano/image_{end_ms}_{_hash(task, position)[:6]}.{task.draft.extension}"


def _other(task: Task, position: int, end_ms: int) -> str:
    digest = _hash(task, position)
    return f"r/{digest[:32]}_{end_ms // 1000}_{digest[-8:]}.{task.draft.extension}"


SHAPES: dict[str, Callable[[Task, int, int], str]] = {"4o": _gpt4o, "nano": _nano, "other": _other}


def results_of(task: Task, ttl_ms: int) -> list[Result]:
    """The files a task will have when it ends; none when it fails or never ends."""
    if task.complete_ms is None or task.life.failure:
        return []
    end_ms, shape = task.complete_ms, SHAPES[task.draft.path_shape]
    results = [
        Result(shape(task, place, end_ms), task.id, place, "result", end_ms + ttl_ms)
        for place in range(task.life.variants)
    ]
    return [*results, *_origin(task, end_ms)]


def _origin(task: Task, end_ms: int) -> list[Result]:
    if task.draft.family != "flux_kontext":
        return []
    position = task.life.variants
    return [Result(_other(task, position, end_ms), task.id, position, "origin", end_ms + ORIGIN_TTL_MS)]
