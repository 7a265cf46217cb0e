"""This checkout against an older commit, through Envoy and turn by turn: paths to the database, and reads of shares.

Both stacks run under this Python, on SQLite. No cache of the gateway keeps the paths of the first table: a task's
record is polled, shares are made, fifty people like and take back, and a stranger reads the feed and artworks. Reads of
shares are measured as in reads.py, once kept and once with READ_CACHE_SECONDS=0.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench._load import WARM_UP_SECONDS, Asked, Result, Sequel, Target, load
from bench.reads import HOT, LATEST, LIST, fill, path_of
from tests.chaos.likes import published
from tests.e2e.community.callers import SECRET, caller, token
from tests.e2e.stack import Stack, running
from tests.support import first_version

ROUNDS = 6
TASKS, ARTWORKS, PEOPLE = 20, 50, 50
TOKEN_SECONDS = 7200  # above the longest run
BEFORE, NOW = "before", "now"
SETTINGS = {
    "AUTH_HS256_SECRET": SECRET,
    "COMMUNITY_REACTIONS_PER_HOUR": "0",
    "LOG_LEVEL": "warning",
    "SANDBOX_GENERATION_SECONDS": "0.1",
    "SANDBOX_IMAGE_SIDE": "64",
}
Paths = Mapping[str, Asked]


@dataclass(frozen=True)
class Measure:
    """A load and what it cost, in microseconds of CPU per request, all processes of the stack together."""

    result: Result
    cpu: float


def main() -> None:
    """Measure before, now, now, before … for each path and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default=first_version.COMMIT, metavar="COMMIT")
    parser.add_argument("--cli", default=first_version.CLI, help="the module of that commit's kawaii")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="paths that hold this word")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        try:
            first_version.unpack(code, arguments.against)
        except first_version.NoHistoryError as missing:
            print(f"Nothing is measured: {missing}")
            return
        kinds: dict[str, tuple[Callable[[Stack], Paths], dict[str, str]]] = {
            "to the database": (database_paths, {}),
            "kept": (share_reads, {}),
            "nothing kept": (share_reads, {"READ_CACHE_SECONDS": "0"}),
        }
        for title, (paths, settings) in kinds.items():
            with ExitStack() as exits:
                data = Path(folder) / title.replace(" ", "-")
                data.mkdir()
                old = first_version.environment(code) | settings
                stacks = {
                    BEFORE: exits.enter_context(
                        running(data / BEFORE, code=code, cli=arguments.cli, **SETTINGS, **old)
                    ),
                    NOW: exits.enter_context(running(data / NOW, **SETTINGS, **settings)),
                }
                compare(title, stacks, {name: paths(stack) for name, stack in stacks.items()}, arguments)


def database_paths(stack: Stack) -> Paths:
    """What is asked of a stack; the first four of them were slow when every statement was awaited."""
    tasks = [stack.order(f"a heron, No. {number}") for number in range(TASKS)]
    for task in tasks:
        stack.picture(task)
    with caller(stack, "user_painter") as artist:
        artworks = list(published(artist, ARTWORKS))
    polls = [(f"/api/image-details?taskId={task}", b'"SUCCESS"') for task in tasks]
    shown = [(f"/api/artworks/{artwork}", artwork.encode()) for artwork in artworks]
    return {
        "GET /api/image-details": Target(stack.url, polls),
        "POST /api/share": Sequel(stack.url, new_shares(stack)),
        "POST, DELETE /api/artworks/{id}/like": Sequel(stack.url, likes(stack, artworks)),
        "GET /api/feed": Target(stack.url, [("/api/feed?limit=20", artworks[-1].encode())]),
        "GET /api/artworks/{id}": Target(stack.url, shown),
    }


def share_reads(stack: Stack) -> Paths:
    """Reads of shares: ten in turn where they are kept, a hundred where not."""
    ids = fill(stack)
    shares = [(path_of(each), each.encode()) for each in ids]
    return {
        "GET /api/share/{id}, ten": Target(stack.url, shares[:HOT]),
        "GET /api/share/{id}, a hundred": Target(stack.url, shares),
        "GET /api/share/latest": Target(stack.url, [(LATEST, ids[-1].encode())]),
        "GET /api/share/list": Target(stack.url, [(LIST, ids[-1].encode())]),
    }


def new_shares(stack: Stack) -> Iterator[tuple[bytes, bytes]]:
    """Shares, each of another picture."""
    for number in itertools.count():
        body = {"generatedUrl": f"https://example.com/new/{number}.png", "prompt": "a cat " * 20, "style": "ink"}
        yield request(stack, "POST", "/api/share", body), b'"shareId"'


def likes(stack: Stack, artworks: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Everybody likes every artwork, then takes it back, and so on: each request changes a row."""
    people = [token(f"user_fan{number}", exp=token_end()) for number in range(PEOPLE)]
    for method, expected in itertools.cycle((("POST", b'"liked":true'), ("DELETE", b'"liked":false'))):
        for artwork, bearer in itertools.product(artworks, people):
            yield request(stack, method, f"/api/artworks/{artwork}/like", {}, bearer), expected


def token_end() -> int:
    """When the tokens of people end."""
    return int(time.time()) + TOKEN_SECONDS


def request(stack: Stack, method: str, path: str, body: dict[str, str], bearer: str = "") -> bytes:
    """A whole request with a JSON body."""
    data = orjson.dumps(body)
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(stack.url).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *([f"Authorization: Bearer {bearer}"] if bearer else []),
    ]
    return "\r\n".join([*head, "", ""]).encode() + data


def compare(title: str, stacks: dict[str, Stack], paths: dict[str, Paths], arguments: argparse.Namespace) -> None:
    """Print a table: medians over the rounds, and how many times as fast this checkout was, round by round."""
    print(f"\n| {title} | requests/s | before | ratio | p50 ms | before | p99 ms | before | CPU us | before | bad |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for path in paths[NOW]:
        if arguments.only not in path:
            continue
        for name in stacks:
            load(paths[name][path], WARM_UP_SECONDS)
        rounds = [
            turn(number, stacks, {name: paths[name][path] for name in stacks}) for number in range(arguments.rounds)
        ]
        print_row(path, rounds)


def turn(number: int, stacks: dict[str, Stack], asked: dict[str, Asked]) -> dict[str, Measure]:
    """Load both stacks once; who is first alternates."""
    return {name: measured(stacks[name], asked[name]) for name in sorted(stacks, reverse=bool(number % 2))}


def measured(stack: Stack, asked: Asked) -> Measure:
    """One load."""
    before = spent(stack)
    result = load(asked)
    after = spent(stack)
    cpu = sum(seconds - before.get(pid, 0) for pid, seconds in after.items())
    return Measure(result, cpu / result.count * 1_000_000)


def spent(stack: Stack) -> dict[int, float]:
    """Seconds of CPU that each process of a stack has used; workers come and go."""
    found = {}
    for process in [stack.launcher, *stack.launcher.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found[process.pid] = sum(process.cpu_times()[:2])
    return found


def print_row(path: str, rounds: list[dict[str, Measure]]) -> None:
    """One path."""

    def medians(of: Callable[[Measure], float]) -> list[float]:
        return [statistics.median(of(each[name]) for each in rounds) for name in (NOW, BEFORE)]

    rates = medians(lambda each: each.result.rate)
    ratio = statistics.median(each[NOW].result.rate / each[BEFORE].result.rate for each in rounds)
    bad = sum(each.result.bad for row in rounds for each in row.values())
    latencies = [*medians(lambda each: each.result.p50), *medians(lambda each: each.result.p99)]
    cells = [
        *(f"{rate:,.0f}" for rate in rates),
        f"{ratio:.2f}",
        *(f"{latency:.2f}" for latency in latencies),
        *(f"{cpu:,.0f}" for cpu in medians(lambda each: each.cpu)),
        f"{bad}",
    ]
    print(f"| {path} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
