"""The storm of likes: people react through Envoy while Valkey and the gateway are killed; counts, rows and model agree.

The model is made of what people were told, and of what they read afterwards when they were told nothing.
"""

import argparse
import asyncio
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

from tests.chaos.admirers import PATIENCE_SECONDS, Admirer, History, Outcome, acts
from tests.chaos.tally import COUNTS, drifted, miscounted
from tests.chaos.verdict import Report
from tests.e2e.community.callers import SECRET, Caller, caller
from tests.e2e.stack import Stack, running

VICTIMS = {"valkey": "valkey-server", "gateway": "gateway"}  # and how their command lines are known
SETTINGS = {"AUTH_HS256_SECRET": SECRET, "COMMUNITY_REACTIONS_PER_HOUR": "0"}  # nobody reacts so often in an hour


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
    """A storm over one stack."""

    stack: Stack
    wish: Wish
    history: History = field(default_factory=History)
    killed: Counter[str] = field(default_factory=Counter)
    begun: int = 0

    async def rage(self, artworks: list[str]) -> None:
        """React to artworks, and strike between two acts whenever it is time."""
        limits = httpx.Limits(max_connections=self.wish.clients, max_keepalive_connections=self.wish.clients)
        async with httpx.AsyncClient(base_url=self.stack.url, timeout=PATIENCE_SECONDS, limits=limits) as http:
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
        process = self.stack.process(VICTIMS[victim])
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
    with running(data, **SETTINGS) as stack, caller(stack, "user_painter") as painter:
        artworks = list(hung(painter, wish.artworks))
        storm, began = Storm(stack, wish), time.monotonic()
        await storm.rage(artworks)
        raged = time.monotonic() - began
        found = {
            "counts that are not the model": await miscounted(stack, artworks, storm.history),
            "drift that reconcile finds": drifted(stack),
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


def table(storm: Storm, seconds: float) -> list[tuple[str, object]]:
    """What was done, and what befell the stack meanwhile."""
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
