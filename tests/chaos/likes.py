"""Likes under kills: clients react through Envoy while Valkey and the gateway are killed; then all counts are compared.

Columns, rows, answers and the clients' log have to agree, and `kawaii counters reconcile` has to find no drift.
"""

import argparse
import asyncio
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import orjson
from PIL import Image
from sqlalchemy import func, select

from services.chassis.database import Transaction, open_database
from services.chassis.settings import CommonSettings
from services.community.stores.tables import artwork, artwork_favorite, artwork_like
from tests.chaos.reaction_clients import REQUEST_SECONDS, Outcome, ReactionClient, ReactionLog, reactions
from tests.chaos.report import Report
from tests.e2e.community.callers import SECRET, Caller, caller
from tests.e2e.stack import ROOT, Stack, running

COUNTS = {"like": ("like_count", artwork_like), "favorite": ("favorite_count", artwork_favorite)}
SHOWN = {"like": "like_count", "favorite": "fav_count"}  # in an answer
PAGE = 100
Counts = Mapping[str, Mapping[str, int]]
KILLED = {"valkey": "valkey-server", "gateway": "gateway"}  # and a word of their command lines
SETTINGS = {"AUTH_HS256_SECRET": SECRET, "COMMUNITY_REACTIONS_PER_HOUR": "0"}  # nobody reacts so often in an hour


@dataclass(frozen=True)
class Plan:
    """The size of a run; `kills` by process."""

    seed: str
    clients: int
    operations: int
    artworks: int
    kills: Mapping[str, int]


@dataclass
class LikesRun:
    """One run on one stack."""

    stack: Stack
    plan: Plan
    log: ReactionLog = field(default_factory=ReactionLog)
    killed: Counter[str] = field(default_factory=Counter)
    started: int = 0

    async def apply_load(self, artworks: list[str]) -> None:
        """Let all clients react, and kill processes as planned."""
        limits = httpx.Limits(max_connections=self.plan.clients, max_keepalive_connections=self.plan.clients)
        async with httpx.AsyncClient(base_url=self.stack.url, timeout=REQUEST_SECONDS, limits=limits) as http:
            people = [f"user_fan{number}" for number in range(self.plan.clients)]
            kills = asyncio.create_task(self.kill_on_schedule())
            await asyncio.gather(*(self.run_client(http, person, artworks) for person in people))
            await kills

    async def run_client(self, http: httpx.AsyncClient, person: str, artworks: list[str]) -> None:
        """React until all planned operations have been started."""
        client = ReactionClient(http, person, self.log)
        for reaction in reactions(self.plan.seed, person, artworks):
            if self.started == self.plan.operations:
                return
            self.started += 1
            await client.send(reaction)

    async def kill_on_schedule(self) -> None:
        """SIGKILL each process after its number of reactions."""
        for moment, name in schedule(self.plan):
            while len(self.log.entries) < moment:  # noqa: ASYNC110 - a count that another task keeps
                await asyncio.sleep(0.01)
            await asyncio.to_thread(self.kill, name)

    def kill(self, name: str) -> None:
        """Kill a process as soon as it runs, and wait for its end."""
        process = self.stack.process(KILLED[name])
        process.kill()
        process.wait(REQUEST_SECONDS)
        self.killed[name] += 1


def schedule(plan: Plan) -> list[tuple[int, str]]:
    """After how many reactions which process is killed, spread over the run; the same for a seed."""
    rng = random.Random(f"{plan.seed}/kills")
    names = [name for name, count in plan.kills.items() for _ in range(count)]
    rng.shuffle(names)
    part = plan.operations // (len(names) + 1)
    return [(round(part * (number + rng.uniform(-0.3, 0.3))), name) for number, name in enumerate(names, 1)]


async def run_likes(data: Path, plan: Plan) -> Report:
    """One run from the start of the stack to the report."""
    with running(data, **SETTINGS) as stack, caller(stack, "user_painter") as artist:
        artworks = list(published(artist, plan.artworks))
        run, began = LikesRun(stack, plan), time.monotonic()
        await run.apply_load(artworks)
        loaded = time.monotonic() - began
        found = {
            "counts unlike the clients' log": await wrong_counts(stack, artworks, run.log),
            "drift that reconcile finds": drift(stack),
            "unexpected answers": run.log.unexpected,
        }
        return Report(table(run, loaded), found)


def published(artist: Caller, count: int) -> Iterator[str]:
    """Publish artworks, each with a small picture of its own; their ids."""
    for number in range(count):
        picture = BytesIO()
        Image.new("RGB", (8, 8), (number % 256, 90, 160)).save(picture, "PNG")
        files, fields = (
            {"file": ("a.png", picture.getvalue(), "image/png")},
            {"title": f"No. {number}", "as_artwork": "1"},
        )
        identifier = artist.ok("POST", "/api/artworks/upload", files=files, data=fields)["id"]
        artist.ok("POST", f"/api/artworks/{identifier}/publish")
        yield identifier


def table(run: LikesRun, seconds: float) -> list[tuple[str, object]]:
    """What the clients did, and what was killed."""
    plan, entries, outcomes = run.plan, run.log.entries, run.log.outcomes()
    slowest = max(entry.seconds for entry in entries)
    median = statistics.median(entry.seconds for entry in entries)
    return [
        ("seed", plan.seed),
        ("clients, artworks", f"{plan.clients}, {plan.artworks}"),
        ("operations", len(entries)),
        *((f"  {outcome}", outcomes[outcome]) for outcome in Outcome),
        ("  a second", round(len(entries) / seconds)),
        ("  median, slowest ms", f"{median * 1000:.0f}, {slowest * 1000:.0f}"),
        ("SIGKILLs", ", ".join(f"{name} {count}" for name, count in sorted(run.killed.items()))),
        ("likes, favourites at the end", tuple(run.log.counted(kind).total() for kind in COUNTS)),
    ]


async def wrong_counts(stack: Stack, artworks: list[str], log: ReactionLog) -> list[str]:
    """Every count, in columns, of rows and in answers, that is another than by the clients' log."""
    kept, answered = await stored_counts(stack), shown_counts(stack, artworks)
    wrong = []
    for kind in COUNTS:
        expected = log.counted(kind)
        for source, counts in {**kept, **answered}.items():
            wrong += [
                f"{identifier}: {source} say {counts[kind].get(identifier, 0)} {kind}, clients {expected[identifier]}"
                for identifier in artworks
                if counts[kind].get(identifier, 0) != expected[identifier]
            ]
    return wrong


async def stored_counts(stack: Stack) -> dict[str, Counts]:
    """The counts in the columns of artworks, and of the rows of reactions."""
    settings = CommonSettings(data_dir=stack.data, database_url="", _env_file=None)
    columns: dict[str, dict[str, int]] = {}
    rows: dict[str, dict[str, int]] = {}

    def read(transaction: Transaction) -> None:
        for kind, (column, relation) in COUNTS.items():
            columns[kind] = dict(iter(transaction.execute(select(artwork.c.id, artwork.c[column]))))
            counted = select(relation.c.artwork_id, func.count()).group_by(relation.c.artwork_id)
            rows[kind] = dict(iter(transaction.execute(counted)))

    async with open_database(settings, "community") as database:
        await database.read(read)
    return {"the columns": columns, "the rows": rows}


def shown_counts(stack: Stack, artworks: list[str]) -> dict[str, Counts]:
    """The counts that a stranger is shown in the feed, and in the state of all artworks."""
    with caller(stack) as stranger:
        cards = {card["id"]: card for card in stranger.ok("GET", "/api/feed", params={"limit": PAGE})}
        states = stranger.ok("POST", "/api/artworks/batch/state", json={"artworkIds": artworks})
    answered: dict[str, Mapping[str, Mapping[str, Any]]] = {"the feed's cards": cards, "the states": states}
    return {
        source: {kind: {key: each[name] for key, each in found.items()} for kind, name in SHOWN.items()}
        for source, found in answered.items()
    }


def drift(stack: Stack) -> list[str]:
    """What `kawaii counters reconcile --dry-run` finds."""
    command = [sys.executable, "-m", "deploy.cli.main", "counters", "reconcile", "--dry-run", "-o", "json"]
    environment = {"INTERNAL_PORT_BASE": str(stack.base), "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    answer = orjson.loads(done.stdout)
    return [f"drift {answer['drift']}: {answer['artworks']}"] if answer["drift"] != "0" else []


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--artworks", type=int, default=50)
    parser.add_argument("--valkey", type=int, default=5, help="how often Valkey is killed")
    parser.add_argument("--gateway", type=int, default=3, help="how often the gateway is killed")
    parser.add_argument("--seed", default="")
    arguments = parser.parse_args()
    kills = {"valkey": arguments.valkey, "gateway": arguments.gateway}
    plan = Plan(
        arguments.seed or secrets.token_hex(4), arguments.clients, arguments.operations, arguments.artworks, kills
    )
    with tempfile.TemporaryDirectory(prefix="kawaii-likes-") as folder:
        report = asyncio.run(run_likes(Path(folder) / "data", plan))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
