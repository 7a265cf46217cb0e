"""How fast shares are read through Envoy, kept and not kept, against three rivals behind the same Envoy, in one run.

(a) a bare ASGI app that sends the same bytes: the most that Python behind Envoy can do; (b) Envoy's gRPC-JSON
transcoder before the same share service; (c) Fastify that reads the same answers from the same Redis. What is kept is
what is hot, so ten shares are read there, and a hundred in turn wherever nothing is kept.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench._load import WARM_UP_SECONDS, Result, Target, load
from bench._rivals import Rival, bare, fastify, transcoder
from tests.e2e.stack import Stack, running

ROUNDS = 4
SHARES, HOT = 100, 10
PER_REQUEST = ("date", "server", "x-request-id", "content-length", "x-envoy-upstream-service-time", "connection")
LATEST, LIST = "/api/share/latest", "/api/share/list?limit=20"
OURS, UNKEPT = "kawaii", "kawaii, nothing kept"
COLUMNS = ("rate", "p50", "p99")
OTHERS = (UNKEPT, "(a) bare ASGI", "(c) Fastify")
Wanted = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Measure:
    """A load and what it cost, in microseconds of CPU per request, all processes together."""

    result: Result
    cpu: float


@dataclass(frozen=True)
class Field:
    """The participants and, for each kind of read, what each is asked."""

    rivals: dict[str, Rival]
    reads: dict[str, dict[str, Wanted]]


def main() -> None:
    """Measure A B C … A B C … for each kind of read and print a table each."""
    with tempfile.TemporaryDirectory() as folder, field(Path(folder)) as participants:
        for read, wanted in participants.reads.items():
            loads = {name: Target(participants.rivals[name].base, paths) for name, paths in wanted.items()}
            for target in loads.values():
                load(target, WARM_UP_SECONDS)
            rows = [
                {name: measured(participants.rivals[name], target) for name, target in loads.items()}
                for _ in range(ROUNDS)
            ]
            print_table(read, rows)


@contextmanager
def field(folder: Path) -> Iterator[Field]:
    """Start everybody: one stack keeps answers, the other does not, and lends its share service and Redis."""
    with ExitStack() as exits:
        kept = exits.enter_context(running(folder / "kept", LOG_LEVEL="warning"))
        stack = exits.enter_context(running(folder / "unkept", LOG_LEVEL="warning", READ_CACHE_SECONDS="0"))
        ids, kept_ids = fill(stack), fill(kept)
        answers = {path: stack.http.get(path).content for path in (*map(path_of, ids), LATEST, LIST)}
        redis_url = stack.redis_url
        with Redis.from_url(redis_url) as redis:
            redis.mset({f"bench:{path}": body for path, body in answers.items()})
        headers = own_headers(stack, path_of(ids[0]))
        behind = [stack.process("services.share"), stack.process("valkey-server")]
        rivals = {
            OURS: Rival(kept.url, workers(kept)),
            UNKEPT: Rival(stack.url, workers(stack)),
            "(a) bare ASGI": exits.enter_context(bare(answers, headers)),
            "(b) transcoder": exits.enter_context(transcoder(stack.base + 3, f"/v1/shares/{ids[0]}", behind)),
        }
        if rival := exits.enter_context(fastify(redis_url, path_of(ids[0]), headers, behind[1:])):
            rivals["(c) Fastify"] = rival
        yield Field(rivals, {read: {name: by[name] for name in rivals} for read, by in reads(ids, kept_ids).items()})


def reads(ids: list[str], kept_ids: list[str]) -> dict[str, dict[str, Wanted]]:
    """What each participant is asked for each kind of read."""
    kinds = {
        "GET /api/share/{id}": (path_of, "/v1/shares/{}", ids, kept_ids[:HOT]),
        "GET /api/share/latest": (lambda _: LATEST, "/v1/shares:latest", ids[-1:], kept_ids[-1:]),
        "GET /api/share/list": (lambda _: LIST, "/v1/shares?page_size=20", ids[-1:], kept_ids[-1:]),
    }
    return {
        kind: {
            OURS: [(path(each), each.encode()) for each in kept],
            "(b) transcoder": [(transcoded.format(each), each.encode()) for each in asked],
        }
        | {name: [(path(each), each.encode()) for each in asked] for name in OTHERS}
        for kind, (path, transcoded, asked, kept) in kinds.items()
    }


def fill(stack: Stack) -> list[str]:
    """Make shares; their ids, oldest first."""
    bodies = (
        {"generatedUrl": f"https://example.com/{number}.png", "prompt": "a cat " * 20, "style": "watercolor"}
        for number in range(SHARES)
    )
    return [str(stack.post("/api/share", body).raise_for_status().json()["shareId"]) for body in bodies]


def path_of(share_id: str) -> str:
    """Where a share is read."""
    return f"/api/share/{share_id}"


def own_headers(stack: Stack, path: str) -> dict[str, str]:
    """What our answers carry, so that every rival sends as much."""
    return {name: value for name, value in stack.http.get(path).headers.items() if name not in PER_REQUEST}


def workers(stack: Stack) -> list[psutil.Process]:
    """The processes of a stack that work for a read."""
    return [stack.process(name) for name in ("envoy", "-m gateway", "services.share", "valkey-server")]


def measured(rival: Rival, target: Target) -> Measure:
    """One load."""
    before = spent(rival)
    result = load(target)
    return Measure(result, (spent(rival) - before) / result.count * 1_000_000)


def spent(rival: Rival) -> float:
    """Seconds of CPU that a rival's processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in rival.processes)


def print_table(read: str, rows: list[dict[str, Measure]]) -> None:
    """Medians over the rounds; the last columns say how many times as fast we were, round by round."""
    print(f"\n{read:24}{'requests/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'CPU us':>8}{'bad':>5}{'kept':>8}{'unkept':>8}")
    for name in rows[0]:
        each = [row[name] for row in rows]
        rate, p50, p99 = (statistics.median(getattr(one.result, field) for one in each) for field in COLUMNS)
        cpu, bad = statistics.median(one.cpu for one in each), sum(one.result.bad for one in each)
        ours = "".join(f"{against(rows, mine, name):7.2f}x" for mine in (OURS, UNKEPT))
        print(f"{name:24}{rate:11.0f}{p50:8.2f}{p99:8.2f}{cpu:8.0f}{bad:5}{ours}")


def against(rows: list[dict[str, Measure]], ours: str, theirs: str) -> float:
    """The ratio of rates, round by round."""
    return statistics.median(row[ours].result.rate / row[theirs].result.rate for row in rows)


if __name__ == "__main__":
    main()
