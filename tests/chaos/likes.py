"""The storm of likes: people react through Envoy while Valkey and the gateway are killed; counts, rows and model agree.

The model is made of what people were told, and of what they read afterwards when they were told nothing.
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

from services.chassis.database import open_database
from services.chassis.settings import TownSettings
from services.community.stores.tables import artwork, artwork_favorite, artwork_like
from tests.chaos.admirers import PATIENCE_SECONDS, Admirer, History, Outcome, acts
from tests.chaos.verdict import Report
from tests.e2e.community.callers import SECRET, Caller, caller
from tests.e2e.town import ROOT, Town, running

VICTIMS = {"valkey": "valkey-server", "gateway": "gateway"}  # and how their command lines are known
SETTINGS = {"AUTH_HS256_SECRET": SECRET, "COMMUNITY_REACTIONS_PER_HOUR": "0"}  # nobody reacts so often in an hour
COUNTS = {"like": ("like_count", artwork_like), "favorite": ("favorite_count", artwork_favorite)}
SHOWN = {"like": "like_count", "favorite": "fav_count"}  # in an answer
PAGE = 100
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Wish:
    """What a storm is to be; kills by victim."""

    seed: str
    clients: int
    operations: int
    artworks: int
    kills: Mapping[str, int]


@dataclass
class Storm:
    """A storm over one town."""

    town: Town
    wish: Wish
    history: History = field(default_factory=History)
    killed: Counter[str] = field(default_factory=Counter)
    begun: int = 0

    async def rage(self, artworks: list[str]) -> None:
        """React to artworks, and strike between two acts whenever it is time."""
        limits = httpx.Limits(max_connections=self.wish.clients, max_keepalive_connections=self.wish.clients)
        async with httpx.AsyncClient(base_url=self.town.url, timeout=PATIENCE_SECONDS, limits=limits) as http:
            people = [f"user_fan{number}" for number in range(self.wish.clients)]
            strikes = asyncio.create_task(self.strike())
            await asyncio.gather(*(self.live(http, person, artworks) for person in people))
            await strikes

    async def live(self, http: httpx.AsyncClient, person: str, artworks: list[str]) -> None:
        """Act until all that is to be done is begun."""
        admirer = Admirer(http, person, self.history)
        for act in acts(self.wish.seed, person, artworks):
            if self.begun == self.wish.operations:
                return
            self.begun += 1
            await admirer.act(act)

    async def strike(self) -> None:
        """SIGKILL each victim at its time, which is counted in acts."""
        for moment, victim in schedule(self.wish):
            while len(self.history.lines) < moment:  # noqa: ASYNC110 - it is another's count, not an event
                await asyncio.sleep(0.01)
            await asyncio.to_thread(self.kill, victim)

    def kill(self, victim: str) -> None:
        """Kill it as soon as it lives, and see it dead."""
        process = self.town.process(VICTIMS[victim])
        process.kill()
        process.wait(PATIENCE_SECONDS)
        self.killed[victim] += 1


def schedule(wish: Wish) -> list[tuple[int, str]]:
    """After how many acts who is killed, spread over the storm; the same for a seed."""
    dice = random.Random(f"{wish.seed}/kills")
    victims = [name for name, count in wish.kills.items() for _ in range(count)]
    dice.shuffle(victims)
    part = wish.operations // (len(victims) + 1)
    return [(round(part * (number + dice.uniform(-0.3, 0.3))), name) for number, name in enumerate(victims, 1)]


async def brew(data: Path, wish: Wish) -> Report:
    """Run one storm from beginning to judgement."""
    with running(data, **SETTINGS) as town, caller(town, "user_painter") as painter:
        artworks = list(hung(painter, wish.artworks))
        storm, began = Storm(town, wish), time.monotonic()
        await storm.rage(artworks)
        raged = time.monotonic() - began
        found = {
            "counts that are not the model": await miscounted(town, artworks, storm.history),
            "drift that reconcile finds": drifted(town),
            "odd answers": storm.history.odd,
        }
        return Report(table(storm, raged), found)


def hung(painter: Caller, count: int) -> Iterator[str]:
    """Published artworks, each a small picture of its own; their ids."""
    for number in range(count):
        picture = BytesIO()
        Image.new("RGB", (8, 8), (number % 256, 90, 160)).save(picture, "PNG")
        files, fields = (
            {"file": ("a.png", picture.getvalue(), "image/png")},
            {"title": f"No. {number}", "as_artwork": "1"},
        )
        identifier = painter.ok("POST", "/api/artworks/upload", files=files, data=fields)["id"]
        painter.ok("POST", f"/api/artworks/{identifier}/publish")
        yield identifier


async def miscounted(town: Town, artworks: list[str], history: History) -> list[str]:
    """Every count that is another than the model's: in the columns, of the rows, and in answers."""
    kept, answered = await stored(town), shown(town, artworks)
    wrong = []
    for word in COUNTS:
        model = history.counted(word)
        for source, counts in {**kept, **answered}.items():
            wrong += [
                f"{identifier}: {source} say {counts[word].get(identifier, 0)} of {word}, the model {model[identifier]}"
                for identifier in artworks
                if counts[word].get(identifier, 0) != model[identifier]
            ]
    return wrong


async def stored(town: Town) -> dict[str, Counts]:
    """What the database holds."""
    settings = TownSettings(data_dir=town.data, database_url="", _env_file=None)
    columns: dict[str, dict[str, int]] = {}
    rows: dict[str, dict[str, int]] = {}
    async with open_database(settings, "community") as database, database.read() as connection:
        for word, (column, relation) in COUNTS.items():
            columns[word] = dict(iter(await connection.execute(select(artwork.c.id, artwork.c[column]))))
            counted = select(relation.c.artwork_id, func.count()).group_by(relation.c.artwork_id)
            rows[word] = dict(iter(await connection.execute(counted)))
    return {"the columns": columns, "the rows": rows}


def shown(town: Town, artworks: list[str]) -> dict[str, Counts]:
    """What a stranger is told by the feed, and by the state of all at once."""
    with caller(town) as stranger:
        cards = {card["id"]: card for card in stranger.ok("GET", "/api/feed", params={"limit": PAGE})}
        states = stranger.ok("POST", "/api/artworks/batch/state", json={"artworkIds": artworks})
    told: dict[str, Mapping[str, Mapping[str, Any]]] = {"the feed's cards": cards, "the states": states}
    return {
        source: {word: {key: each[name] for key, each in found.items()} for word, name in SHOWN.items()}
        for source, found in told.items()
    }


def drifted(town: Town) -> list[str]:
    """What `kawaii counters reconcile` finds, as an operator runs it."""
    command = [sys.executable, "-m", "deploy.cli", "counters", "reconcile", "--dry-run", "-o", "json"]
    environment = {"INTERNAL_PORT_BASE": str(town.base), "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    answer = orjson.loads(done.stdout)
    return [f"drift {answer['drift']}: {answer['artworks']}"] if answer["drift"] != "0" else []


def table(storm: Storm, seconds: float) -> list[tuple[str, object]]:
    """What was done, and what befell the town meanwhile."""
    wish, lines, outcomes = storm.wish, storm.history.lines, storm.history.outcomes()
    slowest = max(line.seconds for line in lines)
    median = statistics.median(line.seconds for line in lines)
    return [
        ("seed", wish.seed),
        ("clients, artworks", f"{wish.clients}, {wish.artworks}"),
        ("operations", len(lines)),
        *((f"  {outcome}", outcomes[outcome]) for outcome in Outcome),
        ("  a second", round(len(lines) / seconds)),
        ("  median, slowest ms", f"{median * 1000:.0f}, {slowest * 1000:.0f}"),
        ("SIGKILLs", ", ".join(f"{name} {count}" for name, count in sorted(storm.killed.items()))),
        ("likes, favourites at the end", tuple(storm.history.counted(word).total() for word in COUNTS)),
    ]


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--artworks", type=int, default=50)
    parser.add_argument("--valkey", type=int, default=5, help="how often Valkey is killed")
    parser.add_argument("--gateway", type=int, default=3, help="how often the gateway is killed")
    parser.add_argument("--seed", default="")
    asked = parser.parse_args()
    kills = {"valkey": asked.valkey, "gateway": asked.gateway}
    wish = Wish(asked.seed or secrets.token_hex(4), asked.clients, asked.operations, asked.artworks, kills)
    with tempfile.TemporaryDirectory(prefix="kawaii-likes-") as folder:
        report = asyncio.run(brew(Path(folder) / "data", wish))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
