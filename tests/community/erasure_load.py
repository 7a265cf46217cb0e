"""A load test on PostgreSQL: many users act while some are erased; no call fails, and the counts are right.

    python -m tests.community.erasure_load --clients 32 --seconds 60

It prints its seed; --seed replays the dice, though not the interleaving.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from services.chassis.database import open_database
from services.chassis.errors import Internal, KawaiiError, Unavailable
from services.chassis.migrations import migrate
from services.chassis.signing_keys import PurposeKeys
from services.community.composition import CommunityService
from services.community.core.saving import Save
from services.community.model import Claims, OrderState, Reaction
from services.community.settings import CommunitySettings
from services.community.stores import make_stores
from services.community.stores.read_models import RedisModels
from tests.community.fakes import FakeGenerations, FakeObjects
from tests.community.steps import order_of, ordered
from tests.support.postgres import postgres

PEOPLE, URLS = 12, 6  # few, so that they meet
OURS = (Unavailable, Internal)  # what a client sees as 5xx; the other errors are honest answers


class LoadTest:
    """Clients that act at random, each as any user."""

    def __init__(self, community: CommunityService, seed: int) -> None:
        self._community, self._seed = community, seed
        self._shown: list[str] = []
        self.answers = 0
        self.failures: Counter[str] = Counter()

    async def client(self, number: int, turns: int = sys.maxsize, seconds: float = 3600.0) -> None:
        """Act so often, or so long."""
        dice, end = random.Random(self._seed * 1000 + number), time.monotonic() + seconds
        for _ in range(turns):
            if time.monotonic() > end:
                return
            await self._turn(dice)

    async def _turn(self, dice: random.Random) -> None:
        self.answers += 1
        try:
            await self._act(dice, f"auth0|{dice.randrange(PEOPLE)}")
        except KawaiiError as error:
            if isinstance(error, OURS):
                self.failures[f"{type(error).__name__} {error.reason}"] += 1
        except Exception as error:  # noqa: BLE001 - what a client would see as 500 is counted, not raised
            self.failures[repr(error)[:300]] += 1

    async def _act(self, dice: random.Random, user_id: str) -> None:
        community = self._community
        await community.users.ensure(user_id, Claims(user_id), time.time_ns() // 1_000_000 + 1)
        shown = dice.choice(self._shown) if self._shown else ""
        match dice.choices(range(7), (8, 4, 1, 2, 1, 2, 2))[0]:
            case 0 if shown:
                await community.reactions.react(user_id, shown, dice.choice(list(Reaction)), wanted=dice.random() < 0.7)
            case 1:
                save = Save("One", f"https://a.example/{dice.randrange(URLS)}.png", publish=True)
                self._shown.append((await community.saving.save(user_id, save)).artwork.id)
                del self._shown[:-40]
            case 2:
                await community.users.erase(user_id)
            case 3 if shown:
                await community.artworks.delete(user_id, shown)
            case 4 if shown:
                await community.reactions.report(user_id, shown, "rude")
            case 5:
                await community.credits.check_in(user_id)
                await self._made(dice, user_id)
            case _:
                await community.deletion_worker.delete_due()
                await community.score_decay.decay_due()

    async def _made(self, dice: random.Random, user_id: str) -> None:
        """An order that ends well or badly."""
        order = order_of(await ordered(self._community, user_id))
        generations = self._community.orders._generations
        assert isinstance(generations, FakeGenerations)
        state = dice.choice((OrderState.SUCCEEDED, OrderState.FAILED))
        await self._community.event_consumer.consume(
            generations.end(order.generation_id, state, "" if state == "SUCCEEDED" else "NO")
        )


async def load_test(url: str, folder: Path, clients: int, seconds: float, seed: int) -> int:
    """Run clients on a database; 0 when no call failed and no count drifted."""
    settings = CommunitySettings(
        database_url=url, data_dir=folder, app_url="https://site.example", credits_enabled=True, credits_initial=100
    )

    def clock() -> int:
        return time.time_ns() // 1_000_000

    async with open_database(settings, "community") as database:
        stores = make_stores(database, RedisModels(None, time.monotonic), clock, 100, PurposeKeys(b"erasure key"))
        community = CommunityService(settings, stores, FakeGenerations(), FakeObjects(), clock)
        made = LoadTest(community, seed)
        await asyncio.gather(*(made.client(number, seconds=seconds) for number in range(clients)))
        drift = (await community.admin_operations.reconcile(mend=False)).amount
    print(f"answers {made.answers}, failures {dict(made.failures)}, drift {drift}")  # noqa: T201
    return int(bool(made.failures or drift))


def main() -> int:
    """Run it on a PostgreSQL of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)  # noqa: T201
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        url = server.create_database()
        migrate("community", CommunitySettings(database_url=url, data_dir=Path(folder)))
        return asyncio.run(load_test(url, Path(folder), given.clients, given.seconds, given.seed))


if __name__ == "__main__":
    sys.exit(main())
