"""Composition root of the community service: read settings, build each part with what it uses, serve."""

import asyncio
import time

from services.chassis.channels import connect
from services.chassis.database import open_database
from services.chassis.exposition import Exposition
from services.chassis.files import PublicFiles
from services.chassis.logs import configure
from services.chassis.secret import key_of_file
from services.chassis.server import serve
from services.chassis.settings import load
from services.chassis.skew import CLOCK, Skew
from services.chassis.town import Resident
from services.community.generations import RemoteGenerations
from services.community.house import House
from services.community.objects import RemoteObjects
from services.community.settings import CommunitySettings
from services.community.stores import make_stores
from services.community.stores.read_models import open_models

SERVICE = "community"


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = load(CommunitySettings)
    configure(settings.log_level, settings.log_format, SERVICE)
    async with (
        open_database(settings, SERVICE) as database,
        open_models(settings.effective_redis_url, time.monotonic) as models,
        connect(settings.address(Resident.GENERATION)) as generation,
        connect(settings.address(Resident.STORAGE)) as storage,
    ):
        erasure_key = key_of_file(settings.data_dir / "community-erasure.key")
        stores = make_stores(database, models, now_ms, settings.credits_initial, erasure_key)
        generations = RemoteGenerations(generation, PublicFiles(settings.files_base_url))
        house = House(settings, stores, generations, RemoteObjects(storage), now_ms)
        exposition = Exposition(settings.address(Resident.COMMUNITY_METRICS), house.refresh)
        address = settings.address(Resident.COMMUNITY)
        await serve(
            address,
            house.mounts(),
            loops=[*house.loops(), exposition.run],
            pings=[database.ping],
            parts={CLOCK: Skew(database).ping},
        )


if __name__ == "__main__":
    asyncio.run(main())
