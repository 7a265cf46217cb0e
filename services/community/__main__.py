"""Composition root of the community service: read settings, build each part with what it uses, serve."""

import asyncio
import time

from services.chassis.addresses import ListenPort
from services.chassis.channels import connect
from services.chassis.clock import now_ms
from services.chassis.clock_skew import CLOCK, ClockSkew
from services.chassis.database import open_database
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.logs import configure
from services.chassis.public_files import PublicFiles
from services.chassis.redis_url import require_redis
from services.chassis.replicas import sole_on_sqlite
from services.chassis.server import serve
from services.chassis.settings import load, require_addresses
from services.chassis.signing_keys import Purpose, former_key, open_signing_keys, require_same_key
from services.chassis.tls import require_tls
from services.community.composition import CommunityService
from services.community.generation_client import GenerationClient
from services.community.settings import CommunitySettings
from services.community.storage_client import StorageClient
from services.community.stores import make_stores
from services.community.stores.read_models import open_models
from services.community.stores.tables import agreement

SERVICE = "community"
FORMER_ERASURE_KEY = "community-erasure.key"  # of versions before SIGNING_KEY
LISTENERS = (ListenPort.COMMUNITY, ListenPort.COMMUNITY_METRICS)


async def main() -> None:
    """Run the service until it is stopped."""
    settings = load(CommunitySettings)
    configure(settings.log_level, settings.log_format, SERVICE)
    require_addresses(settings, LISTENERS, ["generation", "storage"])
    tls = require_tls(settings, SERVICE)
    require_redis(settings)
    signing_keys = open_signing_keys(settings)
    freeze_startup_objects()
    async with (
        open_models(settings.effective_redis_url, time.monotonic) as models,  # its updates follow the last commits
        sole_on_sqlite(settings, SERVICE),
        open_database(settings, SERVICE) as database,
        connect(settings, "generation") as generation,
        connect(settings, "storage") as storage,
    ):
        await require_same_key(database, agreement, signing_keys)
        former = former_key(settings.data_dir / FORMER_ERASURE_KEY)
        erasure_keys = signing_keys.of(Purpose.ERASED_USER, *former)
        stores = make_stores(database, models, now_ms, settings.credits_initial, erasure_keys)
        generations = GenerationClient(generation, PublicFiles(settings.files_base_url))
        service = CommunityService(settings, stores, generations, StorageClient(storage), now_ms)
        await serve(
            settings,
            LISTENERS,
            service.mounts(),
            tls,
            refresh=service.refresh,
            loops=service.loops(),
            pings=[database.ping],
            parts={CLOCK: ClockSkew(database).ping},
        )


if __name__ == "__main__":
    asyncio.run(main())
